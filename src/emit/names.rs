//! Names of what emission adds: ONNX Runtime's own, as long as the file can afford them.

use std::collections::HashSet;

use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::{DequantizeLinear, QuantizeLinear};
use crate::tensor::TensorData;

/// Names may take one byte for so many bytes of constants.
const BYTES_PER_NAME_BYTE: usize = 10;

/// A constant zero point of this content; equal ones are one.
pub(super) fn shared_zero_point(graph: &mut Graph, tensor: TensorData) -> ValueId {
    let zero = tensor.to_i64().and_then(|elements| elements.first().copied()).unwrap_or(0);
    let sizes: String = tensor.shape().iter().map(|size| format!("x{size}")).collect();
    let name = format!("{}_{zero}{sizes}_zero_point", tensor.data_type());
    match graph.find_value(&name) {
        Some(known) if graph.constant(known) == Some(&tensor) => known,
        _ => {
            let name = graph.unused_name(&name);
            graph.add_constant(name, tensor)
        }
    }
}

/// Where the names around quantizers outweigh a small network's numbers, they are replaced by numbered ones (`q7`, `dq7`,
/// `s7`, `z7`). Integer weights keep theirs, and so does everything that the original had.
pub fn shorten_names(graph: &mut Graph) {
    let quantizers: Vec<(NodeId, Node)> =
        graph.nodes().filter(|(_, node)| is_quantizer(node)).map(|(id, node)| (id, node.clone())).collect();
    let added = |value: &ValueId| !graph.is_output(*value);
    let names = |node: &Node| -> usize {
        let values = node.inputs.iter().chain(&node.outputs).flatten();
        node.name.len() + values.map(|value| graph.value(*value).name.len()).sum::<usize>()
    };
    let constants = graph.value_ids().filter_map(|value| graph.constant(value));
    let bytes: usize = constants.map(|tensor| (tensor.len() * tensor.data_type().bits().unwrap_or(8)).div_ceil(8)).sum();
    if quantizers.iter().map(|(_, node)| names(node)).sum::<usize>() * BYTES_PER_NAME_BYTE <= bytes {
        return;
    }
    let mut renamed: HashSet<ValueId> = HashSet::new();
    let mut values = Vec::new();
    for (index, (_, node)) in quantizers.iter().enumerate() {
        let output = if node.is::<QuantizeLinear>().is_some() { "q" } else { "dq" };
        let named = [(node.output(0), output), (node.input(1), "s"), (node.input(2), "z")];
        for (value, prefix) in named.into_iter().filter_map(|(value, prefix)| Some((value?, prefix))) {
            if added(&value) && renamed.insert(value) {
                values.push((value, format!("{prefix}{index}")));
            }
        }
    }
    for (value, name) in values {
        let name = graph.unused_name(&name);
        graph.rename_value(value, name);
    }
    for (index, (id, node)) in quantizers.iter().enumerate() {
        let name = graph.unused_name(&format!("{}{index}", if node.is::<QuantizeLinear>().is_some() { "Q" } else { "DQ" }));
        graph.rename_node(*id, name);
    }
}

fn is_quantizer(node: &Node) -> bool {
    node.is::<QuantizeLinear>().is_some() || node.is::<DequantizeLinear>().is_some()
}
