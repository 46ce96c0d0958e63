//! Which nodes are computed together with others.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Request;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::kernels::Activation;
use crate::ops::{Add, BatchNormalization, DequantizeLinear, QuantizeLinear};

/// Groups of nodes that become one step, at the place of the last of them.
#[derive(Default)]
pub struct Fusion {
    /// Nodes whose work a later one does.
    pub absorbed: HashSet<NodeId>,
    /// By the last node.
    pub chains: HashMap<NodeId, NormChain>,
    /// Activations, by node, and what they work on where it lies.
    pub activated: HashMap<NodeId, (NodeId, Activation)>,
}

/// A BatchNormalization, what is added to its output, and the activation after that.
#[derive(Clone, Copy)]
pub struct NormChain {
    pub norm: NodeId,
    pub shortcut: Option<ValueId>,
    pub activation: Activation,
}

impl Fusion {
    pub fn find(graph: &Graph, needed: &BTreeSet<NodeId>, request: &Request<'_>) -> Fusion {
        let mut flowing: HashSet<ValueId> = graph.inputs.iter().copied().collect();
        for (_, node) in graph.nodes() {
            if node.inputs.iter().flatten().any(|input| flowing.contains(input)) {
                flowing.extend(node.outputs.iter().flatten());
            }
        }
        let search =
            Search { graph, needed, consumers: graph.consumers(), wanted: request.wanted(), parameters: request.parameters, flowing };
        let mut fusion = Fusion::default();
        fusion.absorbed.extend(needed.iter().filter(|id| search.dequantizer_of(graph.node(**id)).is_some()));
        // The last one first: where both sides of an Add are normalized, the shortcut must be there already.
        for id in needed.iter().rev() {
            if let Some((nodes, chain)) = search.norm_chain(*id)
                && nodes.iter().all(|id| !fusion.absorbed.contains(id) && !fusion.chains.contains_key(id))
                && let Some((last, before)) = nodes.split_last()
            {
                fusion.absorbed.extend(before);
                fusion.chains.insert(*last, chain);
            }
        }
        for id in needed {
            if let Some((last, activation)) = search.activation_behind(*id)
                && [*id, last].iter().all(|id| !fusion.absorbed.contains(id) && !fusion.chains.contains_key(id))
                && !fusion.activated.contains_key(id)
            {
                fusion.absorbed.insert(*id);
                fusion.activated.insert(last, (*id, activation));
            }
        }
        fusion
    }
}

struct Search<'a> {
    graph: &'a Graph,
    needed: &'a BTreeSet<NodeId>,
    consumers: Vec<Vec<(NodeId, usize)>>,
    wanted: Vec<ValueId>,
    parameters: &'a [ValueId],
    /// What differs from sample to sample.
    flowing: HashSet<ValueId>,
}

impl<'a> Search<'a> {
    /// The only node that reads the only output of `node`, if nobody else sees it.
    fn sole_reader(&self, node: &Node) -> Option<(NodeId, &'a Node)> {
        let output = node.output(0).filter(|output| !self.wanted.contains(output))?;
        let mut readers = self.consumers[output.0 as usize].iter().filter(|(id, _)| self.needed.contains(id));
        let (id, _) = readers.next().filter(|_| node.outputs.iter().flatten().count() == 1)?;
        readers.next().is_none().then(|| (*id, self.graph.node(*id)))
    }

    /// The DequantizeLinear that undoes `quantizer` with the same parameters.
    fn dequantizer_of(&self, quantizer: &Node) -> Option<NodeId> {
        quantizer.is::<QuantizeLinear>().filter(|operator| quantizer.input(2).is_some() && operator.sharing.block_size == 0)?;
        let (id, reader) = self.sole_reader(quantizer)?;
        let same = |index| reader.input(index) == quantizer.input(index);
        let undoes = reader.is::<DequantizeLinear>().is_some() && same(1) && same(2) && reader.input(0) == quantizer.output(0);
        undoes.then_some(id)
    }

    /// The BatchNormalization `id` with what follows it: the nodes, and the step that they become.
    fn norm_chain(&self, id: NodeId) -> Option<(Vec<NodeId>, NormChain)> {
        let mut node = self.graph.node(id);
        node.is::<BatchNormalization>()?;
        let fixed = |index: usize| node.input(index).is_some_and(|value| self.is_fixed(value));
        if !(1..=4).all(fixed) || !self.flowing.contains(&node.input(0)?) {
            return None;
        }
        let (mut nodes, mut chain) = (vec![id], NormChain { norm: id, shortcut: None, activation: Activation::Identity });
        if let Some((id, add)) = self.sole_reader(node)
            && let Some(shortcut) = self.shortcut(node, add)
        {
            nodes.push(id);
            (chain.shortcut, node) = (Some(shortcut), add);
        }
        if let Some((id, reader)) = self.sole_reader(node)
            && let Some(activation) = self.activation(reader)
            && (chain.shortcut.is_none() || activation.is_told_by_output())
        {
            nodes.push(id);
            chain.activation = activation;
        }
        (nodes.len() > 1).then_some((nodes, chain))
    }

    /// The only reader of `id`, if it is an activation that can work where its input lies.
    fn activation_behind(&self, id: NodeId) -> Option<(NodeId, Activation)> {
        let node = self.graph.node(id);
        let quantizes = node.is::<QuantizeLinear>().is_some() || node.is::<DequantizeLinear>().is_some();
        node.inputs.iter().flatten().find(|input| !quantizes && self.flowing.contains(input))?;
        let (last, reader) = self.sole_reader(node)?;
        let activation = self.activation(reader).filter(|activation| activation.is_told_by_output())?;
        (reader.input(0) == node.output(0)).then_some((last, activation))
    }

    fn is_fixed(&self, value: ValueId) -> bool {
        self.graph.constant(value).is_some() && !self.parameters.contains(&value)
    }

    /// What `add` adds to the output of `norm`, if it has the same shape.
    fn shortcut(&self, norm: &Node, add: &Node) -> Option<ValueId> {
        add.is::<Add>()?;
        let (a, b, output) = (add.input(0)?, add.input(1)?, norm.output(0)?);
        let other = if a == output { b } else { a };
        let shape = |value: ValueId| self.graph.value(value).shape.as_deref();
        (other != output && shape(other).is_some() && shape(other) == shape(output) && self.flowing.contains(&other)).then_some(other)
    }

    fn activation(&self, node: &Node) -> Option<Activation> {
        let fixed = |value: &Option<ValueId>| value.filter(|value| self.is_fixed(*value)).and_then(|value| self.graph.constant(value));
        let constants: Vec<_> = node.inputs.iter().map(fixed).collect();
        let free = node.inputs.iter().zip(&constants).skip(1).any(|(value, constant)| value.is_some() && constant.is_none());
        if free { None } else { node.operator.activation(&constants) }
    }
}
