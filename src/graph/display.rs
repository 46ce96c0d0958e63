//! A graph as text, one node a line: what snapshots of passes compare.

use std::fmt;

use super::{Dim, Graph, ValueId};

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(n) => write!(f, "{n}"),
            Dim::Symbol(name) => write!(f, "{name}"),
            Dim::Unknown => write!(f, "?"),
        }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |id: &Option<ValueId>| id.map_or("-", |id| &self.value(id).name).to_string();
        let list = |ids: &[Option<ValueId>]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
        let all = |ids: &[ValueId]| ids.iter().map(|id| self.value(*id).name.clone()).collect::<Vec<_>>().join(", ");
        writeln!(f, "({})", all(&self.inputs))?;
        for (_, node) in self.nodes() {
            writeln!(f, "  {} = {}({})", list(&node.outputs), node.operator.name(), list(&node.inputs))?;
        }
        writeln!(f, "-> {}", all(&self.outputs))
    }
}
