//! How the inputs of a product go together: what decides which rounding errors cancel.

use std::collections::HashMap;

use rayon::prelude::*;

use super::CalibrationSet;
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, Node, NodeId, ValueId, known_shape};
use crate::kernels::Window;
use crate::ops::operator::Layout;
use crate::ops::{Conv, Gemm};
use crate::passes::single_sample;

/// E[v vᵀ] for each group of a product, row-major `[size, size]`, where v is what one row of its weights is multiplied
/// with (in the order of the weights) followed by the 1 that its bias is multiplied with.
#[derive(Clone, Debug, PartialEq)]
pub struct SecondMoments {
    pub size: usize,
    pub groups: Vec<Vec<f64>>,
}

/// Places looked at in each sample and output.
const PLACES: usize = 64;

/// Second moments on `set` of every Conv and every plain Gemm with constant weights and at most `largest` inputs per
/// output. Other products are left out.
///
/// # Errors
/// If their inputs cannot be computed.
pub fn second_moments(
    graph: &Graph,
    set: &CalibrationSet,
    largest: usize,
    config: &execution::Config,
) -> Result<HashMap<NodeId, SecondMoments>> {
    let sample = single_sample(graph)?;
    let readers: Vec<(NodeId, ValueId, Reader)> =
        sample.nodes().filter_map(|(id, node)| Some((id, node.input(0)?, Reader::of(&sample, node, largest)?))).collect();
    let values: Vec<ValueId> = readers.iter().map(|(_, value, _)| *value).collect();
    let mut moments: Vec<SecondMoments> = readers.iter().map(|(_, _, reader)| reader.empty()).collect();
    observe(graph, &values, set, config, &mut |index, elements| {
        moments.par_iter_mut().zip(&readers).zip(elements).for_each(|((moments, (_, _, reader)), x)| reader.add(x, index, moments));
    })?;
    moments.iter_mut().zip(&readers).for_each(|(moments, (_, _, reader))| reader.finish(moments, set.len()));
    Ok(readers.into_iter().zip(moments).map(|((id, _, _), moments)| (id, moments)).collect())
}

/// How a product reads its input.
struct Reader {
    window: Window,
    /// Memory steps of the input: sample, channel, and three spatial axes.
    strides: [usize; 5],
}

impl Reader {
    fn of(graph: &Graph, node: &Node, largest: usize) -> Option<Reader> {
        let shape = known_shape(graph.value(node.input(0)?).shape.as_deref()?)?;
        let weights = graph.constant(node.input(1)?)?.shape();
        let layout = Layout::activation(&shape);
        let (window, spatial) = if let Some(conv) = node.is::<Conv>() {
            (conv.window(&shape, weights).ok()?, &layout.strides[2..])
        } else {
            let gemm = node.is::<Gemm>().filter(|gemm| gemm.alpha == 1.0 && gemm.beta == 1.0 && !gemm.transpose_a)?;
            let features = weights[usize::from(!gemm.transpose_b)];
            let conv = Conv::default().window(&[shape[0], shape[1], 1], &[features, shape[1], 1]).ok()?;
            (conv, &layout.strides[2..])
        };
        let mut strides = [0; 5];
        strides[..2].copy_from_slice(&layout.strides[..2]);
        strides[5 - spatial.len()..].copy_from_slice(spatial);
        let reader = Reader { window, strides };
        (reader.size() <= largest).then_some(reader)
    }

    fn size(&self) -> usize {
        self.window.channels / self.window.group * self.window.kernel.iter().product::<usize>() + 1
    }

    fn empty(&self) -> SecondMoments {
        SecondMoments { size: self.size(), groups: vec![vec![0.0; self.size() * self.size()]; self.window.group] }
    }

    fn places(&self) -> usize {
        (self.window.batch * self.window.map.iter().product::<usize>()).min(PLACES)
    }

