//! What the weights of a product are multiplied with.

use super::CalibrationSet;
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, Node, NodeId, ValueId, known_shape};
use crate::kernels::Window;
use crate::ops::operator::Layout;
use crate::ops::{Conv, Gemm};
use crate::passes::single_sample;

/// The vectors v that a row of weights is multiplied with (in the order of the weights), each followed by the 1 that its
/// bias is multiplied with, at places spread over the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Patches {
    /// Elements of one v.
    pub size: usize,
    pub groups: usize,
    /// `[places, groups, size]`.
    pub elements: Vec<f32>,
}

/// Places looked at in each sample and output.
const PLACES: usize = 64;

impl Patches {
    /// v of group `group` at every place.
    pub fn of(&self, group: usize) -> impl Iterator<Item = &[f32]> + Clone {
        self.elements.chunks(self.size).skip(group).step_by(self.groups)
    }

    pub fn places(&self) -> usize {
        self.elements.len() / (self.size * self.groups)
    }
}

/// Patches of `nodes` on `set`: of every Conv and plain Gemm with constant weights and at most `largest` inputs per
/// output, `None` for others.
///
/// # Errors
/// If their inputs cannot be computed.
pub fn patches(
    graph: &Graph,
    set: &CalibrationSet,
    nodes: &[NodeId],
    largest: usize,
    config: &execution::Config,
) -> Result<Vec<Option<Patches>>> {
    let sample = single_sample(graph)?;
    let readers: Vec<Option<Reader>> = nodes.iter().map(|id| Reader::of(&sample, sample.node(*id), largest)).collect();
    let values: Vec<ValueId> = readers.iter().flatten().map(|reader| reader.value).collect();
    let mut found: Vec<Vec<f32>> = values.iter().map(|_| Vec::new()).collect();
    observe(graph, &values, set, config, &mut |index, elements| {
        for ((patches, reader), x) in found.iter_mut().zip(readers.iter().flatten()).zip(elements) {
            reader.append(x, index, patches);
        }
    })?;
    let mut found = found.into_iter();
    let patches = readers.iter().map(|reader| {
        let reader = reader.as_ref()?;
        Some(Patches { size: reader.size(), groups: reader.window.group, elements: found.next()? })
    });
    Ok(patches.collect())
}

/// How a product reads its input.
struct Reader {
    value: ValueId,
    window: Window,
    /// Memory steps of the input: sample, channel, and three spatial axes.
    strides: [usize; 5],
}

impl Reader {
    fn of(graph: &Graph, node: &Node, largest: usize) -> Option<Reader> {
        let value = node.input(0)?;
        let shape = known_shape(graph.value(value).shape.as_deref()?)?;
        let weights = graph.constant(node.input(1)?)?.shape();
        let layout = Layout::activation(&shape);
        let window = if let Some(conv) = node.is::<Conv>() {
            conv.window(&shape, weights).ok()?
        } else {
            let gemm = node.is::<Gemm>().filter(|gemm| gemm.alpha == 1.0 && gemm.beta == 1.0 && !gemm.transpose_a)?;
            let features = weights[usize::from(!gemm.transpose_b)];
            Conv::default().window(&[shape[0], shape[1], 1], &[features, shape[1], 1]).ok()?
        };
        let spatial = &layout.strides[2..];
        let mut strides = [0; 5];
        strides[..2].copy_from_slice(&layout.strides[..2]);
        strides[5 - spatial.len()..].copy_from_slice(spatial);
        let reader = Reader { value, window, strides };
        (reader.size() <= largest).then_some(reader)
    }

    fn size(&self) -> usize {
        self.window.channels / self.window.group * self.window.kernel.iter().product::<usize>() + 1
    }

    /// Appends what sample `index` shows, at places spread over the output and other ones for every sample.
    fn append(&self, x: &[f32], index: usize, patches: &mut Vec<f32>) {
        let Window { batch, group, channels, map, .. } = &self.window;
        let total = batch * map.iter().product::<usize>();
        let places = total.min(PLACES);
        for place in 0..places {
            let mut rest = (place * total / places + index * 7) % total;
            let mut at = [0; 3];
            for axis in (0..3).rev() {
                at[axis] = rest % map[axis];
                rest /= map[axis];
            }
            for first in (0..*channels).step_by(channels / group) {
                self.read(&x[rest * self.strides[0]..], at, first, patches);
                patches.push(1.0);
            }
        }
    }

    fn read(&self, x: &[f32], at: [usize; 3], first_channel: usize, patches: &mut Vec<f32>) {
        let Window { channels, group, image, kernel, stride, dilation, pad, .. } = &self.window;
        for channel in first_channel..first_channel + channels / group {
            for tap in 0..kernel.iter().product() {
                let (mut rest, mut offset, mut inside) = (tap, channel * self.strides[1], true);
                for axis in (0..3).rev() {
                    let position = (at[axis] * stride[axis] + rest % kernel[axis] * dilation[axis]).checked_sub(pad[axis]);
                    rest /= kernel[axis];
                    inside &= position.is_some_and(|position| position < image[axis]);
                    offset += position.unwrap_or(0) * self.strides[2 + axis];
                }
                patches.push(if inside { x[offset] } else { 0.0 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::evaluate;
    use crate::graph::sketch::{Sketch, noise};

    #[test]
    fn their_products_with_the_weights_are_the_outputs() {
        let graph = Sketch::residual();
        let (set, config) = (noise(&graph, 6), execution::Config::default());
        let nodes: Vec<NodeId> =
            graph.nodes().filter(|(_, node)| node.is::<Conv>().is_some() || node.is::<Gemm>().is_some()).map(|(id, _)| id).collect();
        let found = patches(&graph, &set, &nodes, 1024, &config).unwrap();
        assert_eq!(found.len(), 3);
        for (id, patches) in nodes.into_iter().zip(found) {
            let (node, patches) = (graph.node(id), patches.unwrap());
            let weights = graph.constant(node.input(1).unwrap()).unwrap().to_f32().unwrap();
            let bias = node.input(2).map(|bias| graph.constant(bias).unwrap().to_f32().unwrap());
            let (inputs, gemm) = (patches.size - 1, node.is::<Gemm>().is_some());
            let outputs = weights.len() / inputs;
            let wanted = evaluate(&graph, &[node.output(0).unwrap()], &set, &config).unwrap();
            let wanted = wanted[0].to_shape((set.len(), outputs, wanted[0].len() / set.len() / outputs)).unwrap();
            for output in 0..outputs {
                let at = |input| if gemm { weights[input * outputs + output] } else { weights[output * inputs + input] };
                let product = |v: &[f32]| {
                    (0..inputs).map(|input| at(input) * v[input]).sum::<f32>() + v[inputs] * bias.as_ref().map_or(0.0, |bias| bias[output])
                };
                let mut found: Vec<f32> = patches.of(0).map(product).collect();
                let mut wanted: Vec<f32> = wanted.index_axis(ndarray::Axis(1), output).iter().copied().collect();
                assert_eq!(found.len(), wanted.len());
                found.sort_by(f32::total_cmp);
                wanted.sort_by(f32::total_cmp);
                assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-4));
            }
        }
    }
}
