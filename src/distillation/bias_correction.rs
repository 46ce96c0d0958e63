//! Biases that make up for the mean error of what they are added to.

use crate::calibration::{CalibrationSet, Moments};
use crate::emit::{Student, TunedBias, TunedWeight};
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::{Conv, ConvTranspose, Gemm};
use crate::passes::{outputs_of, weighted_sums};
use crate::progress::Progress;
use crate::tensor::TensorData;

/// Layers whose bias was moved, and those that could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Corrected {
    pub layers: usize,
    pub left: usize,
}

/// Samples that means are taken over, at most: each is held against itself, so that few show an error well.
const SAMPLES: usize = 64;

/// Takes the mean error of every output channel of each quantized product, as `graph` and `teacher` compute it on `set`,
/// off its bias: layer after layer, each with those before it corrected. Products without a bias are left.
///
/// Paper: Nagel et al. 2019 (DFQ), arXiv:1906.04721, section 4.2 and appendix D (empirical bias correction).
///
/// # Errors
/// If either graph cannot be computed.
pub fn correct_biases(
    teacher: &Graph,
    graph: &mut Graph,
    student: &Student,
    set: &CalibrationSet,
    config: &execution::Config,
    progress: &dyn Progress,
) -> Result<Corrected> {
    let set = set.slice(0..set.len().min(SAMPLES));
    let (layers, left) = layers(graph, student);
    let outputs = |graph: &Graph| -> Vec<(ValueId, usize)> {
        layers.iter().filter_map(|layer| Some((graph.node(layer.bias.node).output(0)?, layer.outputs))).collect()
    };
    let wanted = means(teacher, &outputs(teacher), &set, config)?;
    let found = outputs(graph);
    progress.begin("correct biases", layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let found = means(graph, &found[index..=index], &set, config)?;
        let errors = found[0].iter().zip(&wanted[index]).map(|(found, wanted)| found - wanted);
        layer.lower(graph, &errors.collect::<Vec<f64>>());
        progress.step("");
        progress.check()?;
    }
    progress.end();
    Ok(Corrected { layers: layers.len(), left })
}

/// As [`correct_biases`] without samples: the error of the weights times the mean of what they are multiplied with, which
/// `moments` tells of values of `teacher`. Errors of activations are taken to have no mean. Zeros around images are not
/// told from what is inside.
///
/// Paper: Nagel et al. 2019 (DFQ), arXiv:1906.04721, section 4.2 (analytic bias correction).
///
/// # Errors
/// If a weight has no quantizer.
pub fn correct_biases_by_moments(teacher: &Graph, graph: &mut Graph, student: &Student, moments: &Moments) -> Result<Corrected> {
    let (layers, left) = layers(graph, student);
    let mut corrected = Corrected { layers: 0, left };
    for layer in &layers {
        let node = teacher.node(layer.bias.node);
        let means = node.input(0).and_then(|input| moments.of(input));
        let weights = node.input(1).and_then(|weight| teacher.constant(weight)?.to_f32());
        let (Some(means), Some(weights)) = (means, weights) else {
            corrected.left += 1;
            continue;
        };
        let means: Vec<f64> = means.iter().map(|normal| normal.mean).collect();
        let (quantized, shape) = layer.weight.dequantized(graph)?;
        let errors: Vec<f32> = quantized.iter().zip(weights).map(|(quantized, weight)| quantized - weight).collect();
        layer.lower(graph, &weighted_sums(node, &shape, &errors, &means));
        corrected.layers += 1;
    }
    Ok(corrected)
}

/// A product whose bias can be moved.
struct Layer {
    bias: TunedBias,
    weight: TunedWeight,
    outputs: usize,
}

