//! Integer operators in place of QDQ pairs, for runtimes that do not fuse these.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::four_bits::is_superfluous;
use super::names::shared_zero_point;
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::{Add, Attributes, Cast, Clip, Conv, DequantizeLinear, Foreign, Gemm, MatMul, Mul, Operator, QuantizeLinear, Relu};
use crate::ops::{Flatten, Identity, MaxPool, Reshape, Slice, Squeeze, Transpose, Unsqueeze};
use crate::quantization::KernelForecast;
use crate::tensor::{DataType, TensorData};

/// Integers that a DequantizeLinear reads.
#[derive(Clone, Copy)]
struct Integers {
    value: ValueId,
    scale: ValueId,
    zero_point: ValueId,
}

/// Before: `y = Q(Relu(Conv(DQ(x), DQ(w), DQ(b))))`. After: `y = QLinearConv(x, …, w, …, b)`. A MatMul or Gemm becomes
/// QLinearMatMul where its result is quantized and it has no bias, else `Mul(Cast(Add(MatMulInteger(x, w), b)), s)`; what
/// only moves elements moves integers. What cannot be written so stays as it is, and `kernels` learn of it.
///
/// # Errors
/// If the graph is not sound.
pub fn to_qoperator(graph: &mut Graph, kernels: &mut [KernelForecast]) -> Result<()> {
    let products: Vec<NodeId> = graph.nodes().filter(|(_, node)| is_product(node)).map(|(id, _)| id).collect();
    for id in products {
        let name = graph.node(id).name.clone();
        let done = if graph.node(id).is::<Conv>().is_some() { write_convolution(graph, id) } else { write_matrix_product(graph, id) };
        if let Some(kernel) = kernels.iter_mut().find(|kernel| kernel.node == name && kernel.integer && done.is_none()) {
            kernel.integer = false;
            kernel.reason = Some("no integer operator has its form".to_string());
        }
    }
    graph.sort()?;
    let moves: Vec<NodeId> = graph.nodes().filter(|(_, node)| moves_integers(node)).map(|(id, _)| id).collect();
    for id in moves {
        move_integers(graph, id);
    }
    graph.sort()?;
    graph.remove_dead_nodes(&[]);
    check(graph)
}

fn is_product(node: &Node) -> bool {
    node.is::<Conv>().is_some() || node.is::<Gemm>().is_some() || node.is::<MatMul>().is_some()
}

fn dequantized(graph: &Graph, value: Option<ValueId>) -> Option<Integers> {
    let (_, node) = graph.producer(value?)?;
    node.is::<DequantizeLinear>()?;
    Some(Integers { value: node.input(0)?, scale: node.input(1)?, zero_point: node.input(2)? })
}

/// The quantizer that alone reads the result of `node`, maybe behind an activation that it makes superfluous; and the nodes
/// that it replaces, itself among them.
fn quantizer_behind(graph: &Graph, node: &Node) -> Option<(Node, Vec<NodeId>)> {
    let consumers = graph.consumers();
    let sole_reader = |value: ValueId| match consumers[value.0 as usize][..] {
        [(id, 0)] if !graph.is_output(value) => Some((id, graph.node(id))),
        _ => None,
    };
    let (mut id, mut next) = sole_reader(node.output(0)?)?;
    let mut replaced = Vec::new();
    let mut activations = Vec::new();
    while next.is::<Relu>().is_some() || next.is::<Clip>().is_some() {
        replaced.push(id);
        activations.push(next);
        (id, next) = sole_reader(next.output(0)?)?;
    }
    next.is::<QuantizeLinear>()?;
    replaced.push(id);
    activations.iter().all(|activation| is_superfluous(graph, activation, next)).then(|| (next.clone(), replaced))
}

/// An operator of the standard that zeroq writes but does not compute.
fn integer_operator(op_type: &str, attributes: Attributes, inputs: usize) -> Arc<dyn Operator> {
    let reason = "zeroq does not compute integer operators".to_string();
    Arc::new(Foreign {
        op_type: op_type.to_string(),
        domain: String::new(),
        attributes,
        own_inputs: inputs,
        inner: BTreeSet::new(),
        reason,
    })
}

/// Replaces `node` and all up to the quantizer behind it.
fn replace(
    graph: &mut Graph,
    id: NodeId,
    op_type: &str,
    attributes: Attributes,
    operands: &[Integers],
    bias: Option<ValueId>,
) -> Option<()> {
    let node = graph.node(id).clone();
    let (quantizer, replaced) = quantizer_behind(graph, &node)?;
    let mut inputs: Vec<ValueId> = operands.iter().flat_map(|integers| [integers.value, integers.scale, integers.zero_point]).collect();
    inputs.extend([quantizer.input(1)?, quantizer.input(2)?]);
    inputs.extend(bias);
    let output = quantizer.output(0)?;
    replaced.into_iter().chain([id]).for_each(|id| graph.remove_node(id));
    let operator = integer_operator(op_type, attributes, inputs.len());
    graph.add_node(node.name, operator, inputs.into_iter().map(Some).collect(), vec![Some(output)]);
    Some(())
}

fn write_convolution(graph: &mut Graph, id: NodeId) -> Option<()> {
    let node = graph.node(id);
    let (x, weight) = (dequantized(graph, node.input(0))?, dequantized(graph, node.input(1))?);
    let bias = match node.input(2) {
        Some(bias) => Some(dequantized(graph, Some(bias))?.value),
        None => None,
    };
    let attributes = node.is::<Conv>()?.write();
    replace(graph, id, "QLinearConv", attributes, &[x, weight], bias)
}

