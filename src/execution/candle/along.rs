//! Forms of operators that work along dimensions.

use candle_core::{Device, Tensor};

use super::normalization::Groups;
use super::reducing::{Mix, Reduce, Softmax};
use super::step::Step;
use crate::graph::{Graph, Node, ValueId};
use crate::kernels::reduce::Reduction;
use crate::ops::operator::Refusal;
use crate::ops::{self, ReducedAxes, unary::resolve_axis};
use crate::tensor::TensorData;

type Form = Result<Option<Box<dyn Step>>, Refusal>;

/// The step of `node`, if it is one of these, from the shapes of one sample of its inputs.
///
/// # Errors
/// If an attribute does not fit the shapes.
pub(super) fn find(graph: &Graph, node: &Node, shapes: &[Option<&[usize]>], device: &Device) -> Form {
    let Some(Some(x)) = shapes.first() else { return Ok(None) };
    if let Some((reduction, axes)) = reduction(node) {
        let listed = node.input(1).and_then(|value| graph.constant(value)?.to_i64());
        let reduced = axes.reduced(listed, x.len())?;
        return Ok(Some(reduce(reduction, x, &reduced, axes.keepdims)));
    }
    let softmax = node.is::<ops::Softmax>().map(|softmax| (softmax.axis, false));
    if let Some((axis, logarithm)) = softmax.or_else(|| node.is::<ops::LogSoftmax>().map(|softmax| (softmax.axis, true))) {
        return Ok(Some(Box::new(Softmax { dim: resolve_axis(axis.index, x.len())? + 1, logarithm })));
    }
    if let Some(resize) = node.is::<ops::Resize>() {
        return resized(resize, graph, node, x, device);
    }
    let whole = match node.operator.name() {
        "GlobalAveragePool" => Some(Reduction::Mean),
        "GlobalMaxPool" => Some(Reduction::Max),
        _ => None,
    };
    if let Some(reduction) = whole {
        let reduced: Vec<bool> = (0..x.len()).map(|dim| dim >= 2).collect();
        return Ok(Some(reduce(reduction, x, &reduced, true)));
    }
    normalized(node, x, shapes.get(1).copied().flatten())
}

/// Products are left to the CPU: candle has none.
fn reduction(node: &Node) -> Option<(Reduction, &ReducedAxes)> {
    node.is::<ops::Reduce>().filter(|reduce| reduce.reduction != Reduction::Product).map(|reduce| (reduce.reduction, &reduce.axes))
}

fn reduce(reduction: Reduction, x: &[usize], reduced: &[bool], keepdims: bool) -> Box<dyn Step> {
    let dims = reduced.iter().enumerate().filter(|(_, reduced)| **reduced).map(|(dim, _)| dim + 1).collect();
    let remaining = x.iter().zip(reduced).filter(|(_, reduced)| keepdims || !**reduced);
    Box::new(Reduce { reduction, dims, output: remaining.map(|(size, reduced)| if *reduced { 1 } else { *size }).collect() })
}

fn resized(resize: &ops::Resize, graph: &Graph, node: &Node, x: &[usize], device: &Device) -> Form {
    let constant = |index: usize| node.input(index).and_then(|value: ValueId| graph.constant(value));
    let (scales, sizes) = (constant(2).and_then(TensorData::to_f32), constant(3).and_then(TensorData::to_i64));
    let Some(resampled) = resize.weights(x, scales, sizes)? else { return Ok(None) };
    let mut matrices = Vec::new();
    for along in resampled {
        let matrix = Tensor::from_vec(along.weights, (along.from, along.to), device).map_err(|error| error.to_string())?;
        matrices.push((along.dim + 1, matrix));
    }
    Ok(Some(Box::new(Mix { matrices })))
}

/// LayerNormalization, InstanceNormalization, and GroupNormalization with a scale for each channel.
fn normalized(node: &Node, x: &[usize], scale: Option<&[usize]>) -> Form {
    let Some(scale) = scale else { return Ok(None) };
    let groups = |size: usize, epsilon: f32, own: &[usize]| -> Form {
        let parameters = [&vec![1; x.len() + 1 - own.len()], own].concat();
        Ok(Some(Box::new(Groups { size, epsilon: epsilon.into(), parameters })))
    };
    if let Some(norm) = node.is::<ops::LayerNormalization>() {
        return groups(x[resolve_axis(norm.axis, x.len())?..].iter().product(), norm.epsilon, scale);
    }
    let [_, channels, spatial @ ..] = x else { return Ok(None) };
    let together = match (node.is::<ops::InstanceNormalization>(), node.is::<ops::GroupNormalization>()) {
        (Some(norm), _) => (1, norm.epsilon),
        (_, Some(norm)) => (channels / norm.groups.max(1), norm.epsilon),
        _ => return Ok(None),
    };
    if scale != [*channels] {
        return Ok(None);
    }
    let pixels: usize = spatial.iter().product();
    groups(together.0 * pixels, together.1, &[&[*channels], vec![1; spatial.len()].as_slice()].concat())
}
