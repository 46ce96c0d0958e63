//! Moving what an activation always has at least into the biases behind it.

use super::equalize_layers::{Seam, channel_of};
use crate::graph::{Graph, Node, NodeId};
use crate::ops::{
    AveragePool, Conv, ConvTranspose, Flatten, Gemm, GlobalAveragePool, GlobalMaxPool, LeakyRelu, MaxPool, PRelu, Relu, Reshape,
};
use crate::tensor::{DataType, TensorData};

/// Whether [`absorb_bias`] can be applied to `seam`: everything between shifts with its input where that is not negative,
/// and nobody adds zeros around it, which would not shift.
pub fn can_absorb_bias(graph: &Graph, seam: &Seam) -> bool {
    let producer = graph.node(seam.producer);
    let lowered = own_bias(graph, producer).is_some_and(|bias| bias.len() == seam.channels);
    lowered && seam.between.iter().all(|id| shifts(graph.node(*id))) && seam.consumers.iter().all(|id| can_take(graph, graph.node(*id)))
}

/// Lowers channel c of `seam` by `amounts[c]` ≥ 0 where it is made and makes up for it in the biases of what reads it. Exact
/// wherever the channel was at least so large. `seam` must pass [`can_absorb_bias`].
///
/// Before: `y = W₂ · f(W₁ · x + b₁) + b₂`. After: `y = W₂ · f(W₁ · x + b₁ − a) + (b₂ + W₂ · a)`.
/// Paper: Nagel et al. 2019 (DFQ), arXiv:1906.04721, section 4.1.3.
pub fn absorb_bias(graph: &mut Graph, seam: &Seam, amounts: &[f64]) {
    let lowered: Vec<f64> = amounts.iter().map(|amount| -amount).collect();
    add_to_bias(graph, seam.producer, &lowered);
    for id in &seam.consumers {
        if let Some(raised) = product(graph, graph.node(*id), amounts) {
            add_to_bias(graph, *id, &raised);
        }
    }
}

/// f(x − a) = f(x) − a for x ≥ a ≥ 0.
fn shifts(node: &Node) -> bool {
    let rectifies = node.is::<Relu>().is_some() || node.is::<LeakyRelu>().is_some() || node.is::<PRelu>().is_some();
    let pools = node.is::<MaxPool>().is_some() || node.is::<GlobalMaxPool>().is_some() || node.is::<GlobalAveragePool>().is_some();
    let averages = node.is::<AveragePool>().is_some_and(|pool| !pool.count_include_pad || !pool.window.is_padded());
    rectifies || pools || averages || node.is::<Reshape>().is_some() || node.is::<Flatten>().is_some()
}

fn can_take(graph: &Graph, node: &Node) -> bool {
    let kernel = node.input(1).and_then(|weight| Some(graph.constant(weight)?.shape().get(2..)?.to_vec())).unwrap_or_default();
    let plain = node.is::<Conv>().is_some_and(|conv| !conv.is_padded(&kernel))
        || node.is::<Gemm>().is_some_and(|gemm| (gemm.alpha, gemm.beta) == (1.0, 1.0));
    plain && (node.input(2).is_none() || own_bias(graph, node).is_some())
}

/// A bias of one number per output that nobody else reads.
fn own_bias<'a>(graph: &'a Graph, node: &Node) -> Option<&'a TensorData> {
    let value = node.input(2)?;
    let tensor = graph.constant(value).filter(|tensor| tensor.data_type() == DataType::F32 && tensor.shape().len() == 1)?;
    let outputs = weight_outputs(graph, node)?;
    (graph.readers(value).len() == 1 && tensor.len() == outputs).then_some(tensor)
}

/// The dimension of the weights that outputs lie along, and how many groups share its places.
pub(super) fn output_axis(node: &Node) -> (usize, usize) {
    match node.is::<ConvTranspose>() {
        Some(conv) => (1, conv.conv.group),
        None => (usize::from(node.is::<Gemm>().is_some_and(|gemm| !gemm.transpose_b)), 1),
    }
}

fn weight_outputs(graph: &Graph, node: &Node) -> Option<usize> {
    outputs_of(node, graph.constant(node.input(1)?)?.shape())
}

/// Number of outputs of a product with weights of `shape`.
pub fn outputs_of(node: &Node, shape: &[usize]) -> Option<usize> {
    let (axis, groups) = output_axis(node);
    Some(shape.get(axis)? * groups)
}

/// Σ w · a over all that each output of `node` reads, where input channel c is `amounts[c]` everywhere.
fn product(graph: &Graph, node: &Node, amounts: &[f64]) -> Option<Vec<f64>> {
    let tensor = graph.constant(node.input(1)?)?;
    Some(weighted_sums(node, tensor.shape(), &tensor.as_f32()?, amounts))
}

/// Σ w · a for weights `elements` of `node`.
pub fn weighted_sums(node: &Node, shape: &[usize], elements: &[f32], amounts: &[f64]) -> Vec<f64> {
    let ((axis, groups), channel_of) = (output_axis(node), channel_of(node));
    let (inner, per_group) = (shape[axis + 1..].iter().product::<usize>(), shape[axis]);
    let mut sums = vec![0.0; per_group * groups];
    for (index, w) in elements.iter().enumerate() {
        let group = index * groups / elements.len();
        sums[group * per_group + index / inner % per_group] += f64::from(*w) * amounts[channel_of(shape, index)];
    }
    sums
}

/// Adds `amounts` to the bias of `id`, which gets one if it has none.
pub fn add_to_bias(graph: &mut Graph, id: NodeId, amounts: &[f64]) {
    let known = graph.node(id).input(2);
    let elements = known.and_then(|bias| graph.constant(bias)?.to_f32()).unwrap_or_else(|| vec![0.0; amounts.len()]);
    let moved = elements.iter().zip(amounts).map(|(b, amount)| (f64::from(*b) + amount) as f32).collect::<Vec<_>>();
    match known {
        Some(bias) => graph.set_constant(bias, TensorData::vector(moved)),
        None => {
            let name = graph.unused_name(&format!("{}_bias", graph.node(id).name));
            let bias = graph.add_constant(name, TensorData::vector(moved));
            let inputs = [graph.node(id).input(0), graph.node(id).input(1), Some(bias)];
            graph.set_inputs(id, inputs.to_vec());
        }
    }
}
