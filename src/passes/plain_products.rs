use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::{Gemm, MatMul, Transpose};
use crate::tensor::{DataType, TensorData};

/// Brings matrix products with constant weights into the form that integer kernels take.
///
/// Before: `MatMul(x, w)` with w `[1, K, N]`. After: w is `[K, N]`.
/// Before: `Gemm(x, w, b)` with α and β. After: `Gemm(x, αw, βb)` with α = β = 1.
/// Before: `Gemm(Transpose(x), w)` with transA. After: `Gemm(x, w)`.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn plain_products(graph: &mut Graph) -> Result<()> {
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in nodes {
        let node = graph.node(id).clone();
        if node.is::<MatMul>().is_some() {
            drop_leading_ones(graph, id, &node);
        } else if let Some(gemm) = node.is::<Gemm>() {
            let gemm = cancel_transposition(graph, id, &node, gemm.clone());
            let gemm = multiply_factors(graph, id, &node, gemm);
            graph.set_operator(id, Arc::new(gemm));
            flatten_bias(graph, id);
        }
    }
    graph.remove_dead_nodes(&[]);
    check(graph)
}

/// A float32 constant at input `index`.
pub(super) fn single_constant(graph: &Graph, node: &Node, index: usize) -> Option<(ValueId, TensorData)> {
    let value = node.input(index)?;
    let tensor = graph.constant(value).filter(|tensor| tensor.data_type() == DataType::F32)?;
    Some((value, tensor.clone()))
}

/// Gives input `index` of `id` the numbers `tensor` instead of `value`, which other readers keep.
pub(super) fn replace_constant(graph: &mut Graph, id: NodeId, index: usize, value: ValueId, tensor: TensorData) {
    if graph.readers(value).len() == 1 && !graph.is_output(value) {
        return graph.set_constant(value, tensor);
    }
    let name = graph.unused_name(&format!("{}_{}", graph.node(id).name, graph.value(value).name));
    let own = graph.add_constant(name, tensor);
    graph.set_input(id, index, Some(own));
}

/// The rank of the result is that of the data, so weights of lower rank leave it as it is.
fn drop_leading_ones(graph: &mut Graph, id: NodeId, node: &Node) -> Option<()> {
    let (value, weights) = single_constant(graph, node, 1)?;
    let rank = graph.value(node.input(0)?).shape.as_ref()?.len();
    let (ones, matrix) = weights.shape().split_at(weights.shape().len().checked_sub(2)?);
    if ones.is_empty() || rank < weights.shape().len() || ones.iter().any(|size| *size != 1) {
        return None;
    }
    let plain = weights.reshape(matrix)?;
    replace_constant(graph, id, 1, value, plain);
    Some(())
}

fn cancel_transposition(graph: &mut Graph, id: NodeId, node: &Node, gemm: Gemm) -> Gemm {
    let transposed = node.input(0).and_then(|value| graph.producer(value)).map(|(_, node)| node).filter(|node| exchanges(node));
    match transposed.and_then(|transpose| transpose.input(0)).filter(|_| gemm.transpose_a) {
        Some(x) => {
            graph.set_input(id, 0, Some(x));
            Gemm { transpose_a: false, ..gemm }
        }
        None => gemm,
    }
}

/// Whether `node` exchanges rows and columns.
fn exchanges(node: &Node) -> bool {
    node.is::<Transpose>().is_some_and(|transpose| transpose.permutation(2).is_ok_and(|order| order == [1, 0]))
}

fn multiply_factors(graph: &mut Graph, id: NodeId, node: &Node, gemm: Gemm) -> Gemm {
    let alpha = if multiply(graph, id, node, 1, gemm.alpha) { 1.0 } else { gemm.alpha };
    let no_bias = node.input(2).is_none();
    let beta = if no_bias || multiply(graph, id, node, 2, gemm.beta) { 1.0 } else { gemm.beta };
    Gemm { alpha, beta, ..gemm }
}

/// Whether the constant at input `index` is `factor` times as large now.
fn multiply(graph: &mut Graph, id: NodeId, node: &Node, index: usize, factor: f32) -> bool {
    if factor == 1.0 {
        return true;
    }
    let Some((value, tensor)) = single_constant(graph, node, index) else { return false };
    let Some(product) = tensor.map_f32(move |_, x| x * factor) else { return false };
    replace_constant(graph, id, index, value, product);
    true
}

/// `[1, N]` becomes `[N]`, which has one number for each output as other biases do.
fn flatten_bias(graph: &mut Graph, id: NodeId) -> Option<()> {
    let (value, bias) = single_constant(graph, graph.node(id), 2)?;
    let [1, outputs] = *bias.shape() else { return None };
    let flat = bias.reshape(&[outputs])?;
    replace_constant(graph, id, 2, value, flat);
    Some(())
}
