//! What subgraphs read of quantized values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::{Clip, DequantizeLinear, Foreign};

/// Before: a subgraph captures the output of a DequantizeLinear. After: that of a Clip without bounds behind it. Optimizers of ONNX
/// Runtime 1.31 end the process at some files of the former kind (an assertion on the number of an input, which captured values have
/// none of); they leave a Clip where it is, which no Identity is.
pub fn shield_captures(graph: &mut Graph) {
    let mut captures: BTreeMap<ValueId, BTreeSet<NodeId>> = BTreeMap::new();
    for (id, node) in graph.nodes() {
        let own = node.is::<Foreign>().map_or(node.inputs.len(), |foreign| foreign.own_inputs.min(node.inputs.len()));
        for value in node.inputs[own..].iter().flatten() {
            if graph.producer(*value).is_some_and(|(_, producer)| producer.is::<DequantizeLinear>().is_some()) {
                captures.entry(*value).or_default().insert(id);
            }
        }
    }
    for (value, readers) in captures {
        let facts = graph.value(value).clone();
        let [node_name, name] = ["Clip", "captured"].map(|suffix| graph.unused_name(&format!("{}_{suffix}", facts.name)));
        let (_, clipped) = graph.add_operation(&node_name, Arc::new(Clip), vec![value], &name);
        graph.set_facts(clipped, facts.data_type, facts.shape);
        for id in readers {
            let inputs = graph.node(id).inputs.clone();
            let own = graph.node(id).is::<Foreign>().map_or(0, |foreign| foreign.own_inputs);
            let captured = inputs.into_iter().enumerate().map(|(index, input)| match input {
                Some(input) if index >= own && input == value => Some(clipped),
                input => input,
            });
            let inputs = captured.collect();
            graph.set_inputs(id, inputs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;

    #[test]
    fn a_clip_stands_between_a_dequantizer_and_a_subgraph() {
        let sketch = Sketch::new(&[0, 6]).scalar("s", 0.1).plain("q", "QuantizeLinear", "x s").plain("d", "DequantizeLinear", "q s");
        let mut graph = sketch.plain("c", "ReduceMax", "d").plain("y", "Add", "c d").plain("z", "Relu", "d").outputs("y z");
        let choose = Foreign {
            op_type: "If".to_string(),
            domain: String::new(),
            attributes: Default::default(),
            own_inputs: 1,
            inner: Default::default(),
            reason: String::new(),
        };
        let id = graph.producer(graph.find_value("y").unwrap()).unwrap().0;
        graph.set_operator(id, Arc::new(choose));
        shield_captures(&mut graph);
        let source = |graph: &Graph, name: &str, input: usize| {
            let (_, node) = graph.producer(graph.find_value(name).unwrap()).unwrap();
            graph.producer(node.input(input).unwrap()).unwrap().1.operator.name().to_string()
        };
        assert_eq!(
            [("y", 0), ("y", 1), ("z", 0)].map(|(name, input)| source(&graph, name, input)),
            ["ReduceMax", "Clip", "DequantizeLinear"]
        );
    }
}
