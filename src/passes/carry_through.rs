use std::sync::Arc;

use super::{fact_of, infer_shapes, single_sample};
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, known_shape};
use crate::ops::Foreign;

const REASON: &str = "the data decides the size of its result";

/// Nodes whose result has another size for other data become foreign: they are carried through, and what lies behind them with
/// them. Returns their names and operators.
///
/// # Errors
/// If the shape of an input is not known, or the graph is not sound.
pub fn carry_through(graph: &mut Graph) -> Result<Vec<String>> {
    let sample = single_sample(graph)?;
    let shape = |value| fact_of(&sample, value).and_then(|fact| known_shape(&fact.shape));
    let is_open = |node: &Node| {
        let known_inputs = node.inputs.iter().flatten().all(|value| shape(*value).is_some());
        known_inputs && node.is::<Foreign>().is_none() && node.outputs.iter().flatten().any(|value| shape(*value).is_none())
    };
    let open: Vec<NodeId> = sample.nodes().filter(|(_, node)| is_open(node)).map(|(id, _)| id).collect();
    let mut carried = Vec::with_capacity(open.len());
    for id in open {
        let node = graph.node(id).clone();
        carried.push(format!("`{}` ({})", node.name, node.operator.name()));
        let foreign = Foreign {
            op_type: node.operator.name().to_string(),
            domain: node.operator.domain().to_string(),
            attributes: node.operator.attributes(),
            own_inputs: node.inputs.len(),
            inner: Default::default(),
            reason: REASON.to_string(),
        };
        graph.set_operator(id, Arc::new(foreign));
    }
    if !carried.is_empty() {
        infer_shapes(graph)?;
    }
    Ok(carried)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;

    #[test]
    fn what_the_data_decides_the_size_of_is_carried_through() {
        let integers = Attributes::default().int("to", 7);
        let sketch = Sketch::new(&[0, 6]).plain("r", "Relu", "x").scalar("zero", 0.0).plain("p", "Greater", "x zero");
        let sketch = sketch.node("c", "Cast", "p", integers).plain("k", "ReduceSum", "c").plain("t", "TopK", "r k").plain("y", "Neg", "t");
        let mut graph = sketch.outputs("r y");
        let kind = |graph: &Graph, name: &str| graph.producer(graph.find_value(name).unwrap()).unwrap().1.is::<Foreign>().is_some();
        assert_eq!(carry_through(&mut graph).unwrap(), ["`t` (TopK)"]);
        assert_eq!(["r", "k", "t", "y"].map(|name| kind(&graph, name)), [false, false, true, false]);
        assert_eq!(graph.value(graph.outputs[1]).shape, None);
        assert!(carry_through(&mut graph).unwrap().is_empty());
    }
}
