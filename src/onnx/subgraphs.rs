//! What must hold of the graphs inside a node, which are carried through but never run.

use std::collections::HashSet;

use super::capture::subgraphs;
use super::header::Header;
use super::messages::{GraphProto, NodeProto};
use super::read_graph::{check_name_length, check_operator};
use super::read_node::{describe, present};
use super::tensor_proto;
use crate::limits::Limits;
use crate::ops::Refusal;

/// What subgraphs are checked against.
pub struct Rules<'a> {
    pub header: &'a Header,
    pub limits: &'a Limits,
}

/// Names that are taken where a subgraph stands.
#[derive(Default)]
pub struct Names<'a> {
    pub own: HashSet<&'a str>,
    /// Those of the graph around it.
    pub outer: Option<&'a Names<'a>>,
}

impl Names<'_> {
    fn has(&self, name: &str) -> bool {
        self.own.contains(name) || self.outer.is_some_and(|outer| outer.has(name))
    }
}

pub fn has_subgraphs(node: &NodeProto) -> bool {
    subgraphs(&node.attribute).next().is_some()
}

/// Checks the subgraphs of `node`: every value is made once, under a name that no value of `outer` has. Inputs of a subgraph
/// may hide outer values, as they do in loops of Paddle; the standard forbids it, and every runtime takes it.
///
/// # Errors
/// Names the value or tensor that breaks a rule.
pub fn check_subgraphs(node: &NodeProto, outer: &Names<'_>, rules: &Rules<'_>) -> Result<(), Refusal> {
    subgraphs(&node.attribute).try_for_each(|graph| check_graph(graph, outer, rules))
}

fn check_graph(graph: &GraphProto, outer: &Names<'_>, rules: &Rules<'_>) -> Result<(), Refusal> {
    let mut names = Names { own: HashSet::new(), outer: Some(outer) };
    for info in &graph.input {
        let name = info.name.as_deref().unwrap_or_default();
        check_name_length(name, rules.limits)?;
        if !name.is_empty() && !names.own.insert(name) {
            return Err(format!("in its subgraph, two inputs are called `{name}`"));
        }
    }
    let inputs: HashSet<&str> = graph.input.iter().filter_map(|info| info.name.as_deref()).collect();
    for tensor in &graph.initializer {
        let name = tensor.name.as_deref().unwrap_or_default();
        if !inputs.contains(name) {
            define(&mut names, name, rules)?;
        }
        tensor_proto::check(tensor, rules.limits.tensor_elements)
            .map_err(|reason| format!("in its subgraph, tensor `{name}`: {reason}"))?;
    }
    for node in &graph.node {
        check_operator(node, rules.header).map_err(|reason| format!("in its subgraph, node {}: {reason}", describe(node)))?;
        node.output.iter().try_for_each(|name| define(&mut names, name, rules))?;
    }
    check_order(graph)?;
    graph.node.iter().filter(|node| has_subgraphs(node)).try_for_each(|node| check_subgraphs(node, &names, rules))
}

fn define<'a>(names: &mut Names<'a>, name: &'a str, rules: &Rules<'_>) -> Result<(), Refusal> {
    check_name_length(name, rules.limits)?;
    if !name.is_empty() && names.has(name) {
        return Err(format!("in its subgraph, `{name}` has another source already"));
    }
    names.own.insert(name);
    Ok(())
}

/// Values of the outer graph are looked for where the node's captured values are resolved.
fn check_order(graph: &GraphProto) -> Result<(), Refusal> {
    let inner: HashSet<&str> = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let mut made: HashSet<&str> = HashSet::new();
    for node in &graph.node {
        let early =
            present(&node.input).iter().map(String::as_str).find(|name| !name.is_empty() && inner.contains(name) && !made.contains(name));
        if let Some(name) = early {
            return Err(format!("in its subgraph, node {}: `{name}` is not produced before it is read", describe(node)));
        }
        made.extend(node.output.iter().map(String::as_str));
    }
    match graph.output.iter().any(|info| info.name.as_deref().unwrap_or_default().is_empty()) {
        true => Err("in its subgraph, an output has no name".to_string()),
        false => Ok(()),
    }
}
