use std::collections::HashMap;

use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId, check, known_shape};
use crate::ops::{Cast, CastLike, Concat, Dropout, Expand, Identity, Pad, Reshape, Slice, Transpose};

/// Removes nodes that hand their input on unchanged. A graph output keeps its name: where such a node makes one, the
/// producer of its input makes it instead, or the node stays.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn eliminate_identities(graph: &mut Graph) -> Result<()> {
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    // What is read in place of what, as far as no reader knows it yet.
    let mut replaced: HashMap<ValueId, ValueId> = HashMap::new();
    for id in nodes {
        let mut node = graph.node(id).clone();
        node.inputs.iter_mut().flatten().for_each(|input| *input = replaced.get(input).copied().unwrap_or(*input));
        let (Some(from), Some(to)) = (node.input(0), node.output(0)) else { continue };
        if !hands_on(graph, &node) {
            continue;
        }
        if !graph.is_output(to) {
            replaced.insert(to, from);
            graph.remove_node(id);
            continue;
        }
        graph.replace_all_uses(&std::mem::take(&mut replaced));
        if let Some(producer) = graph.producer(from).map(|(producer, _)| producer)
            && !graph.is_output(from)
        {
            let index = graph.node(producer).outputs.iter().position(|output| *output == Some(from));
            graph.remove_node(id);
            graph.replace_uses(from, to);
            if let Some(index) = index {
                graph.set_output(producer, index, to);
            }
        }
    }
    graph.replace_all_uses(&replaced);
    graph.sort()?;
    check(graph)
}

fn hands_on(graph: &Graph, node: &Node) -> bool {
    let (Some(from), Some(to)) = (node.input(0), node.output(0)) else { return false };
    let shape = |value: ValueId| graph.value(value).shape.as_deref().and_then(known_shape);
    let same_shape = graph.value(from).shape.is_some() && graph.value(from).shape == graph.value(to).shape && {
        shape(from).is_some() || graph.value(from).shape.iter().flatten().filter(|dim| dim.known().is_none()).count() == 1
    };
    let same_type = graph.value(from).data_type.is_some() && graph.value(from).data_type == graph.value(to).data_type;
    if node.is::<Identity>().is_some() || (node.is::<Concat>().is_some() && node.inputs.len() == 1) {
        return true;
    }
    if node.is::<Dropout>().is_some() {
        return node.output(1).is_none();
    }
    if node.is::<Cast>().is_some() || node.is::<CastLike>().is_some() {
        return same_type;
    }
    if let Some(transpose) = node.is::<Transpose>() {
        let rank = graph.value(from).shape.as_ref().map_or(0, Vec::len);
        return transpose.permutation(rank).is_ok_and(|perm| rank > 0 && perm.is_sorted());
    }
    if node.is::<Slice>().is_some() {
        let steps = node.input(4).map(|steps| graph.constant(steps).and_then(crate::tensor::TensorData::to_i64));
        return same_shape && steps.is_none_or(|steps| steps.is_some_and(|steps| steps.iter().all(|step| *step == 1)));
    }
    let pads = node.is::<Pad>().is_some() && {
        let pads = node.input(1).and_then(|pads| graph.constant(pads)?.to_i64());
        pads.is_some_and(|pads| pads.iter().all(|pad| *pad == 0))
    };
    pads || (same_shape && (node.is::<Reshape>().is_some() || node.is::<Expand>().is_some()))
}
