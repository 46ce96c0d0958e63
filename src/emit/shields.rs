//! What stands between an operator and optimizers of ONNX Runtime 1.31 that break it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::graph::{Graph, Node, NodeId, ValueId, known_shape};
use crate::ops::{AveragePool, Clip, DequantizeLinear, Foreign, Interpolation, Operator, Reshape, Resize};
use crate::tensor::TensorData;

/// What hands a value on and stops an optimizer there.
#[derive(Clone, Copy)]
enum Shield {
    /// A Clip without bounds: no quantizer is fused across it.
    Clip,
    /// A Reshape to the same sizes: channels are not brought last across it. It moves nothing.
    Reshape,
}

/// Puts shields before the operators that need one.
pub fn shield(graph: &mut Graph) {
    let needy: Vec<(NodeId, Shield)> = graph.nodes().filter_map(|(id, node)| Some((id, needed(graph, node)?))).collect();
    for (id, shield) in needy {
        let Some(x) = graph.node(id).input(0) else { continue };
        if let Some(shielded) = add_shield(graph, x, shield) {
            graph.set_input(id, 0, Some(shielded));
        }
    }
    shield_captures(graph);
}

/// ONNX Runtime has an integer AveragePool, which knows no dilations and is taken where they are given. With channels last it
/// resizes by cubic polynomials only where nothing shrinks or more elements are mixed, and reads lists of axes as if they were of
/// all dimensions.
fn needed(graph: &Graph, node: &Node) -> Option<Shield> {
    if node.is::<AveragePool>().is_some_and(|pool| pool.window.is_dilated()) {
        return Some(Shield::Clip);
    }
    let resize = node.is::<Resize>()?;
    let cubic = matches!(resize.interpolation, Interpolation::Cubic { .. }) && !resize.antialias;
    (resize.axes.is_some() || cubic && may_shrink(graph, node)).then_some(Shield::Reshape)
}

fn may_shrink(graph: &Graph, node: &Node) -> bool {
    let shape = |value: Option<ValueId>| value.and_then(|value| known_shape(graph.value(value).shape.as_ref()?));
    let scales = node.input(2).and_then(|scales| graph.constant(scales)?.to_f32());
    match (scales, shape(node.input(0)), shape(node.output(0))) {
        (Some(scales), _, _) => scales.iter().any(|scale| *scale < 1.0),
        (None, Some(from), Some(to)) => from.iter().zip(&to).any(|(from, to)| to < from),
        _ => true,
    }
}

/// `None` where the number of dimensions is not known.
fn add_shield(graph: &mut Graph, value: ValueId, shield: Shield) -> Option<ValueId> {
    let facts = graph.value(value).clone();
    let (operator, inputs): (Arc<dyn Operator>, _) = match shield {
        Shield::Clip => (Arc::new(Clip), vec![value]),
        Shield::Reshape => {
            let name = graph.unused_name(&format!("{}_same_sizes", facts.name));
            let sizes = graph.add_constant(name, TensorData::vector(vec![0i64; facts.shape.as_ref()?.len()]));
            (Arc::new(Reshape { allow_zero: false }), vec![value, sizes])
        }
    };
    let [node_name, name] = [operator.name(), "shielded"].map(|suffix| graph.unused_name(&format!("{}_{suffix}", facts.name)));
    let (_, shielded) = graph.add_operation(&node_name, operator, inputs, &name);
    graph.set_facts(shielded, facts.data_type, facts.shape);
    Some(shielded)
}

/// Before: a subgraph captures the output of a DequantizeLinear. After: that of a Clip without bounds behind it. Optimizers of ONNX
/// Runtime 1.31 end the process at some files of the former kind (an assertion on the number of an input, which captured values have
/// none of); they leave a Clip where it is, which no Identity is.
fn shield_captures(graph: &mut Graph) {
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
        let Some(clipped) = add_shield(graph, value, Shield::Clip) else { continue };
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
    use crate::graph::sketch::{Sketch, assert_same_function};
    use crate::ops::Attributes;

    #[test]
    fn what_is_resized_or_averaged_in_a_way_that_optimizers_do_not_know_is_shielded() {
        let cubic = || Attributes::default().string("mode", "cubic");
        let cases = [
            ("AveragePool", Attributes::default().ints("kernel_shape", &[2, 2]), "x", "AveragePool"),
            ("AveragePool", Attributes::default().ints("kernel_shape", &[2, 2]).ints("dilations", &[2, 2]), "x", "Clip AveragePool"),
            ("Resize", cubic(), "x - up", "Resize"),
            ("Resize", cubic(), "x - down", "Reshape Resize"),
            ("Resize", cubic(), "x - - sizes", "Reshape Resize"),
            ("Resize", cubic().int("antialias", 1), "x - down", "Resize"),
            ("Resize", Attributes::default().string("mode", "linear"), "x - down", "Resize"),
            ("Resize", Attributes::default().ints("axes", &[2, 3]), "x - two", "Reshape Resize"),
        ];
        for (operator, attributes, inputs, wanted) in cases {
            let floats = |elements: &[f32]| TensorData::vector(elements.to_vec());
            let sketch = Sketch::new(&[1, 2, 8, 8]).constant("up", floats(&[1.0, 1.0, 1.5, 2.0])).integers("sizes", &[1, 2, 12, 6]);
            let sketch = sketch.constant("down", floats(&[1.0, 1.0, 1.5, 0.5])).constant("two", floats(&[2.0, 2.0]));
            let graph = sketch.node("y", operator, inputs, attributes).outputs("y");
            let mut after = graph.clone();
            shield(&mut after);
            after.sort().unwrap();
            let names: Vec<&str> = after.nodes().map(|(_, node)| node.operator.name()).collect();
            assert_eq!(names.join(" "), wanted);
            assert_same_function(&graph, &after);
        }
    }

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
