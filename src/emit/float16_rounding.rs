//! Weights that become float16 are rounded together, so that their errors cancel in what they compute.

use half::f16;
use rayon::prelude::*;

use crate::calibration::{CalibrationSet, Patches, patches};
use crate::error::Result;
use crate::execution;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Gemm;
use crate::progress::Progress;
use crate::quantization::rounding::round_row;
use crate::tensor::TensorData;

/// Parts that the products of a network are rounded in, at most: each makes up for the errors of those before it.
const WAVES: usize = 48;

/// Rounds weights and biases of products with at most `largest` weights per output to numbers that float16 holds exactly;
/// they stay float32 tensors. What a product computes on `set` comes as near to the original as the grid allows, errors of
/// the products before it included. Weights with other readers are left alone. Returns how many products were rounded.
///
/// # Errors
/// If the work is interrupted.
pub fn round_to_float16(
    graph: &mut Graph,
    set: &CalibrationSet,
    largest: usize,
    config: &execution::Config,
    progress: &dyn Progress,
) -> Result<usize> {
    let original = graph.clone();
    let consumers = graph.consumers();
    let nodes = graph.nodes().map(|(id, _)| id);
    let nodes: Vec<NodeId> = nodes.filter(|id| Product::of(&original, *id, &consumers).is_some()).collect();
    let wave = nodes.len().div_ceil(WAVES).max(1);
    progress.begin("round", nodes.len().div_ceil(wave));
    let mut count = 0;
    for nodes in nodes.chunks(wave) {
        let seen = patches(&original, set, nodes, largest, config).and_then(|a| Ok((a, patches(graph, set, nodes, largest, config)?)));
        let (wanted, found) = match seen {
            Ok(seen) => seen,
            Err(error) => {
                progress.warn(&format!("some weights are rounded one by one, since their inputs cannot be computed: {error}"));
                break;
            }
        };
        for ((id, wanted), found) in nodes.iter().zip(wanted).zip(found) {
            let (Some(wanted), Some(found)) = (wanted, found) else { continue };
            let Some(mut product) = Product::of(graph, *id, &consumers) else { continue };
            if product.round(&wanted, &found).is_some() {
                product.store(graph);
                count += 1;
            }
        }
        progress.step("");
        progress.check()?;
    }
    progress.end();
    Ok(count)
}

struct Product {
    weight: (ValueId, TensorData),
    bias: Option<(ValueId, TensorData)>,
    /// Weights stand as `[inputs, outputs]`.
    transposed: bool,
}

impl Product {
    fn of(graph: &Graph, id: NodeId, consumers: &[Vec<(NodeId, usize)>]) -> Option<Product> {
        let node = graph.node(id);
        if !matches!(node.operator.name(), "Conv" | "Gemm") {
            return None;
        }
        let own = |index: usize| {
            let value = node.input(index)?;
            let tensor = graph.constant(value).filter(|tensor| matches!(tensor, TensorData::F32(_)))?;
            (consumers[value.0 as usize].len() == 1).then(|| (value, tensor.clone()))
        };
        let weight = own(1)?;
        let transposed = node.is::<Gemm>().is_some_and(|gemm| !gemm.transpose_b);
        let outputs = weight.1.shape()[usize::from(transposed)];
        let bias = own(2).filter(|(_, tensor)| tensor.shape() == [outputs]);
        (bias.is_some() || node.input(2).is_none()).then_some(Product { weight, bias, transposed })
    }

    /// Rounds so that weights × `found` come near to weights × `wanted`.
    fn round(&mut self, wanted: &Patches, found: &Patches) -> Option<()> {
        let (shape, mut weights) = (self.weight.1.shape().to_vec(), self.weight.1.to_f32()?);
        let outputs = shape[usize::from(self.transposed)];
        let inputs = weights.len() / outputs.max(1);
        let mut biases = self.bias.as_ref().and_then(|(_, tensor)| tensor.to_f32());
        let length = inputs + usize::from(biases.is_some());
        if found.size != inputs + 1 || wanted.elements.len() != found.elements.len() {
            return None;
        }
        let at = |output: usize, input: usize| if self.transposed { input * outputs + output } else { output * inputs + input };
        let moments: Vec<Vec<f64>> = (0..found.groups).into_par_iter().map(|group| second_moments(found, group, length)).collect();
        let row = |output: usize| {
            let mut row: Vec<f64> = (0..inputs).map(|input| f64::from(weights[at(output, input)])).collect();
            row.extend(biases.iter().map(|biases| f64::from(biases[output])));
            let group = output * found.groups / outputs;
            let pull = pull(&row, wanted, found, group);
            let largest = f64::from(f16::MAX);
            round_row(&row, &moments[group], &pull, |x| f16::from_f64(x.clamp(-largest, largest)).to_f64(), float16_step)
        };
        let rows: Vec<Vec<f64>> = (0..outputs).into_par_iter().map(row).collect();
        for (output, row) in rows.into_iter().enumerate() {
            for (input, x) in row[..inputs].iter().enumerate() {
                weights[at(output, input)] = *x as f32;
            }
            if let (Some(biases), Some(x)) = (&mut biases, row.get(inputs)) {
                biases[output] = *x as f32;
            }
        }
        self.weight.1 = TensorData::new(&shape, weights);
        if let (Some((_, tensor)), Some(biases)) = (&mut self.bias, biases) {
            *tensor = TensorData::vector(biases);
        }
        Some(())
    }

    fn store(self, graph: &mut Graph) {
        for (value, tensor) in std::iter::once(self.weight).chain(self.bias) {
            graph.set_constant(value, tensor);
        }
    }
}

/// E[v vᵀ] of the first `length` elements of the patches v of `group`, row-major.
fn second_moments(patches: &Patches, group: usize, length: usize) -> Vec<f64> {
    let mut moments = vec![0.0f64; length * length];
    for v in patches.of(group) {
        for (row, a) in moments.chunks_mut(length).zip(v) {
            row.iter_mut().zip(v).for_each(|(sum, b)| *sum += f64::from(a * b));
        }
    }
    let count = patches.places() as f64;
    moments.iter_mut().for_each(|sum| *sum /= count);
    moments
}

/// E[(row·w − row·v) v] over the patches w of `wanted` and v of `found`.
fn pull(row: &[f64], wanted: &Patches, found: &Patches, group: usize) -> Vec<f64> {
    let mut pull = vec![0.0; row.len()];
    for (w, v) in wanted.of(group).zip(found.of(group)) {
        let lacks: f64 = row.iter().zip(w.iter().zip(v)).map(|(a, (w, v))| a * f64::from(w - v)).sum();
        pull.iter_mut().zip(v).for_each(|(sum, v)| *sum += lacks * f64::from(*v));
    }
    let count = found.places() as f64;
    pull.iter_mut().for_each(|sum| *sum /= count);
    pull
}

/// Distance of neighbouring float16 numbers near `x`.
fn float16_step(x: f64) -> f64 {
    let exponent = x.abs().max(f64::from(f16::MIN_POSITIVE)).log2().floor();
    (exponent - 10.0).exp2()
}