impl Layer {
    fn lower(&self, graph: &mut Graph, amounts: &[f64]) {
        let elements = graph.constant(self.bias.value).and_then(TensorData::to_f32).unwrap_or_default();
        let element = |channel: usize| elements.get(if elements.len() == 1 { 0 } else { channel }).copied().unwrap_or(0.0);
        let lowered = amounts.iter().enumerate().map(|(channel, amount)| (f64::from(element(channel)) - amount) as f32);
        let lowered: Vec<f32> = lowered.collect();
        graph.set_constant(self.bias.value, TensorData::vector(lowered));
    }
}

/// The quantized products of `graph` in execution order, and how many have no bias that can be moved.
fn layers(graph: &Graph, student: &Student) -> (Vec<Layer>, usize) {
    let weighted: Vec<(NodeId, TunedWeight)> = products(graph, student).collect();
    let layer = |(id, weight): &(NodeId, TunedWeight)| {
        let bias = student.biases.iter().find(|bias| bias.node == *id)?.clone();
        Some(Layer { bias, weight: weight.clone(), outputs: outputs(graph, *id, weight)? })
    };
    let found: Vec<Layer> = weighted.iter().filter_map(layer).collect();
    let left = weighted.len() - found.len();
    (found, left)
}

fn outputs(graph: &Graph, id: NodeId, weight: &TunedWeight) -> Option<usize> {
    outputs_of(graph.node(id), graph.constant(weight.value)?.shape())
}

fn products<'a>(graph: &'a Graph, student: &'a Student) -> impl Iterator<Item = (NodeId, TunedWeight)> + 'a {
    graph.nodes().filter_map(move |(id, _)| Some((id, weight_of(graph, student, id)?)))
}

/// Gives every quantized product of `graph` that can have a bias and has none one of zeros.
pub fn add_biases(graph: &mut Graph, student: &mut Student) {
    let weighted: Vec<(NodeId, TunedWeight)> = products(graph, student).collect();
    for (id, weight) in weighted {
        if let Some(outputs) = outputs(graph, id, &weight) {
            add_bias(graph, student, id, outputs);
        }
    }
}

/// The weight that `id` reads behind a pair.
fn weight_of(graph: &Graph, student: &Student, id: NodeId) -> Option<TunedWeight> {
    let (_, dequantizer) = graph.producer(graph.node(id).input(1)?)?;
    let (_, quantizer) = graph.producer(dequantizer.input(0)?)?;
    let value = quantizer.input(0)?;
    student.weights.iter().find(|weight| weight.value == value).cloned()
}

fn add_bias(graph: &mut Graph, student: &mut Student, id: NodeId, outputs: usize) {
    let node = graph.node(id).clone();
    let convolves = node.is::<Conv>().is_some() || node.is::<ConvTranspose>().is_some();
    let takes_one = convolves || node.is::<Gemm>().is_some_and(|gemm| gemm.beta == 1.0);
    if takes_one && node.input(2).is_none() {
        let name = graph.unused_name(&format!("{}_bias", node.name));
        let value = graph.add_constant(name, TensorData::vector(vec![0.0f32; outputs]));
        graph.set_inputs(id, vec![node.input(0), node.input(1), Some(value)]);
        student.biases.push(TunedBias { node: id, value });
    }
}

/// The mean of each channel of `values` (with their numbers of channels) on `set`.
fn means(graph: &Graph, values: &[(ValueId, usize)], set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Vec<f64>>> {
    let mut sums: Vec<Vec<f64>> = values.iter().map(|(_, channels)| vec![0.0; *channels]).collect();
    let mut places = vec![0.0f64; values.len()];
    let wanted: Vec<ValueId> = values.iter().map(|(value, _)| *value).collect();
    observe(graph, &wanted, set, config, &mut |_, elements| {
        for ((sums, places), elements) in sums.iter_mut().zip(&mut places).zip(elements) {
            for row in elements.chunks_exact(sums.len().max(1)) {
                *places += 1.0;
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
    })?;
    sums.iter_mut().zip(places).for_each(|(sums, places)| sums.iter_mut().for_each(|sum| *sum /= f64::max(places, 1.0)));
    Ok(sums)
}
