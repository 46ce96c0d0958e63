//! Who reads which value, kept by `graph::edit` as inputs are given and taken away.

use super::{NodeId, ValueId};

/// For each value, the nodes and input indices that read it, in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers(Vec<Vec<(NodeId, usize)>>);

impl Readers {
    pub fn of(&self, value: ValueId) -> &[(NodeId, usize)] {
        self.0.get(value.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// Adds `node` as the reader of its `inputs`.
    pub fn add(&mut self, node: NodeId, inputs: &[Option<ValueId>]) {
        inputs.iter().enumerate().for_each(|(index, input)| self.set(node, index, None, *input));
    }

    pub fn remove(&mut self, node: NodeId, inputs: &[Option<ValueId>]) {
        inputs.iter().enumerate().for_each(|(index, input)| self.set(node, index, *input, None));
    }

    /// Input `index` of `node` was `from` and is `to`.
    pub fn set(&mut self, node: NodeId, index: usize, from: Option<ValueId>, to: Option<ValueId>) {
        if let Some(readers) = from.and_then(|from| self.0.get_mut(from.0 as usize))
            && let Ok(at) = readers.binary_search(&(node, index))
        {
            readers.remove(at);
        }
        let Some(to) = to.map(|to| to.0 as usize) else { return };
        if self.0.len() <= to {
            self.0.resize(to + 1, Vec::new());
        }
        if let Err(at) = self.0[to].binary_search(&(node, index)) {
            self.0[to].insert(at, (node, index));
        }
    }
}
