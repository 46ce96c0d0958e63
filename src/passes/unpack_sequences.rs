use std::sync::Arc;

use super::fold_constants;
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::{Foreign, Slice};
use crate::tensor::TensorData;

/// Before: `SequenceAt(SplitToSequence(x, split), 1)`, as PyTorch writes a `chunk` without its optimizer.
/// After: `Slice(x, starts, ends, axes)`. A sequence that nobody reads any more is removed.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn unpack_sequences(graph: &mut Graph) -> Result<()> {
    let items: Vec<NodeId> = graph.nodes().filter(|(_, node)| foreign(node, "SequenceAt").is_some()).map(|(id, _)| id).collect();
    if items.is_empty() {
        return Ok(());
    }
    let mut folded = graph.clone();
    // A node that refuses its inputs is judged where it is computed.
    let _ = fold_constants(&mut folded);
    for id in items {
        let Some((x, start, end, axis)) = part_of_split(graph, &folded, graph.node(id)) else { continue };
        let name = graph.node(id).name.clone();
        let mut vector = |suffix: &str, number: i64| {
            let name = graph.unused_name(&format!("{name}_{suffix}"));
            Some(graph.add_constant(name, TensorData::vector(vec![number])))
        };
        let inputs = vec![Some(x), vector("starts", start), vector("ends", end), vector("axes", axis)];
        graph.set_operator(id, Arc::new(Slice));
        graph.set_inputs(id, inputs);
    }
    let unread = |node: &Node| node.output(0).is_some_and(|output| graph.readers(output).is_empty() && !graph.is_output(output));
    let splits = graph.nodes().filter(|(_, node)| foreign(node, "SplitToSequence").is_some() && unread(node));
    let splits: Vec<NodeId> = splits.map(|(id, _)| id).collect();
    splits.into_iter().for_each(|id| graph.remove_node(id));
    check(graph)
}

/// What is split, and the range and axis of the item that `node` takes, where these are known.
fn part_of_split(graph: &Graph, folded: &Graph, node: &Node) -> Option<(ValueId, i64, i64, i64)> {
    foreign(node, "SequenceAt")?;
    let (_, split) = graph.producer(node.input(0)?)?;
    let mut attributes = foreign(split, "SplitToSequence")?.attributes.clone();
    let axis = attributes.take_int("axis", 0).ok()?;
    let item = usize::try_from(*folded.constant(node.input(1)?)?.to_i64()?.first()?).ok()?;
    let sizes = match split.input(1) {
        Some(sizes) => folded.constant(sizes)?.clone(),
        None => (attributes.take_int("keepdims", 1).ok()? == 1).then(|| TensorData::scalar(1i64))?,
    };
    let numbers = sizes.to_i64().filter(|numbers| numbers.iter().all(|size| (0..i64::from(i32::MAX)).contains(size)))?;
    // One number is the size of every part but the last, which a Slice cuts short.
    let (start, size) = match sizes.shape() {
        [] => (i64::try_from(item).ok()?.checked_mul(numbers[0])?, numbers[0]),
        _ => (numbers.get(..item)?.iter().sum(), *numbers.get(item)?),
    };
    Some((split.input(0)?, start, start.checked_add(size)?, axis))
}

fn foreign<'a>(node: &'a Node, op_type: &str) -> Option<&'a Foreign> {
    node.is::<Foreign>().filter(|foreign| foreign.op_type == op_type && foreign.domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;

    fn unknown(op_type: &str) -> Arc<Foreign> {
        let attributes = if op_type == "SplitToSequence" { Attributes::default().int("axis", 1) } else { Attributes::default() };
        let op_type = op_type.to_string();
        let (domain, reason) = (String::new(), "the operator is not supported".to_string());
        Arc::new(Foreign { op_type, domain, attributes, own_inputs: 2, inner: Default::default(), reason })
    }

    /// Item 1 of `x`, `[N, 5, 4, 4]`, split as `split` says, behind a Relu.
    fn item_of(split: TensorData) -> Graph {
        let sketch = Sketch::new(&[0, 5, 4, 4]).constant("split", split).constant("one", TensorData::scalar(1i64));
        let mut graph = sketch.plain("y", "Relu", "x").outputs("y");
        let [x, split, one] = ["x", "split", "one"].map(|name| graph.find_value(name).unwrap());
        let (_, parts) = graph.add_operation("parts", unknown("SplitToSequence"), vec![x, split], "parts");
        let (_, item) = graph.add_operation("item", unknown("SequenceAt"), vec![parts, one], "item");
        let relu = graph.producer(graph.outputs[0]).unwrap().0;
        graph.set_input(relu, 0, Some(item));
        graph.sort().unwrap();
        graph
    }

    #[test]
    fn an_item_of_a_split_becomes_a_slice() {
        let cases = [(TensorData::scalar(3i64), 2), (TensorData::scalar(2i64), 2), (TensorData::vector(vec![1i64, 3, 1]), 3)];
        for (split, channels) in cases {
            let mut graph = item_of(split);
            unpack_sequences(&mut graph).unwrap();
            crate::passes::infer_shapes(&mut graph).unwrap();
            assert_eq!(graph.to_string().trim(), "(x)\n  item = Slice(x, item_starts, item_ends, item_axes)\n  y = Relu(item)\n-> y");
            assert_eq!(graph.value(graph.outputs[0]).shape.as_ref().unwrap()[1].known(), Some(channels));
        }
    }

    #[test]
    fn an_item_that_there_is_not_stays_unknown() {
        let mut graph = item_of(TensorData::vector(vec![5i64]));
        unpack_sequences(&mut graph).unwrap();
        assert!(graph.to_string().contains("SequenceAt"), "{graph}");
    }
}
