//! The only ways to change a graph.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::readers::Readers;
use super::{Dim, Graph, Node, NodeId, Value, ValueId, topological_order};
use crate::error::Result;
use crate::ops::Operator;
use crate::tensor::{DataType, TensorData};

impl Graph {
    /// Adds a value nobody makes yet: a graph input, or the output of a node added next.
    pub fn add_value(&mut self, name: impl Into<String>, data_type: Option<DataType>, shape: Option<Vec<Dim>>) -> ValueId {
        let (id, name) = (ValueId(self.values.len() as u32), name.into());
        self.names.add_value(&name, id);
        self.values.push(Value { name, data_type, shape, constant: None, made: None, producer: None });
        id
    }

    pub fn add_constant(&mut self, name: impl Into<String>, tensor: TensorData) -> ValueId {
        let shape = tensor.shape().iter().map(|n| Dim::Known(*n)).collect();
        let id = self.add_value(name, Some(tensor.data_type()), Some(shape));
        self.values[id.0 as usize].constant = Some(tensor);
        id
    }

    /// Appends a node at the end of the execution order; call [`Graph::sort`] after adding nodes out of order.
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        operator: Arc<dyn Operator>,
        inputs: Vec<Option<ValueId>>,
        outputs: Vec<Option<ValueId>>,
    ) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        for output in outputs.iter().flatten() {
            self.values[output.0 as usize].producer = Some(id);
        }
        let name = name.into();
        self.names.add_node(&name);
        self.readers.add(id, &inputs);
        self.nodes.insert(id, Node { name, operator, inputs, outputs });
        self.order.push(id);
        id
    }

    /// Adds a node with one new output value.
    pub fn add_operation(&mut self, name: &str, operator: Arc<dyn Operator>, inputs: Vec<ValueId>, output: &str) -> (NodeId, ValueId) {
        let value = self.add_value(output, None, None);
        let node = self.add_node(name, operator, inputs.into_iter().map(Some).collect(), vec![Some(value)]);
        (node, value)
    }

    /// Removes a node; its outputs become values that nobody makes.
    pub fn remove_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.remove(&id) {
            self.names.remove_node(&node.name);
            self.readers.remove(id, &node.inputs);
            for output in node.outputs.iter().flatten() {
                if self.values[output.0 as usize].producer == Some(id) {
                    self.values[output.0 as usize].producer = None;
                }
            }
        }
    }

    pub fn set_operator(&mut self, id: NodeId, operator: Arc<dyn Operator>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.operator = operator;
        }
    }

    pub fn set_input(&mut self, id: NodeId, index: usize, value: Option<ValueId>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            if node.inputs.len() <= index {
                node.inputs.resize(index + 1, None);
            }
            self.readers.set(id, index, node.inputs[index], value);
            node.inputs[index] = value;
        }
    }

    pub fn set_inputs(&mut self, id: NodeId, inputs: Vec<Option<ValueId>>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            self.readers.remove(id, &node.inputs);
            self.readers.add(id, &inputs);
            node.inputs = inputs;
        }
    }

    /// Makes `id` write its output `index` to `value` instead; the former output is left without a producer.
    pub fn set_output(&mut self, id: NodeId, index: usize, value: ValueId) {
        let former = self.nodes.get(&id).and_then(|node| node.output(index));
        if let Some(node) = self.nodes.get_mut(&id) {
            if node.outputs.len() <= index {
                node.outputs.resize(index + 1, None);
            }
            node.outputs[index] = Some(value);
        }
        if let Some(former) = former.filter(|former| *former != value) {
            self.values[former.0 as usize].producer = None;
        }
        self.values[value.0 as usize].producer = Some(id);
    }

    pub fn rename_node(&mut self, id: NodeId, name: impl Into<String>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            self.names.remove_node(&node.name);
            node.name = name.into();
            self.names.add_node(&node.name);
        }
    }

    pub fn rename_value(&mut self, id: ValueId, name: impl Into<String>) {
        let value = &mut self.values[id.0 as usize];
        self.names.remove_value(&value.name, id);
        value.name = name.into();
        self.names.add_value(&value.name, id);
    }

    /// Turns a value into a constant; whoever made it no longer does.
    pub fn set_constant(&mut self, id: ValueId, tensor: TensorData) {
        let value = &mut self.values[id.0 as usize];
        value.data_type = Some(tensor.data_type());
        value.shape = Some(tensor.shape().iter().map(|n| Dim::Known(*n)).collect());
        value.constant = Some(tensor);
        value.made = None;
        value.producer = None;
    }

    /// Lets go of the numbers of a constant that nobody reads any more.
    pub fn forget_unread(&mut self, id: ValueId) {
        if self.readers(id).is_empty() && !self.is_output(id) {
            let value = &mut self.values[id.0 as usize];
            (value.constant, value.made) = (None, None);
        }
    }

    pub fn set_facts(&mut self, id: ValueId, data_type: Option<DataType>, shape: Option<Vec<Dim>>) {
        let value = &mut self.values[id.0 as usize];
        value.data_type = data_type;
        value.shape = shape;
    }

    /// Everyone who reads `from`, graph outputs excepted, reads `to` instead.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        self.replace_all_uses(&HashMap::from([(from, to)]));
    }

    /// As [`Graph::replace_uses`], for many values at once.
    pub fn replace_all_uses(&mut self, to: &HashMap<ValueId, ValueId>) {
        let readers = |(from, to): (&ValueId, &ValueId)| self.readers(*from).iter().map(|reader| (*reader, *to)).collect::<Vec<_>>();
        let moved: Vec<((NodeId, usize), ValueId)> = to.iter().flat_map(readers).collect();
        moved.into_iter().for_each(|((node, index), to)| self.set_input(node, index, Some(to)));
    }

    /// A name like `wanted` that no value and no node has yet.
    pub fn unused_name(&self, wanted: &str) -> String {
        self.names.unused(wanted)
    }

    /// Brings the nodes into execution order.
    ///
    /// # Errors
    /// If the graph has a cycle.
    pub fn sort(&mut self) -> Result<()> {
        self.order = topological_order(self)?;
        Ok(())
    }

    /// Removes nodes that no graph output needs. `keep` are further values that must stay.
    pub fn remove_dead_nodes(&mut self, keep: &[ValueId]) {
        let mut live: HashSet<ValueId> = self.outputs.iter().chain(keep).copied().collect();
        let mut dead = HashSet::new();
        for id in self.order.iter().rev() {
            let Some(node) = self.nodes.get(id) else { continue };
            if node.outputs.iter().flatten().any(|output| live.contains(output)) {
                live.extend(node.inputs.iter().flatten());
            } else {
                dead.insert(*id);
            }
        }
        dead.into_iter().for_each(|id| self.remove_node(id));
    }

    /// Drops values that nothing refers to and renumbers the rest; returns where each old value went.
    pub fn compact(&mut self) -> HashMap<ValueId, ValueId> {
        let mut used: HashSet<ValueId> = self.inputs.iter().chain(&self.outputs).copied().collect();
        for node in self.nodes.values() {
            used.extend(node.inputs.iter().flatten());
            used.extend(node.outputs.iter().flatten());
        }
        let mut moved = HashMap::new();
        let mut values = Vec::with_capacity(used.len());
        for (index, value) in std::mem::take(&mut self.values).into_iter().enumerate() {
            let id = ValueId(index as u32);
            self.names.remove_value(&value.name, id);
            if used.contains(&id) {
                let to = ValueId(values.len() as u32);
                self.names.add_value(&value.name, to);
                moved.insert(id, to);
                values.push(value);
            }
        }
        self.values = values;
        let renumber = |id: &mut ValueId| *id = moved[id];
        self.inputs.iter_mut().for_each(renumber);
        self.outputs.iter_mut().for_each(renumber);
        self.readers = Readers::default();
        for (id, node) in &mut self.nodes {
            node.inputs.iter_mut().flatten().for_each(renumber);
            node.outputs.iter_mut().flatten().for_each(renumber);
            self.readers.add(*id, &node.inputs);
        }
        moved
    }
}
