//! Which outer values the subgraphs of a node read.

use std::collections::{BTreeSet, HashSet};

use super::messages::{AttributeProto, GraphProto, NodeProto};

/// Names that the subgraphs of `node` read but do not make, each once, in order of name.
pub fn captured_names(node: &NodeProto) -> Vec<String> {
    let mut captured = BTreeSet::new();
    for graph in subgraphs(&node.attribute) {
        collect(graph, &HashSet::new(), &mut captured);
    }
    captured.into_iter().map(str::to_string).collect()
}

/// The graphs inside a node with these attributes.
pub fn subgraphs(attributes: &[AttributeProto]) -> impl Iterator<Item = &GraphProto> {
    attributes.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

fn collect<'a>(graph: &'a GraphProto, outer: &HashSet<&'a str>, captured: &mut BTreeSet<&'a str>) {
    let mut local = outer.clone();
    local.extend(graph.input.iter().filter_map(|info| info.name.as_deref()));
    local.extend(graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()));
    local.extend(graph.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref()?.name.as_deref()));
    local.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let read = graph.node.iter().flat_map(|node| &node.input).map(String::as_str);
    let results = graph.output.iter().filter_map(|info| info.name.as_deref());
    captured.extend(read.chain(results).filter(|name| !name.is_empty() && !local.contains(name)));
    for inner in graph.node.iter().flat_map(|node| subgraphs(&node.attribute)) {
        collect(inner, &local, captured);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(inputs: &[&str], outputs: &[&str], body: Option<GraphProto>) -> NodeProto {
        let attribute = body.map(|graph| AttributeProto { g: Some(Box::new(graph)), ..Default::default() });
        NodeProto {
            input: inputs.iter().map(|s| s.to_string()).collect(),
            output: outputs.iter().map(|s| s.to_string()).collect(),
            attribute: attribute.into_iter().collect(),
            ..Default::default()
        }
    }

    #[test]
    fn finds_outer_values_through_nested_subgraphs() {
        let inner = GraphProto { node: vec![node(&["local", "outer_b", ""], &["deep"], None)], ..Default::default() };
        let body = GraphProto {
            node: vec![node(&["outer_a"], &["local"], None), node(&["local"], &["result"], Some(inner))],
            ..Default::default()
        };
        assert_eq!(captured_names(&node(&["condition"], &["out"], Some(body))), ["outer_a", "outer_b"]);
    }
}
