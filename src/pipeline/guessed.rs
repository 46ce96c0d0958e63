//! Inputs whose range is not known.

use std::collections::HashSet;

use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::synthesis::input::Input;
use crate::synthesis::ranges::Certainty;

/// Products that read an input whose range was estimated, and why they had better stay float: integers would cut what lies beyond.
/// An input that is a picture in colour, or one of two usual ranges, has a range that covers what may be.
pub(super) fn readers_of_guesses(graph: &Graph, inputs: &[Input]) -> Vec<(NodeId, String)> {
    let guessed = graph.inputs.iter().zip(inputs).filter(|(_, input)| {
        matches!(input.finding.certainty, Certainty::Estimated | Certainty::Deep) && input.image_channels() != Some(3)
    });
    let mut found = Vec::new();
    for (value, input) in guessed {
        let reason = format!("the range of input `{}` is an estimate, and integers would cut what lies beyond", input.name);
        found.extend(first_products(graph, *value).into_iter().map(|id| (id, reason.clone())));
    }
    found
}

/// Products that read `value` itself, moved or reshaped at most.
fn first_products(graph: &Graph, value: ValueId) -> Vec<NodeId> {
    let mut same = HashSet::from([value]);
    let mut found = Vec::new();
    for (id, node) in graph.nodes() {
        if !node.input(0).is_some_and(|input| same.contains(&input)) {
            continue;
        }
        match node.operator.quantization_role() {
            QuantizationRole::Weighted => found.push(id),
            QuantizationRole::PassThrough => same.extend(node.outputs.iter().flatten()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::synthesis::input_range::PixelRange;
    use crate::synthesis::ranges::Finding;

    #[test]
    fn first_products_behind_an_estimate_stay_float() {
        let last = Attributes::default().ints("perm", &[0, 3, 1, 2]);
        let sketch = Sketch::new(&[1, 8, 8, 1]).node("t", "Transpose", "x", last).conv("a", "t", (1, 4), 3, 1);
        let graph = sketch.plain("r", "Relu", "a").conv("y", "r", (4, 4), 3, 1).outputs("y");
        let mut input = Input::new("x", vec![1, 8, 8, 1], PixelRange::standardized());
        assert!(readers_of_guesses(&graph, std::slice::from_ref(&input)).is_empty());
        input.finding = Finding::plain(Certainty::Estimated);
        let found = readers_of_guesses(&graph, &[input]);
        let names: Vec<&str> = found.iter().filter_map(|(id, _)| graph.node(*id).output(0)).map(|v| graph.value(v).name.as_str()).collect();
        assert_eq!(names, ["a"]);
    }
}