fn write_matrix_product(graph: &mut Graph, id: NodeId) -> Option<()> {
    let node = graph.node(id).clone();
    let (x, mut weight) = (dequantized(graph, node.input(0))?, dequantized(graph, node.input(1))?);
    let bias = match node.input(2) {
        Some(bias) => Some(dequantized(graph, Some(bias))?.value),
        None => None,
    };
    if node.is::<Gemm>().is_some_and(|gemm| gemm.transpose_b) {
        let transposed = transpose(graph.constant(weight.value)?)?;
        let name = graph.unused_name(&format!("{}_transposed", graph.value(weight.value).name));
        weight.value = graph.add_constant(name, transposed);
    }
    if bias.is_none() && quantizer_behind(graph, &node).is_some() {
        return replace(graph, id, "QLinearMatMul", Attributes::default(), &[x, weight], None);
    }
    write_accumulator(graph, id, x, weight, bias)
}

/// `Mul(Cast(Add(MatMulInteger(x, w), b)), s)`, s the scale of x times that of w.
fn write_accumulator(graph: &mut Graph, id: NodeId, x: Integers, weight: Integers, bias: Option<ValueId>) -> Option<()> {
    let node = graph.node(id).clone();
    let output = node.output(0)?;
    let shape = graph.value(output).shape.clone();
    let scale = |value: ValueId| graph.constant(value).and_then(TensorData::to_f32);
    let (input_scale, scales) = (*scale(x.scale)?.first()?, scale(weight.scale)?);
    let scales = scales.into_iter().map(|scale| scale * input_scale).collect();
    let zero_point = TensorData::from_f64(&[], vec![0.0], graph.constant(weight.value)?.data_type())?;
    graph.remove_node(id);
    let zero_point = shared_zero_point(graph, zero_point);
    let factor = graph.add_constant(graph.unused_name(&format!("{}_factor", node.name)), TensorData::vector(scales));
    let mut add = |operator: Arc<dyn Operator>, part: &str, inputs: Vec<ValueId>, data_type: DataType| {
        let name = if part.is_empty() { node.name.clone() } else { graph.unused_name(&format!("{}_{part}", node.name)) };
        let value = graph.unused_name(&format!("{name}_result"));
        let (_, value) = graph.add_operation(&name, operator, inputs, &value);
        graph.set_facts(value, Some(data_type), shape.clone());
        value
    };
    let operator = integer_operator("MatMulInteger", Attributes::default(), 4);
    let mut sum = add(operator, "", vec![x.value, weight.value, x.zero_point, zero_point], DataType::I32);
    if let Some(bias) = bias {
        sum = add(Arc::new(Add), "bias", vec![sum, bias], DataType::I32);
    }
    let numbers = add(Arc::new(Cast { to: DataType::F32 }), "cast", vec![sum], DataType::F32);
    let name = graph.unused_name(&format!("{}_scale", node.name));
    graph.add_node(name, Arc::new(Mul), vec![Some(numbers), Some(factor)], vec![Some(output)]);
    Some(())
}

/// A matrix with rows and columns exchanged.
fn transpose(tensor: &TensorData) -> Option<TensorData> {
    let [rows, columns] = *tensor.shape() else { return None };
    let elements = tensor.to_f64()?;
    let turned = (0..rows * columns).map(|index| elements[index % rows * columns + index / rows]).collect();
    TensorData::from_f64(&[columns, rows], turned, tensor.data_type())
}

/// Operators that take integers of 8 bits as they take floats, in the operator sets that zeroq writes.
fn moves_integers(node: &Node) -> bool {
    let shapes = node.is::<Reshape>().is_some() || node.is::<Flatten>().is_some() || node.is::<Squeeze>().is_some();
    let moves = node.is::<Transpose>().is_some() || node.is::<Slice>().is_some() || node.is::<Identity>().is_some();
    shapes || moves || node.is::<Unsqueeze>().is_some() || node.is::<MaxPool>().is_some()
}

/// Before: `y = Q(move(DQ(x)))`, both with the same numbers. After: `y = move(x)`.
fn move_integers(graph: &mut Graph, id: NodeId) -> Option<()> {
    let node = graph.node(id).clone();
    let x = dequantized(graph, node.input(0))?;
    let result = node.output(0)?;
    let readers = graph.readers(result).to_vec();
    let same = |(reader, _): &(NodeId, usize)| {
        let quantizer = graph.node(*reader);
        quantizer.is::<QuantizeLinear>().is_some() && quantizer.input(1) == Some(x.scale) && quantizer.input(2) == Some(x.zero_point)
    };
    if graph.is_output(result) || readers.is_empty() || node.outputs.len() > 1 || !readers.iter().all(same) {
        return None;
    }
    let (data_type, shape) = (graph.value(x.value).data_type, graph.value(result).shape.clone());
    graph.set_input(id, 0, Some(x.value));
    graph.set_facts(result, data_type, shape);
    for (quantizer, _) in readers {
        let quantized = graph.node(quantizer).output(0)?;
        graph.remove_node(quantizer);
        graph.replace_uses(quantized, result);
    }
    Some(())
}
