//! Looking at the finished graph with the eyes of the runtime.

use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::{Clip, Conv, ConvTranspose, DequantizeLinear, QuantizeLinear, Relu};
use crate::quantization::{KernelForecast, NO_TRANSPOSED_CONVOLUTION, Placement, Target, Width, is_product};

/// Why layers of other widths than 8 bits do not run as integers.
pub const NO_INTEGER_KERNEL: &str = "runtimes compute with integers of 4 or 16 bits in float";

/// Which Conv, Gemm and MatMul of a finished graph will run as integers on `target`, and why not.
pub fn verify(graph: &Graph, target: &Target) -> Vec<KernelForecast> {
    let consumers = graph.consumers();
    let mut forecasts = Vec::new();
    for (_, node) in graph.nodes() {
        if !is_product(node) {
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
    let transposed = node.is::<ConvTranspose>().is_some();
    if transposed && !target.transposed_convolutions {
        return Some(NO_TRANSPOSED_CONVOLUTION.to_string());
    }
    if !dequantized(node.input(0)) || !dequantized(node.input(1)) {
        return Some("its data or weights are not quantized".to_string());
    }
    let is_eight = |integers: Option<ValueId>| {
        if !target.eight_bits_alone {
            return true;
        }
        let data_type = integers.and_then(|value| graph.value(value).data_type);
        data_type.and_then(Width::of).is_none_or(|width| width == Width::Eight)
    };
    let integers = |index: usize| graph.producer(node.input(index)?).and_then(|(_, dequantizer)| dequantizer.input(0));
    if !is_eight(integers(0)) || !is_eight(integers(1)) {
        return Some(NO_INTEGER_KERNEL.to_string());
    }
    if target.placement == Placement::WeightedInputs || node.is::<Conv>().is_none() && !transposed {
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
            return (!is_eight(next.output(0))).then(|| NO_INTEGER_KERNEL.to_string());
        }
        if next.is::<Relu>().is_none() && next.is::<Clip>().is_none() {
            return Some(format!("its output goes to {} `{}` unquantized", next.operator.name(), next.name));
        }
        value = next.output(0)?;
    }
}
