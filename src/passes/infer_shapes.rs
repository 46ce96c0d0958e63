use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Foreign;
use crate::ops::operator::{Fact, Facts, MOST_ELEMENTS, Refusal};

/// What is known of a value; `None` where its type or shape is not.
pub fn fact_of(graph: &Graph, value: ValueId) -> Option<Fact> {
    let known = graph.value(value);
    if let Some(tensor) = &known.constant {
        return Some(Fact::of(tensor.clone()));
    }
    Some(Fact::new(known.data_type?, known.shape.clone()?))
}

/// What `node` makes of its inputs.
///
/// # Errors
/// If it refuses them, or would make more than can be.
pub fn infer(node: &Node, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let outputs = node.operator.infer(inputs)?;
    match outputs.iter().find(|output| output.is_too_large()) {
        Some(output) => {
            let sizes: Vec<String> = output.shape.iter().map(ToString::to_string).collect();
            Err(format!("its output [{}] has more than {MOST_ELEMENTS} elements", sizes.join(", ")))
        }
        None => Ok(outputs),
    }
}

/// Gives every value its element type and shape. Values behind foreign nodes stay unknown.
///
/// # Errors
/// The node whose inputs cannot be right.
pub fn infer_shapes(graph: &mut Graph) -> Result<()> {
    let nodes: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    for id in nodes {
        let node = graph.node(id).clone();
        let mut facts = Vec::with_capacity(node.inputs.len());
        let mut known = node.is::<Foreign>().is_none();
        for input in &node.inputs {
            let fact = input.and_then(|value| fact_of(graph, value));
            known &= input.is_none() || fact.is_some();
            facts.push(fact);
        }
        if !known {
            node.outputs.iter().flatten().for_each(|output| graph.set_facts(*output, None, None));
            continue;
        }
        let outputs = infer(&node, &Facts(&facts)).map_err(|reason| Error::node(&node.name, node.operator.name(), reason))?;
        for (output, fact) in node.outputs.iter().zip(outputs) {
            if let Some(output) = output {
                graph.set_facts(*output, Some(fact.data_type), Some(fact.shape));
            }
        }
    }
    Ok(())
}
