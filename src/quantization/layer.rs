//! Parts of a plan.

use std::collections::{HashMap, HashSet};

use super::plan::{ActivationPoint, QuantPlan};
use crate::graph::{Graph, NodeId, ValueId};

/// Matrix products with the same weights, which are quantized alike: nearly always one.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub products: Vec<NodeId>,
    pub weights: ValueId,
    /// Number of weights.
    pub elements: u64,
}

impl QuantPlan {
    /// The layers whose weights are quantized here, in the order of execution.
    pub fn layers(&self, graph: &Graph) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        let mut places: HashMap<ValueId, usize> = HashMap::new();
        for point in self.weights.iter().filter(|point| !point.kept) {
            match places.get(&point.value) {
                Some(place) => layers[*place].products.push(point.node),
                None => {
                    places.insert(point.value, layers.len());
                    let elements = graph.constant(point.value).map_or(0, |tensor| tensor.len() as u64);
                    layers.push(Layer { products: vec![point.node], weights: point.value, elements });
                }
            }
        }
        layers
    }

    /// Of this plan, the weights of `layer` and what its products read, nothing else.
    pub fn only_layer(&self, graph: &Graph, layer: &Layer) -> QuantPlan {
        let reads = |point: &ActivationPoint| {
            let products = layer.products.iter().filter(|id| graph.node(**id).input(0) == Some(point.value));
            let readers: Vec<(NodeId, usize)> = products.map(|id| (*id, 0)).collect();
            (!readers.is_empty()).then(|| ActivationPoint { readers: Some(readers), ..point.clone() })
        };
        QuantPlan { activations: self.activations.iter().filter_map(reads).collect(), conversions: Vec::new(), ..self.only_weights(layer) }
    }

    /// Of this plan, the weights of `layer`, nothing else.
    pub fn only_weights(&self, layer: &Layer) -> QuantPlan {
        self.only(&[layer.weights], &[])
    }

    /// Of this plan, these weights and the values of these groups, nothing else.
    pub fn only(&self, weights: &[ValueId], groups: &[usize]) -> QuantPlan {
        let (weights, groups): (HashSet<&ValueId>, HashSet<&usize>) = (weights.iter().collect(), groups.iter().collect());
        QuantPlan {
            activations: self.activations.iter().filter(|point| groups.contains(&point.group)).cloned().collect(),
            conversions: self.conversions.iter().filter(|conversion| groups.contains(&conversion.group)).cloned().collect(),
            weights: self.weights.iter().filter(|point| weights.contains(&point.value)).cloned().collect(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::quantization::{plan, targets};

    #[test]
    fn a_layer_is_its_weights_and_what_it_reads() {
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).conv("b", "a", (8, 8), 3, 1);
        let sketch = sketch.plain("s", "Add", "a b").weights("w", &[8, 8, 1, 1], 0.3).plain("c", "Conv", "s w").plain("d", "Conv", "c w");
        let graph = sketch.outputs("d");
        let plan = plan(&graph, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
        let name = |value: ValueId| graph.value(value).name.as_str();
        let layers = plan.layers(&graph);
        let found: Vec<_> = layers.iter().map(|layer| (name(layer.weights), layer.products.len(), layer.elements)).collect();
        assert_eq!(found, [("a_w", 1, 216), ("b_w", 1, 576), ("w", 2, 64)]);
        let values = |plan: &QuantPlan| plan.activations.iter().map(|point| name(point.value)).collect::<Vec<_>>();
        let only = plan.only_layer(&graph, &layers[2]);
        assert_eq!((values(&only), only.weights.len(), only.groups.len()), (vec!["s", "c"], 2, plan.groups.len()));
        let only = plan.only_layer(&graph, &layers[1]);
        assert_eq!(only.activations[0].readers.as_deref(), Some(&[(layers[1].products[0], 0)][..]));
        assert!(values(&plan.only_weights(&layers[1])).is_empty());
        let only = plan.only(&[], &[plan.activations[1].group]);
        assert_eq!((values(&only), only.weights.len()), (vec![name(plan.activations[1].value)], 0));
    }
}
