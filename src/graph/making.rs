//! How constants were computed that take more room than what makes them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Dim, Graph, Node, Value, ValueId};
use crate::error::Result;
use crate::ops::Operator;
use crate::tensor::{DataType, TensorData};

/// Bytes up to which a constant is small, whatever makes it.
const SMALL: usize = 4096;
/// Bytes of a node in a file beside its names.
const NODE: usize = 32;
/// Operators that are written in another form than they are read in.
const CHANGED: [&str; 2] = ["Pad", "Resize"];
/// Nodes in a row that are remembered.
const DEEPEST: usize = 256;

/// A node of constants that was replaced by its results.
#[derive(Debug)]
pub struct Making {
    name: String,
    operator: Arc<dyn Operator>,
    inputs: Vec<Option<Ingredient>>,
    /// Names of the results.
    outputs: Vec<Option<String>>,
    /// Bytes that the node and all before it take.
    room: usize,
    /// Nodes in a row that end here.
    depth: usize,
}

#[derive(Debug)]
enum Ingredient {
    Constant(String, TensorData),
    Made(Made),
}

/// A result of a node that was replaced.
#[derive(Clone, Debug)]
pub struct Made {
    making: Arc<Making>,
    output: usize,
    data_type: DataType,
    shape: Vec<usize>,
}

/// Bytes of the numbers of `tensor`.
fn bytes(tensor: &TensorData) -> usize {
    tensor.len().saturating_mul(tensor.data_type().bits().unwrap_or(8)) / 8
}

impl Value {
    /// Bytes that it takes in a file, at least.
    fn room(&self) -> usize {
        self.made.as_ref().map_or_else(|| self.constant.as_ref().map_or(0, bytes), |made| made.making.room)
    }

    fn ingredient(&self) -> Option<Ingredient> {
        let constant = || Some(Ingredient::Constant(self.name.clone(), self.constant.clone()?));
        self.made.clone().map(Ingredient::Made).or_else(constant)
    }
}

impl Graph {
    /// What `node`, whose inputs are constants, is remembered by where one of its `results` is not small and larger than the node
    /// and what dies with it.
    pub fn making_of(&self, node: &Node, results: &[TensorData]) -> Option<Arc<Making>> {
        if CHANGED.contains(&node.operator.name()) {
            return None;
        }
        let mut inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        inputs.sort_unstable();
        inputs.dedup();
        let names = |ids: &[Option<ValueId>]| ids.iter().flatten().map(|id| self.value(*id).name.len()).sum::<usize>();
        let own = NODE + node.name.len() + names(&node.inputs) + names(&node.outputs);
        let room = |inputs: &mut dyn Iterator<Item = &ValueId>| own + inputs.map(|id| self.value(*id).room()).sum::<usize>();
        let dying = room(&mut inputs.iter().filter(|id| self.readers(**id).len() == 1));
        let depth = 1 + inputs.iter().filter_map(|id| Some(self.value(*id).made.as_ref()?.making.depth)).max().unwrap_or(0);
        if depth > DEEPEST || results.iter().all(|tensor| bytes(tensor) <= SMALL.max(dying)) {
            return None;
        }
        Some(Arc::new(Making {
            name: node.name.clone(),
            operator: node.operator.clone(),
            inputs: node.inputs.iter().map(|id| self.value((*id)?).ingredient()).collect(),
            outputs: node.outputs.iter().map(|id| id.map(|id| self.value(id).name.clone())).collect(),
            room: room(&mut inputs.iter()),
            depth,
        }))
    }

    /// Notes that the constant `id` is result `output` of `making`.
    pub fn set_made(&mut self, id: ValueId, making: &Arc<Making>, output: usize) {
        let value = &mut self.values[id.0 as usize];
        let Some(tensor) = value.constant.as_ref().filter(|tensor| bytes(tensor) > SMALL) else { return };
        let (data_type, shape) = (tensor.data_type(), tensor.shape().to_vec());
        value.made = Some(Made { making: making.clone(), output, data_type, shape });
    }

    /// Puts the nodes back that made constants which take more room than these, and sorts them in.
    ///
    /// # Errors
    /// If the graph has a cycle.
    pub fn restore_made(&mut self) -> Result<()> {
        let is_used = |id: &ValueId| !self.readers(*id).is_empty() || self.is_output(*id);
        let made = |id: ValueId| Some((id, self.value(id).made.clone()?));
        let made: Vec<(ValueId, Made)> = self.value_ids().filter(is_used).filter_map(made).collect();
        let mut results: Results = made.iter().map(|(id, made)| (made.key(), *id)).collect();
        let mut done = HashSet::new();
        made.iter().for_each(|(_, made)| self.restore(&made.making, &mut results, &mut done));
        self.sort()
    }

    fn restore(&mut self, making: &Arc<Making>, results: &mut Results, done: &mut HashSet<*const Making>) {
        if !done.insert(Arc::as_ptr(making)) {
            return;
        }
        let mut inputs = Vec::with_capacity(making.inputs.len());
        for input in &making.inputs {
            inputs.push(match input {
                None => None,
                Some(Ingredient::Constant(name, tensor)) => Some(self.constant_called(name, tensor)),
                Some(Ingredient::Made(made)) => {
                    let name = made.making.outputs[made.output].as_deref().unwrap_or_default();
                    let id = *results.entry(made.key()).or_insert_with(|| self.value_called(name));
                    self.restore(&made.making, results, done);
                    let shape = made.shape.iter().map(|size| Dim::Known(*size)).collect();
                    self.set_facts(id, Some(made.data_type), Some(shape));
                    Some(id)
                }
            });
        }
        let mut outputs = Vec::with_capacity(making.outputs.len());
        for (index, name) in making.outputs.iter().enumerate() {
            let known = results.get(&(Arc::as_ptr(making), index)).copied();
            outputs.push(name.as_ref().map(|name| known.unwrap_or_else(|| self.value_called(name))));
        }
        outputs.iter().flatten().for_each(|id| self.forget_constant(*id));
        let name = self.unused_name(&making.name);
        self.add_node(name, making.operator.clone(), inputs, outputs);
    }

    fn forget_constant(&mut self, id: ValueId) {
        let value = &mut self.values[id.0 as usize];
        (value.constant, value.made) = (None, None);
    }

    /// The value `name` that nothing is left of, or a new one.
    fn value_called(&mut self, name: &str) -> ValueId {
        let is_free = |id: &ValueId| {
            let value = self.value(*id);
            let unmade = value.constant.is_none() && value.producer.is_none();
            unmade && self.readers(*id).is_empty() && !self.is_input(*id) && !self.is_output(*id)
        };
        let free = self.find_value(name).filter(is_free);
        free.unwrap_or_else(|| self.add_value(self.unused_name(name), None, None))
    }

    /// The constant `name`, if it has these numbers, or a new one.
    fn constant_called(&mut self, name: &str, tensor: &TensorData) -> ValueId {
        let known = self.find_value(name).filter(|id| self.constant(*id) == Some(tensor));
        known.unwrap_or_else(|| {
            let id = self.value_called(name);
            self.set_constant(id, tensor.clone());
            id
        })
    }
}

/// The values that results of makings are in a graph.
type Results = HashMap<(*const Making, usize), ValueId>;

impl Made {
    fn key(&self) -> (*const Making, usize) {
        (Arc::as_ptr(&self.making), self.output)
    }
}