    /// Adds what sample `index` shows, at places spread over the output and other ones for every sample.
    fn add(&self, x: &[f32], index: usize, moments: &mut SecondMoments) {
        let Window { batch, group, channels, map, .. } = &self.window;
        let total = batch * map.iter().product::<usize>();
        let places = self.places();
        let mut patch = vec![0.0f64; moments.size];
        for place in 0..places {
            let mut rest = (place * total / places + index * 7) % total;
            let mut at = [0; 3];
            for axis in (0..3).rev() {
                at[axis] = rest % map[axis];
                rest /= map[axis];
            }
            for (group, gram) in (0..*group).zip(&mut moments.groups) {
                self.read(&x[rest * self.strides[0]..], at, group * (channels / self.window.group), &mut patch);
                for (row, a) in gram.chunks_mut(patch.len()).zip(&patch) {
                    row.iter_mut().zip(&patch).for_each(|(sum, b)| *sum += a * b);
                }
            }
        }
    }

    fn read(&self, x: &[f32], at: [usize; 3], first_channel: usize, patch: &mut [f64]) {
        let Window { channels, group, image, kernel, stride, dilation, pad, .. } = &self.window;
        let mut next = patch.iter_mut();
        for channel in first_channel..first_channel + channels / group {
            for tap in 0..kernel.iter().product() {
                let (mut rest, mut offset, mut inside) = (tap, channel * self.strides[1], true);
                for axis in (0..3).rev() {
                    let position = (at[axis] * stride[axis] + rest % kernel[axis] * dilation[axis]).checked_sub(pad[axis]);
                    rest /= kernel[axis];
                    inside &= position.is_some_and(|position| position < image[axis]);
                    offset += position.unwrap_or(0) * self.strides[2 + axis];
                }
                if let Some(value) = next.next() {
                    *value = if inside { f64::from(x[offset]) } else { 0.0 };
                }
            }
        }
        if let Some(bias) = next.next() {
            *bias = 1.0;
        }
    }

    fn finish(&self, moments: &mut SecondMoments, samples: usize) {
        let count = (self.places() * samples) as f64;
        moments.groups.iter_mut().flatten().for_each(|sum| *sum /= count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::evaluate;
    use crate::graph::sketch::{Sketch, noise};

    #[test]
    fn they_predict_the_mean_square_of_every_output() {
        let graph = Sketch::residual();
        let (set, config) = (noise(&graph, 6), execution::Config::default());
        let moments = second_moments(&graph, &set, 1024, &config).unwrap();
        assert_eq!(moments.len(), 3);
        for (id, moments) in moments {
            let node = graph.node(id);
            let weights = graph.constant(node.input(1).unwrap()).unwrap();
            let (shape, weights) = (weights.shape().to_vec(), weights.to_f32().unwrap());
            let bias = node.input(2).map(|bias| graph.constant(bias).unwrap().to_f32().unwrap());
            let (inputs, gemm) = (moments.size - 1, node.is::<Gemm>().is_some());
            let outputs = weights.len() / inputs;
            let found = evaluate(&graph, &[node.output(0).unwrap()], &set, &config).unwrap();
            let found = found[0].to_shape((set.len(), outputs, found[0].len() / set.len() / outputs)).unwrap();
            for output in 0..outputs {
                let at = |input| if gemm { weights[input * outputs + output] } else { weights[output * inputs + input] };
                let mut row: Vec<f64> = (0..inputs).map(|input| f64::from(at(input))).collect();
                row.push(bias.as_ref().map_or(0.0, |bias| f64::from(bias[output])));
                let predicted: f64 = moments.groups[0]
                    .chunks(moments.size)
                    .zip(&row)
                    .map(|(m, a)| a * m.iter().zip(&row).map(|(m, b)| m * b).sum::<f64>())
                    .sum();
                let measured = found.index_axis(ndarray::Axis(1), output).mapv(|y| f64::from(y * y)).mean().unwrap();
                assert!((predicted / measured - 1.0).abs() < 1e-3, "{shape:?}: {predicted}, not {measured}");
            }
        }
    }
}
