//! Parts of a network that run on one side, in integers or in float, and can change it as a whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::graph::{Graph, NodeId, ValueId};

/// Nodes among `movable` that are joined by values and on the same side, `float` or not; the largest first. Products that
/// share their weights are on one side by need, and so in one island.
pub fn islands(graph: &Graph, movable: &BTreeSet<NodeId>, float: &BTreeSet<NodeId>) -> Vec<BTreeSet<NodeId>> {
    let mut root: BTreeMap<NodeId, NodeId> = movable.iter().map(|id| (*id, *id)).collect();
    let mut shared: HashMap<ValueId, NodeId> = HashMap::new();
    for (id, node) in graph.nodes().filter(|(id, _)| movable.contains(id)) {
        for value in node.inputs.iter().flatten() {
            let neighbour = match graph.constant(*value) {
                Some(tensor) if tensor.shape().len() > 1 => Some(*shared.entry(*value).or_insert(id)),
                Some(_) => None,
                None => graph.producer(*value).map(|(producer, _)| producer),
            };
            if let Some(neighbour) = neighbour.filter(|other| movable.contains(other) && float.contains(other) == float.contains(&id)) {
                let (from, to) = (find(&root, id), find(&root, neighbour));
                root.insert(from, to);
            }
        }
    }
    let mut found: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
    for id in movable {
        found.entry(find(&root, *id)).or_default().insert(*id);
    }
    let mut found: Vec<BTreeSet<NodeId>> = found.into_values().collect();
    found.sort_by_key(|island| std::cmp::Reverse(island.len()));
    found
}

fn find(root: &BTreeMap<NodeId, NodeId>, mut id: NodeId) -> NodeId {
    while root[&id] != id {
        id = root[&id];
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;

    #[test]
    fn neighbours_on_one_side_are_one_island() {
        let sketch = Sketch::new(&[1, 4, 8, 8]).conv("a", "x", (4, 4), 3, 1).plain("r", "Relu", "a").conv("b", "r", (4, 4), 3, 1);
        let sketch = sketch.plain("n", "Neg", "b").conv("c", "n", (4, 4), 3, 1).conv("d", "b", (4, 4), 1, 1);
        let graph = sketch.plain("e", "Conv", "c d_w").plain("y", "Add", "d e").outputs("y");
        let ids = |names: &str| -> BTreeSet<NodeId> {
            let of = |name: &str| graph.producer(graph.find_value(name).unwrap()).unwrap().0;
            names.split(' ').map(of).collect()
        };
        let found = islands(&graph, &ids("a r b c d e"), &ids("a r"));
        assert_eq!(found, [ids("b c d e"), ids("a r")]);
        assert_eq!(islands(&graph, &ids("a r b c d"), &ids("b")), [ids("a r"), ids("b"), ids("c"), ids("d")]);
    }
}
