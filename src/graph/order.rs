//! Execution order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Graph, NodeId};
use crate::error::{Error, Result};

/// Nodes in an order in which every value is made before it is read; ties keep the order in which nodes were added.
///
/// # Errors
/// If the graph has a cycle; the message names nodes on it.
pub fn topological_order(graph: &Graph) -> Result<Vec<NodeId>> {
    let mut waiting: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut readers: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for (id, node) in &graph.nodes {
        let producers: BTreeSet<NodeId> = node.inputs.iter().flatten().filter_map(|v| graph.value(*v).producer).collect();
        waiting.insert(*id, producers.len());
        for producer in producers {
            readers.entry(producer).or_default().push(*id);
        }
    }
    let position: BTreeMap<NodeId, usize> = graph.order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut ready: BTreeSet<(usize, NodeId)> =
        waiting.iter().filter(|(_, count)| **count == 0).map(|(id, _)| (position[id], *id)).collect();
    let mut order = Vec::with_capacity(graph.nodes.len());
    while let Some((_, id)) = ready.pop_first() {
        order.push(id);
        for reader in readers.get(&id).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(reader) {
                *count -= 1;
                if *count == 0 {
                    ready.insert((position[reader], *reader));
                }
            }
        }
    }
    if order.len() == graph.nodes.len() {
        return Ok(order);
    }
    let nodes: Vec<&str> = cycle(graph, &waiting).into_iter().map(|id| graph.node(id).name.as_str()).take(8).collect();
    Err(Error::InvalidModel(format!("the graph has a cycle through nodes `{}`", nodes.join("`, `"))))
}

/// The nodes of one cycle among those that still wait, each read by the one before it.
fn cycle(graph: &Graph, waiting: &BTreeMap<NodeId, usize>) -> Vec<NodeId> {
    let waits = |id: &NodeId| waiting.get(id).is_some_and(|count| *count > 0);
    let mut next = waiting.keys().copied().find(waits);
    let (mut path, mut places) = (Vec::new(), BTreeMap::new());
    while let Some(id) = next {
        if let Some(start) = places.insert(id, path.len()) {
            return path.split_off(start);
        }
        path.push(id);
        next = graph.node(id).inputs.iter().flatten().filter_map(|value| graph.value(*value).producer).find(waits);
    }
    path
}
