//! Where values stand on the way to the outputs.

use std::collections::{BTreeSet, HashSet};

use super::verdict::integers_behind;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::Sigmoid;
use crate::ops::operator::QuantizationRole;
use crate::tensor::DataType;

/// How near a value is to what others read of the network: thresholds, decoders and sorts look at the tail of a result, not at
/// its bulk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Other layers read it.
    #[default]
    Inner,
    /// A product reads it whose result leaves the network, and is more than the class of an image.
    BeforeLast,
    /// An output, or what becomes one without another product.
    Leaving,
}

/// The standing of each value of a graph.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    leaving: HashSet<ValueId>,
    before: HashSet<ValueId>,
}

impl Standings {
    pub fn of(graph: &Graph) -> Standings {
        Standings { before: Standings::before_rare(graph).before, ..Standings::before(graph, &graph.outputs) }
    }

    /// With these values as the only outputs.
    pub fn before(graph: &Graph, outputs: &[ValueId]) -> Standings {
        let layers = Layers::find(graph);
        let data = |value: &ValueId| graph.constant(*value).is_none() && graph.value(*value).data_type == Some(DataType::F32);
        let (mut leaving, mut before) = (HashSet::new(), HashSet::new());
        let mut open: Vec<ValueId> = outputs.iter().copied().filter(data).collect();
        while let Some(value) = open.pop() {
            if !leaving.insert(value) {
                continue;
            }
            let Some((id, node)) = graph.producer(value) else { continue };
            if layers.products.contains(&id) {
                before.extend(node.input(0));
                continue;
            }
            let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().filter(data).collect();
            // Where several values meet, one that layers go on from is no result, but what results are compared with.
            let follows = |input: &ValueId| inputs.len() == 1 || !layers.read_later.contains(input);
            open.extend(inputs.iter().copied().filter(|input| follows(input) && layers.behind.contains(input)));
        }
        Standings { leaving, before }
    }

    pub fn standing(&self, value: ValueId) -> Standing {
        match (self.leaving.contains(&value), self.before.contains(&value)) {
            (true, _) => Standing::Leaving,
            (_, true) => Standing::BeforeLast,
            _ => Standing::Inner,
        }
    }

    /// With the outputs that are no scores of one class for each image: what they tell of is rare, and their tail is all that
    /// counts.
    pub fn before_rare(graph: &Graph) -> Standings {
        let classifies = |output: &ValueId| {
            let rank = graph.value(*output).shape.as_ref().map_or(0, Vec::len);
            let is_gated = graph.producer(*output).is_some_and(|(_, node)| node.is::<Sigmoid>().is_some());
            rank < 2 || rank == 2 && !is_gated
        };
        let outputs: Vec<ValueId> = graph.outputs.iter().copied().filter(|output| !classifies(output)).collect();
        Standings::before(graph, &outputs)
    }

    /// Results of the last products, in the order of `graph`.
    pub fn made(&self, graph: &Graph) -> Vec<ValueId> {
        let products = Layers::find(graph).products.into_iter().filter_map(|id| graph.node(id).output(0));
        products.filter(|value| self.is_leaving(*value)).collect()
    }

    pub fn is_leaving(&self, value: ValueId) -> bool {
        self.leaving.contains(&value)
    }
}

/// Where values stand among the matrix products with constant weights.
pub(super) struct Layers {
    pub products: BTreeSet<NodeId>,
    /// Values that depend on such a product.
    pub behind: HashSet<ValueId>,
    /// Values that such a product depends on.
    pub read_later: HashSet<ValueId>,
}

impl Layers {
    pub fn find(graph: &Graph) -> Self {
        let is_constant = |value: ValueId| graph.constant(value).is_some() || integers_behind(graph, value).is_some();
        let is_product = |node: &Node| {
            let constant = node.input(1).is_some_and(is_constant);
            constant && node.operator.quantization_role() == QuantizationRole::Weighted
        };
        let (mut products, mut behind, mut read_later) = (BTreeSet::new(), HashSet::new(), HashSet::new());
        for (id, node) in graph.nodes() {
            if is_product(node) {
                products.insert(id);
            }
            if is_product(node) || node.inputs.iter().flatten().any(|input| behind.contains(input)) {
                behind.extend(node.outputs.iter().flatten());
            }
        }
        for (_, node) in graph.nodes().rev() {
            if is_product(node) || node.outputs.iter().flatten().any(|output| read_later.contains(output)) {
                read_later.extend(node.inputs.iter().flatten());
            }
        }
        Layers { products, behind, read_later }
    }

    /// Products that no other stands before, and those that none stands behind.
    pub fn ends(&self, graph: &Graph) -> HashSet<NodeId> {
        let is_end = |id: &NodeId| {
            let node = graph.node(*id);
            let first = node.input(0).is_some_and(|x| !self.behind.contains(&x));
            first || !node.outputs.iter().flatten().any(|output| self.read_later.contains(output))
        };
        self.products.iter().copied().filter(is_end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;

    #[test]
    fn what_becomes_an_output_without_another_product_is_leaving() {
        let sketch = Sketch::new(&[1, 3, 8, 8]).conv("a", "x", (3, 4), 3, 1).plain("r", "Relu", "a").conv("b", "r", (4, 4), 3, 1);
        let sketch =
            sketch.plain("s", "Add", "b r").plain("t", "Relu", "s").conv("box", "t", (4, 4), 1, 1).conv("score", "t", (4, 4), 1, 1);
        let sketch = sketch.plain("p", "Sigmoid", "score").plain("m", "Mul", "p box").conv("feature", "t", (4, 4), 1, 1);
        let graph = sketch.plain("g", "Relu", "feature").conv("h", "g", (4, 4), 1, 1).plain("y", "Add", "h t").outputs("m g y");
        let standings = Standings::of(&graph);
        let named = |wanted: Standing| {
            let values = graph.value_ids().filter(|value| graph.constant(*value).is_none() && standings.standing(*value) == wanted);
            values.map(|value| graph.value(value).name.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named(Standing::Leaving), "box score p m feature g h y");
        assert_eq!(named(Standing::BeforeLast), "t");
        assert_eq!(named(Standing::Inner), "x a r b s");
        let made = Standings::before(&graph, &[graph.find_value("m").unwrap()]).made(&graph);
        assert_eq!(made.iter().map(|value| graph.value(*value).name.as_str()).collect::<Vec<_>>(), ["box", "score"]);
    }
}
