use std::sync::Arc;

use super::plain_products::single_constant;
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::{Add, Conv, ConvTranspose, Gemm, MatMul, Sub};
use crate::tensor::TensorData;

/// Before: `y = Add(Conv(x, w, b), c)` with one number of c for each output channel, or one for all. After:
/// `y = Conv(x, w, b + c)`. Likewise after ConvTranspose and Gemm, and `Sub(…, c)`; a MatMul of matrices becomes a Gemm.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn fold_bias(graph: &mut Graph) -> Result<()> {
    let nodes: Vec<NodeId> = graph.nodes().filter(|(_, node)| adds(node)).map(|(id, _)| id).collect();
    for id in nodes {
        let node = graph.node(id).clone();
        fold_into_product(graph, id, &node);
    }
    graph.remove_dead_nodes(&[]);
    check(graph)
}

fn adds(node: &Node) -> bool {
    node.is::<Add>().is_some() || node.is::<Sub>().is_some()
}

fn fold_into_product(graph: &mut Graph, id: NodeId, node: &Node) -> Option<()> {
    let (data, constant) = sides(graph, node)?;
    let (producer, product) = graph.producer(data).map(|(id, node)| (id, node.clone()))?;
    if graph.readers(data).len() != 1 || graph.is_output(data) {
        return None;
    }
    let shape = &graph.value(data).shape.clone()?;
    let axis = channel_axis(graph, &product, shape.len())?;
    let outputs = shape[axis].known()?;
    let added = per_channel(&constant, shape.len(), axis, outputs)?;
    let before = match product.input(2) {
        Some(_) => single_constant(graph, &product, 2)?.1.to_f32()?,
        None => vec![0.0; outputs],
    };
    let sign = if node.is::<Sub>().is_some() { -1.0 } else { 1.0 };
    let before = before.iter().cycle().take(outputs);
    let bias: Vec<f32> = before.zip(added).map(|(b, c)| (f64::from(*b) + sign * f64::from(c)) as f32).collect();
    give_bias(graph, producer, &product, bias);
    let y = node.output(0)?;
    graph.remove_node(id);
    graph.set_output(producer, 0, y);
    Some(())
}

/// What an addition adds to, and the constant that it adds or takes off.
fn sides(graph: &Graph, node: &Node) -> Option<(ValueId, TensorData)> {
    let order: &[[usize; 2]] = if node.is::<Sub>().is_some() { &[[0, 1]] } else { &[[0, 1], [1, 0]] };
    order.iter().find_map(|[data, constant]| Some((node.input(*data)?, single_constant(graph, node, *constant)?.1)))
}

/// The dimension of the output of `product` that a bias goes along.
fn channel_axis(graph: &Graph, product: &Node, rank: usize) -> Option<usize> {
    let convolves = product.is::<Conv>().is_some() || product.is::<ConvTranspose>().is_some();
    let plain = product.is::<Gemm>().is_some_and(|gemm| gemm.beta == 1.0);
    let weights = single_constant(graph, product, 1).map(|(_, weights)| weights.shape().len());
    let matrices = product.is::<MatMul>().is_some() && weights == Some(2) && rank == 2;
    (convolves || plain || matrices).then_some(1)
}

/// The numbers of `constant`, broadcast to a value of `rank` dimensions, for each of `outputs` channels along `axis`.
fn per_channel(constant: &TensorData, rank: usize, axis: usize, outputs: usize) -> Option<Vec<f32>> {
    let shape = constant.shape();
    let channel = (axis + shape.len()).checked_sub(rank);
    let alone = shape.iter().enumerate().all(|(dim, size)| *size == 1 || Some(dim) == channel);
    let elements = constant.to_f32()?;
    if !alone || shape.len() > rank || ![1, outputs].contains(&elements.len()) {
        return None;
    }
    Some(elements.into_iter().cycle().take(outputs).collect())
}

fn give_bias(graph: &mut Graph, id: NodeId, product: &Node, bias: Vec<f32>) {
    let name = product.input(1).map_or(&product.name, |weight| &graph.value(weight).name);
    let name = graph.unused_name(&format!("{name}_bias"));
    let bias = graph.add_constant(name, TensorData::vector(bias));
    graph.set_inputs(id, vec![product.input(0), product.input(1), Some(bias)]);
    product.input(2).into_iter().for_each(|former| graph.forget_unread(former));
    if product.is::<MatMul>().is_some() {
        graph.set_operator(id, Arc::new(Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: false }));
    }
}
