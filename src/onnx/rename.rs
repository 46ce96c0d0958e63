//! Nodes that move from one body into another: their values get other names, those of subgraphs too.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::capture::subgraphs;
use super::messages::{GraphProto, ModelProto, NodeProto};

/// New names of values by old ones. Values that do not stand here keep their names.
pub type Renames = HashMap<String, String>;

/// Renames what `node` reads and writes, in its subgraphs what they read from outside.
pub fn rename_node(node: &mut NodeProto, renames: &Renames) {
    let change = |name: &mut String| {
        if let Some(new) = renames.get(name) {
            name.clone_from(new);
        }
    };
    node.input.iter_mut().for_each(change);
    node.output.iter_mut().for_each(change);
    for_each_subgraph(node, &mut |graph| rename_graph(graph, renames));
}

fn rename_graph(graph: &mut GraphProto, renames: &Renames) {
    let mut outer = renames.clone();
    local_names(graph).iter().for_each(|name| {
        outer.remove(name);
    });
    graph.node.iter_mut().for_each(|node| rename_node(node, &outer));
    for info in &mut graph.output {
        if let Some(new) = info.name.as_ref().and_then(|name| outer.get(name)) {
            info.name = Some(new.clone());
        }
    }
}

/// Renames what the subgraphs of `node` read from outside.
///
/// # Errors
/// With a new name that a subgraph has given to a value of its own.
pub fn rename_captured(node: &mut NodeProto, renames: &Renames) -> Result<(), String> {
    if renames.is_empty() {
        return Ok(());
    }
    let mut own = HashSet::new();
    for_each_subgraph(node, &mut |graph| collect(graph, &mut own));
    match renames.values().find(|name| own.contains(*name)) {
        Some(name) => Err(name.clone()),
        None => {
            for_each_subgraph(node, &mut |graph| rename_graph(graph, renames));
            Ok(())
        }
    }
}

/// Names of values that are made in `graph`.
pub fn local_names(graph: &GraphProto) -> BTreeSet<String> {
    let inputs = graph.input.iter().filter_map(|info| info.name.clone());
    let initializers = graph.initializer.iter().filter_map(|tensor| tensor.name.clone());
    let made = graph.node.iter().flat_map(|node| node.output.iter().filter(|name| !name.is_empty()).cloned());
    inputs.chain(initializers).chain(made).collect()
}

pub fn for_each_subgraph(node: &mut NodeProto, visit: &mut impl FnMut(&mut GraphProto)) {
    for attribute in &mut node.attribute {
        attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs).for_each(&mut *visit);
    }
}

/// Gives names that the model does not have yet.
pub struct FreshNames(HashSet<String>);

impl FreshNames {
    pub fn new(model: &ModelProto) -> Self {
        let mut taken = HashSet::new();
        if let Some(graph) = &model.graph {
            collect(graph, &mut taken);
        }
        FreshNames(taken)
    }

    pub fn make(&mut self, wanted: String) -> String {
        if self.0.insert(wanted.clone()) {
            return wanted;
        }
        let mut numbered = (1u64..).map(|number| format!("{wanted}_{number}"));
        numbered.find(|name| self.0.insert(name.clone())).unwrap_or(wanted)
    }
}

fn collect(graph: &GraphProto, taken: &mut HashSet<String>) {
    taken.extend(local_names(graph));
    graph.node.iter().flat_map(|node| subgraphs(&node.attribute)).for_each(|inner| collect(inner, taken));
}

pub fn identity(name: String, from: String, to: String) -> NodeProto {
    NodeProto { name: Some(name), op_type: Some("Identity".to_string()), input: vec![from], output: vec![to], ..Default::default() }
}
