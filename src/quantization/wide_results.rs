//! Results of 16 bits where the target has them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::plan::{Conversion, QuantPlan};
use super::standing::Layers;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::tensor::DataType;

/// The first operator set whose quantizers know integers of 16 bits.
pub const LEAST_OPSET: i64 = 21;

/// Gives results 16 bits where `plan` has 8 for them and its target has no floats, and what they are made of a conversion: the
/// scores and the boxes that a head joins have a place both.
pub(super) fn widen_results(graph: &Graph, plan: &mut QuantPlan) {
    let Some(wide) = plan.target.wide_results().filter(|_| graph.opset >= LEAST_OPSET) else { return };
    let layers = Layers::find(graph);
    let is_result = |value: &ValueId| layers.behind.contains(value) && !layers.read_later.contains(value);
    let narrow: HashSet<usize> = plan.activations.iter().filter(|point| !is_result(&point.value)).map(|point| point.group).collect();
    for (_, group) in plan.groups.iter_mut().enumerate().filter(|(index, _)| !narrow.contains(index)) {
        group.data_type = wide;
    }
    plan.conversions = conversions(graph, plan, wide);
}

/// One for each group that is narrower than what some of its readers make of it.
fn conversions(graph: &Graph, plan: &QuantPlan, wide: DataType) -> Vec<Conversion> {
    let groups: HashMap<ValueId, usize> = plan.activations.iter().map(|point| (point.value, point.group)).collect();
    let is_wide = |value: ValueId| groups.get(&value).is_some_and(|group| plan.groups[*group].data_type == wide);
    let mut readers: BTreeMap<usize, Vec<(NodeId, usize)>> = BTreeMap::new();
    for (id, node) in graph.nodes().filter(|(_, node)| carried(graph, node).is_some_and(is_wide)) {
        for (index, input) in node.inputs.iter().enumerate() {
            let group = input.and_then(|value| groups.get(&value)).filter(|group| plan.groups[**group].data_type != wide);
            if let Some(group) = group {
                readers.entry(*group).or_default().push((id, index));
            }
        }
    }
    readers.into_iter().map(|(group, readers)| Conversion { group, data_type: wide, readers }).collect()
}

/// What carries the result of a node: behind an activation that is fused into it.
fn carried(graph: &Graph, node: &Node) -> Option<ValueId> {
    let output = node.output(0)?;
    let [(reader, _)] = graph.readers(output)[..] else { return Some(output) };
    let reader = graph.node(reader);
    let fused = reader.operator.quantization_role() == QuantizationRole::Activation && !graph.is_output(output);
    if fused { reader.output(0) } else { Some(output) }
}

#[cfg(test)]
mod tests {
    use super::super::{Assignment, Widths, targets};
    use super::*;
    use crate::graph::sketch::Sketch;

    fn head() -> Graph {
        let sketch = Sketch::new(&[1, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).plain("r", "Relu", "a").conv("c", "r", (8, 8), 3, 1);
        let sketch = sketch.conv("box", "r", (8, 4), 1, 1).conv("score", "r", (8, 2), 1, 1).plain("p", "Sigmoid", "score");
        let concat = crate::ops::Attributes::default().int("axis", 1);
        sketch.conv("d", "c", (8, 2), 1, 1).node("y", "Concat", "box p d", concat).outputs("y")
    }

    fn described(graph: &Graph, target: &str) -> (String, String) {
        let plan = Assignment::uniform(graph, &Widths::INT8).plan(graph, &targets::find(target).unwrap(), &[]).unwrap();
        let name = |value: ValueId| graph.value(value).name.as_str();
        let points = plan.activations.iter().map(|point| format!("{}:{}", name(point.value), plan.groups[point.group].data_type));
        let reader = |(id, index): &(NodeId, usize)| format!("{}.{index}", graph.node(*id).name);
        let conversions = plan.conversions.iter().map(|conversion| {
            let readers = conversion.readers.iter().map(reader).collect::<Vec<_>>().join(" ");
            format!("{} for {readers}", name(plan.groups[conversion.group].value))
        });
        (points.collect::<Vec<_>>().join(" "), conversions.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn results_have_sixteen_bits_where_all_must_be_integers() {
        let mut graph = head();
        assert_eq!(described(&graph, "qnn").0, "x:u8 r:u8 c:u8 box:u8 score:u8 p:u8 d:u8 y:u8");
        graph.opset = LEAST_OPSET;
        let (types, conversions) = described(&graph, "qnn");
        assert_eq!(types, "x:u8 r:u8 c:u8 box:u16 score:u16 p:u16 d:u16 y:u16");
        assert_eq!(conversions, "r for box.0 score.0, c for d.0");
        assert!(!described(&graph, "ort-cpu").0.contains("u16"));
    }
}
