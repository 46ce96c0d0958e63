//! What must hold of every graph, checked after every pass, in release too.

use std::collections::{HashMap, HashSet};

use super::{Graph, ValueId};
use crate::error::{Error, Result};

/// Checks that every value read was made before, made once, and named once.
///
/// # Errors
/// Names the node or value that breaks the rule.
pub fn check(graph: &Graph) -> Result<()> {
    let mut names: HashMap<&str, ValueId> = HashMap::new();
    let mut made: HashSet<ValueId> = graph.inputs.iter().copied().collect();
    for (_, node) in graph.nodes() {
        for input in node.inputs.iter().flatten() {
            let value = graph.value(*input);
            if value.constant.is_none() && !made.contains(input) {
                return Err(Error::node(
                    &node.name,
                    node.operator.name(),
                    format!("input `{}` is not produced before it is read", value.name),
                ));
            }
        }
        for output in node.outputs.iter().flatten() {
            let value = graph.value(*output);
            if !made.insert(*output) || value.constant.is_some() {
                return Err(Error::node(&node.name, node.operator.name(), format!("output `{}` is produced twice", value.name)));
            }
        }
        for id in node.inputs.iter().chain(&node.outputs).flatten() {
            if let Some(other) = names.insert(&graph.value(*id).name, *id).filter(|other| other != id) {
                return Err(Error::Internal(format!("values {} and {} share the name `{}`", other.0, id.0, graph.value(*id).name)));
            }
        }
    }
    for output in &graph.outputs {
        if graph.constant(*output).is_none() && !made.contains(output) {
            return Err(Error::InvalidModel(format!("graph output `{}` is not produced by any node", graph.value(*output).name)));
        }
    }
    Ok(())
}
