//! The network as nodes and values. Knows operators, not files: no protobuf here.

mod check;
mod display;
mod edit;
mod making;
mod names;
mod order;
mod readers;
pub mod sketch;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ops::Operator;
use crate::tensor::{DataType, TensorData};

pub use check::check;
pub use making::{Made, Making};
pub use order::topological_order;

/// Bits of all constants of a graph that is large: 256 MiB.
const LARGE_BITS: u64 = 1 << 31;

/// One dimension of a value's shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    Known(usize),
    /// A size that the file names, such as `batch`.
    Symbol(String),
    Unknown,
}

impl Dim {
    pub fn known(&self) -> Option<usize> {
        match self {
            Dim::Known(n) => Some(*n),
            _ => None,
        }
    }
}

/// All sizes, where every one is known.
pub fn known_shape(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(Dim::known).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// A tensor that flows: a graph input, a constant, or the output of one node.
#[derive(Clone, Debug)]
pub struct Value {
    pub name: String,
    pub data_type: Option<DataType>,
    pub shape: Option<Vec<Dim>>,
    /// Set for constants (initializers).
    pub constant: Option<TensorData>,
    /// How the constant was computed, where that takes less room than its numbers.
    pub made: Option<Made>,
    /// The node that makes it; `None` for inputs and constants.
    pub producer: Option<NodeId>,
}

/// One application of an operator. `None` among inputs is an omitted optional input.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub operator: Arc<dyn Operator>,
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: Vec<Option<ValueId>>,
}

impl Node {
    /// The operator as `T`, if it is one.
    pub fn is<T: Operator>(&self) -> Option<&T> {
        (self.operator.as_ref() as &dyn std::any::Any).downcast_ref::<T>()
    }

    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }
}

/// A network. Nodes stand in topological order after [`topological_order`] was applied by `onnx::load` and every pass.
/// Changed only through the methods in `graph::edit`.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub name: String,
    values: Vec<Value>,
    nodes: BTreeMap<NodeId, Node>,
    /// Execution order; nodes that were removed since it was made are passed over.
    order: Vec<NodeId>,
    next_node: u32,
    names: names::Names,
    readers: readers::Readers,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    /// Version of the default ONNX operator set.
    pub opset: i64,
}

impl Graph {
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    /// The nodes in execution order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.order.iter().filter_map(|id| Some((*id, self.nodes.get(id)?)))
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len() as u32).map(ValueId)
    }

    /// The first value of this name.
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        self.names.value(name)
    }

    pub fn constant(&self, id: ValueId) -> Option<&TensorData> {
        self.value(id).constant.as_ref()
    }

    /// Whether weights are so many that they are in memory as seldom as can be, even where that is slower.
    pub fn is_large(&self) -> bool {
        let bits = |tensor: &TensorData| tensor.len() as u64 * tensor.data_type().bits().unwrap_or(8) as u64;
        self.values.iter().filter_map(|value| value.constant.as_ref()).map(bits).sum::<u64>() >= LARGE_BITS
    }

    pub fn producer(&self, id: ValueId) -> Option<(NodeId, &Node)> {
        self.value(id).producer.map(|node| (node, self.node(node)))
    }

    pub fn is_input(&self, id: ValueId) -> bool {
        self.inputs.contains(&id)
    }

    pub fn is_output(&self, id: ValueId) -> bool {
        self.outputs.contains(&id)
    }

    /// Who reads a value: `(node, input index)` in the order in which nodes were added.
    pub fn readers(&self, id: ValueId) -> &[(NodeId, usize)] {
        self.readers.of(id)
    }

    /// Who reads each value: `(node, input index)` in execution order. Computed in one sweep; indexed by value.
    pub fn consumers(&self) -> Vec<Vec<(NodeId, usize)>> {
        let mut consumers = vec![Vec::new(); self.values.len()];
        for (id, node) in self.nodes() {
            for (index, input) in node.inputs.iter().enumerate() {
                if let Some(value) = input {
                    consumers[value.0 as usize].push((id, index));
                }
            }
        }
        consumers
    }
}
