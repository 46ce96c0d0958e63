//! Results that are joined under one scale.

use std::collections::HashMap;

use crate::calibration::Ranges;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::progress::{Progress, abridged};
use crate::quantization::{QuantPlan, Standing};

/// Levels that a part of a result should keep: six bits.
const LEAST_LEVELS: f64 = 64.0;

/// Warns of every node that makes a result of things so unlike that the integers of the whole leave one of them hardly any
/// levels.
pub(super) fn warn_of_unlike_joins(graph: &Graph, plan: &QuantPlan, ranges: &Ranges, progress: &dyn Progress) {
    abridged(unlike_joins(graph, plan, ranges).into_iter()).for_each(|line| progress.warn(&line));
}

fn unlike_joins(graph: &Graph, plan: &QuantPlan, ranges: &Ranges) -> Vec<String> {
    let groups: HashMap<ValueId, usize> = plan.activations.iter().map(|point| (point.value, point.group)).collect();
    let width = |value: ValueId| {
        let params = ranges.0.get(*groups.get(&value)?)?;
        let (low, high) = params.span(*params.scale.first()?);
        Some((high - low, f64::from(params.scale[0])))
    };
    let of_node = |node: &Node| {
        let joined =
            node.output(0).filter(|value| groups.get(value).is_some_and(|group| plan.groups[*group].standing == Standing::Leaving));
        let (_, step) = width(joined.filter(|_| node.operator.quantization_role() == QuantizationRole::Merge)?)?;
        let levels = node.inputs.iter().flatten().filter_map(|part| Some((width(*part)?.0 / step, *part)));
        let (levels, part) = levels.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(levels, _)| *levels < LEAST_LEVELS)?;
        Some(format!(
            "{} `{}` joins unlike things in a result: `{}` keeps {levels:.0} levels of its integers; let the network end before it, or keep it \
             in float with --exclude '{}'",
            node.operator.name(),
            node.name,
            graph.value(part).name,
            node.name
        ))
    };
    graph.nodes().filter_map(|(_, node)| of_node(node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::quantization::{plan, scheme, targets};
    use crate::tensor::DataType;

    #[test]
    fn what_keeps_few_levels_is_named() {
        let sketch = Sketch::new(&[1, 3, 4, 4]).conv("a", "x", (3, 4), 1, 1).conv("b", "x", (3, 4), 1, 1);
        let graph = sketch.node("y", "Concat", "a b", Attributes::default().int("axis", 1)).outputs("y");
        let plan = plan(&graph, &targets::find("qnn").unwrap(), &[]).unwrap();
        let said = |data_type: DataType| {
            let most = |value: ValueId| if graph.value(value).name == "b" { 1.0 } else { 640.0 };
            let params = plan.groups.iter().map(|group| scheme::activation(0.0, most(group.value), data_type, false)).collect();
            unlike_joins(&graph, &plan, &Ranges(params))
        };
        let lines = said(DataType::U8);
        assert!(lines.len() == 1 && lines[0].contains("Concat `y`") && lines[0].contains("`b` keeps 0 levels"), "{lines:?}");
        assert!(said(DataType::U16).is_empty());
    }
}
