use std::sync::Arc;

use super::absorb_bias::output_axis;
use super::scale_quantized::scale_quantized;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::{BatchNormalization, Conv, ConvTranspose, Gemm};
use crate::tensor::TensorData;

/// Before: `y = BatchNormalization(Conv(x, w, b))`. After: `y = Conv(x, w′, b′)`. Likewise after ConvTranspose and Gemm.
/// A BatchNormalization with nothing to fold into becomes a depthwise 1×1 Conv, which runtimes know as integers.
/// Returns how many were folded and how many became convolutions.
///
/// # Errors
/// If parameters are not constant or do not fit.
pub fn fold_batch_norm(graph: &mut Graph) -> Result<(usize, usize)> {
    let (mut folded, mut standing) = (0, 0);
    let nodes: Vec<NodeId> = graph.nodes().filter(|(_, node)| node.is::<BatchNormalization>().is_some()).map(|(id, _)| id).collect();
    for id in nodes {
        let node = graph.node(id).clone();
        let affine = affine(graph, &node)?;
        if fold_into_producer(graph, id, &node, &affine)? {
            folded += 1;
        } else if replace_by_convolution(graph, id, &node, &affine) {
            standing += 1;
        }
    }
    graph.sort()?;
    check(graph)?;
    Ok((folded, standing))
}

/// Factor and shift per channel.
fn affine(graph: &Graph, node: &Node) -> Result<Vec<(f64, f64)>> {
    let refuse = |reason: &str| Error::node(&node.name, node.operator.name(), reason);
    let norm = node.is::<BatchNormalization>().ok_or_else(|| refuse("is no BatchNormalization"))?;
    let list = |index: usize| {
        let values = node.input(index).and_then(|value| graph.constant(value)?.to_f32());
        values.ok_or_else(|| refuse(&format!("input {index} must be constant")))
    };
    let (scale, bias, mean, variance) = (list(1)?, list(2)?, list(3)?, list(4)?);
    if [bias.len(), mean.len(), variance.len()] != [scale.len(); 3] {
        return Err(refuse("its parameters differ in length"));
    }
    if variance.iter().any(|v| v.is_nan() || *v + norm.epsilon <= 0.0) {
        return Err(refuse("its variance plus epsilon is not positive"));
    }
    let channel = |c: usize| {
        let factor = f64::from(scale[c]) / (f64::from(variance[c]) + f64::from(norm.epsilon)).sqrt();
        (factor, f64::from(bias[c]) - f64::from(mean[c]) * factor)
    };
    Ok((0..scale.len()).map(channel).collect())
}

/// The dimension of the weights that outputs lie along and the number of groups that share it, where there is a place for factors
/// and shifts of outputs.
fn foldable_axis(node: &Node) -> Option<(usize, usize)> {
    let convolves = node.is::<Conv>().is_some() || node.is::<ConvTranspose>().is_some();
    let plain = node.is::<Gemm>().is_some_and(|gemm| gemm.alpha == 1.0 && gemm.beta == 1.0);
    (convolves || plain).then(|| output_axis(node))
}

fn fold_into_producer(graph: &mut Graph, id: NodeId, node: &Node, affine: &[(f64, f64)]) -> Result<bool> {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return Ok(false) };
    let Some((producer, weighted)) = graph.producer(x).map(|(id, node)| (id, node.clone())) else { return Ok(false) };
    let sole = graph.readers(x).len() == 1 && !graph.is_output(x);
    let (Some((axis, groups)), Some(weight), true) = (foldable_axis(&weighted), weighted.input(1), sole) else { return Ok(false) };
    let bias = match weighted.input(2).map(|value| (value, graph.constant(value).and_then(TensorData::to_f32))) {
        None => vec![0.0; affine.len()],
        Some((_, Some(bias))) if bias.len() == affine.len() => bias,
        Some((_, Some(bias))) if bias.len() == 1 => vec![bias[0]; affine.len()],
        _ => return Ok(false),
    };
    let weight_name = match graph.constant(weight).cloned() {
        Some(tensor) => scale_constant(graph, producer, (weight, &tensor), (axis, groups), affine),
        None => scale_quantized(graph, weight, (axis, groups), affine),
    };
    let Some(weight_name) = weight_name else { return Ok(false) };
    let shifted: Vec<f32> = bias.iter().zip(affine).map(|(b, (factor, shift))| (f64::from(*b) * factor + shift) as f32).collect();
    let bias_name = graph.unused_name(&format!("{weight_name}_bias"));
    let bias = graph.add_constant(bias_name, TensorData::vector(shifted));
    graph.set_input(producer, 2, Some(bias));
    graph.remove_node(id);
    graph.set_output(producer, 0, y);
    Ok(true)
}

/// Gives `producer` weights of its own that are scaled by the factors; returns their name.
fn scale_constant(
    graph: &mut Graph,
    producer: NodeId,
    (value, tensor): (ValueId, &TensorData),
    (axis, groups): (usize, usize),
    affine: &[(f64, f64)],
) -> Option<String> {
    let scaled = scale_channels(tensor, axis, groups, affine)?;
    let name = graph.value(value).name.clone();
    let name = if graph.readers(value).len() == 1 {
        graph.rename_value(value, graph.unused_name(&format!("{name}_unfolded")));
        name
    } else {
        graph.unused_name(&format!("{name}_folded"))
    };
    let scaled = graph.add_constant(name.clone(), scaled);
    graph.set_input(producer, 1, Some(scaled));
    graph.forget_unread(value);
    Some(name)
}

fn scale_channels(weight: &TensorData, axis: usize, groups: usize, affine: &[(f64, f64)]) -> Option<TensorData> {
    let shape = weight.shape().to_vec();
    let (per_group, inner): (usize, usize) = (*shape.get(axis)?, shape[axis + 1..].iter().product());
    if per_group * groups != affine.len() {
        return None;
    }
    let group_len = weight.len() / groups.max(1);
    let factors: Vec<f64> = affine.iter().map(|(factor, _)| *factor).collect();
    weight.map_f32(move |i, w| {
        let channel = i / group_len * per_group * usize::from(groups > 1) + i / inner % per_group;
        (f64::from(w) * factors[channel]) as f32
    })
}

/// A depthwise 1×1 convolution with the factors as weights and the shifts as bias.
fn replace_by_convolution(graph: &mut Graph, id: NodeId, node: &Node, affine: &[(f64, f64)]) -> bool {
    let Some(x) = node.input(0) else { return false };
    let rank = graph.value(x).shape.as_ref().map_or(0, Vec::len);
    if !(3..=4).contains(&rank) {
        return false;
    }
    let mut shape = vec![1; rank];
    shape[0] = affine.len();
    let add = |graph: &mut Graph, suffix: &str, tensor: TensorData| -> ValueId {
        let name = graph.unused_name(&format!("{}_{suffix}", node.name));
        graph.add_constant(name, tensor)
    };
    let weight = add(graph, "weight", TensorData::new(&shape, affine.iter().map(|(factor, _)| *factor as f32).collect()));
    let bias = add(graph, "bias", TensorData::vector(affine.iter().map(|(_, shift)| *shift as f32).collect()));
    graph.set_operator(id, Arc::new(Conv { kernel_shape: vec![1; rank - 2], group: affine.len(), ..Conv::default() }));
    graph.set_inputs(id, vec![Some(x), Some(weight), Some(bias)]);
    true
}
