//! Nodes that the user keeps from being quantized.

use std::collections::HashSet;

use globset::Glob;

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};

/// The nodes that the globs `patterns` name.
///
/// # Errors
/// If a pattern matches no node.
pub(super) fn excluded_nodes(graph: &Graph, patterns: &[String]) -> Result<HashSet<NodeId>> {
    let mut excluded = HashSet::new();
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|error| Error::Usage(format!("--exclude {pattern}: {error}")))?.compile_matcher();
        let found: Vec<NodeId> = graph.nodes().filter(|(_, node)| glob.is_match(&node.name)).map(|(id, _)| id).collect();
        if found.is_empty() {
            return Err(Error::Usage(format!("--exclude {pattern}: no node has such a name; near it: {}", nearest(graph, pattern))));
        }
        excluded.extend(found);
    }
    Ok(excluded)
}

/// The three names nearest to `wanted` by edit distance.
fn nearest(graph: &Graph, wanted: &str) -> String {
    let distance = |name: &str| {
        let (a, b): (Vec<char>, Vec<char>) = (name.chars().take(200).collect(), wanted.chars().take(200).collect());
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, y) in b.iter().enumerate() {
                let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[b.len()]
    };
    let mut names: Vec<&str> = graph.nodes().map(|(_, node)| node.name.as_str()).collect();
    names.sort_by_key(|name| distance(name));
    names.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
