//! Looking at the finished graph with the eyes of the runtime.

use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::{Clip, DequantizeLinear, QuantizeLinear, Relu};
use crate::quantization::{KernelForecast, Placement, Target};

/// Which Conv, Gemm and MatMul of a finished graph will run as integers on `target`, and why not.
pub fn verify(graph: &Graph, target: &Target) -> Vec<KernelForecast> {
    let consumers = graph.consumers();
    let mut forecasts = Vec::new();
    for (_, node) in graph.nodes() {
        if !matches!(node.operator.name(), "Conv" | "Gemm" | "MatMul" | "ConvTranspose") {
            continue;
        }
        let reason = obstacle(graph, &consumers, node, target);
        let operator = node.operator.name().to_string();
        forecasts.push(KernelForecast { node: node.name.clone(), operator, integer: reason.is_none(), reason });
    }
    forecasts
}

fn obstacle(graph: &Graph, consumers: &[Vec<(NodeId, usize)>], node: &Node, target: &Target) -> Option<String> {
    let dequantized = |value: Option<ValueId>| {
        value.is_none_or(|value| graph.producer(value).is_some_and(|(_, node)| node.is::<DequantizeLinear>().is_some()))
    };
    if node.operator.name() == "ConvTranspose" {
        return Some("runtimes have no integer kernel for this operator".to_string());
    }
    if !dequantized(node.input(0)) || !dequantized(node.input(1)) {
        return Some("its data or weights are not quantized".to_string());
    }
    if target.placement == Placement::WeightedInputs || node.operator.name() != "Conv" {
        return None;
    }
    if !dequantized(node.input(2)) {
        return Some("its bias is float".to_string());
    }
    let mut value = node.output(0)?;
    loop {
        let [(reader, 0)] = consumers[value.0 as usize][..] else {
            return Some("its output has several readers or none".to_string());
        };
        let next = graph.node(reader);
        if graph.is_output(value) {
            return Some("its float output is a graph output".to_string());
        }
        if next.is::<QuantizeLinear>().is_some() {
            return None;
        }
        if next.is::<Relu>().is_none() && next.is::<Clip>().is_none() {
            return Some(format!("its output goes to {} `{}` unquantized", next.operator.name(), next.name));
        }
        value = next.output(0)?;
    }
}
