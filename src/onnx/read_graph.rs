//! From the messages of a graph to a [`Graph`].

use std::collections::{BTreeMap, HashMap, HashSet};

use super::capture::captured_names;
use super::header::{Header, canonical_domain, output_opset};
use super::messages::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::part::Left;
use super::read_node::{ReadNode, Surroundings, describe, domain, is_constant, name, op_type, present, read_constant, read_node};
use super::subgraphs::{Names, Rules, check_subgraphs, has_subgraphs};
use super::{tensor_proto, value_info};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, ValueId, check};
use crate::limits::{Limits, beyond};
use crate::ops::{BatchNormalization, Foreign, Refusal};
use crate::tensor::TensorData;

/// From this IR version on, a file that lists an initializer among its inputs means that callers may replace it.
const INITIALIZERS_ARE_NO_INPUTS: i64 = 4;

/// A graph, and what was noticed on the way.
pub struct GraphParts {
    pub graph: Graph,
    /// Nodes that are carried through, by name.
    pub foreign: BTreeMap<String, NodeProto>,
    pub notes: Vec<String>,
}

/// Takes nodes, initializers and inner value descriptions out of `model` and makes a graph of them. Initializers without data
/// have it where `left` says.
///
/// # Errors
/// If the graph contradicts itself, or has nodes that zeroq refuses: those are named all at once.
pub fn read_graph(model: &mut ModelProto, header: &Header, left: &Left, limits: &Limits) -> Result<GraphParts> {
    let functions = model.functions.iter().map(|f| {
        let domain = canonical_domain(f.domain.as_deref().unwrap_or_default());
        (domain.to_string(), f.name.clone().unwrap_or_default())
    });
    let surroundings = Surroundings { opset: header.opset, tensor_elements: limits.tensor_elements, functions: functions.collect() };
    let graph = model.graph.as_mut().ok_or_else(|| Error::InvalidModel("it has no graph".to_string()))?;
    check_sizes(graph, header, limits)?;
    let mut nodes = std::mem::take(&mut graph.node);
    let descriptions = std::mem::take(&mut graph.value_info);
    let mut reader = Reader::new(surroundings, &descriptions);
    reader.graph.name = graph.name.clone().unwrap_or_default();
    reader.graph.opset = output_opset(header.opset);
    reader.name_nodes(&mut nodes);
    reader.add_initializers(std::mem::take(&mut graph.initializer), left)?;
    reader.add_inputs(&graph.input)?;
    reader.tell_replaceable(&graph.input, header);
    reader.add_outputs_of_nodes(&nodes)?;
    reader.check_subgraphs(&nodes, &Rules { header, limits })?;
    reader.add_nodes(nodes)?;
    reader.add_graph_outputs(&graph.output)?;
    reader.finish()
}

fn check_sizes(graph: &GraphProto, header: &Header, limits: &Limits) -> Result<()> {
    if graph.node.is_empty() {
        return Err(Error::InvalidModel("the graph has no nodes".to_string()));
    }
    if graph.node.len() as u64 > limits.nodes {
        return Err(Error::InvalidModel(format!("the graph has {} nodes, {}", graph.node.len(), beyond("nodes", limits.nodes))));
    }
    if graph.output.is_empty() {
        return Err(Error::InvalidModel("the graph has no outputs".to_string()));
    }
    if !graph.sparse_initializer.is_empty() {
        let name = |t: &super::messages::SparseTensorProto| t.values.as_ref().and_then(|v| v.name.clone()).unwrap_or_default();
        let lines = graph.sparse_initializer.iter().map(|tensor| format!("sparse initializer `{}`", name(tensor)));
        return Err(Error::Unsupported(lines.collect()));
    }
    check_name_lengths(graph, limits)?;
    let refuse = |node: &NodeProto, reason: String| Error::node(name(node), op_type(node), reason);
    graph.node.iter().try_for_each(|node| check_operator(node, header).map_err(|reason| refuse(node, reason)))
}

fn check_name_lengths(graph: &GraphProto, limits: &Limits) -> Result<()> {
    let of_nodes = graph.node.iter().flat_map(|node| {
        let own = [&node.name, &node.op_type, &node.domain].into_iter().filter_map(Option::as_deref);
        let attributes = node.attribute.iter().filter_map(|attribute| attribute.name.as_deref());
        own.chain(attributes).chain(node.input.iter().chain(&node.output).map(String::as_str))
    });
    let of_values = graph.input.iter().chain(&graph.output).chain(&graph.value_info).flat_map(value_info::names);
    let of_tensors = graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref());
    of_nodes.chain(of_values).chain(of_tensors).try_for_each(|name| check_name_length(name, limits)).map_err(Error::InvalidModel)
}

/// # Errors
/// If `name` is longer than it may be.
pub fn check_name_length(name: &str, limits: &Limits) -> Result<(), Refusal> {
    if name.len() as u64 <= limits.name_bytes {
        return Ok(());
    }
    let start: String = name.chars().take(40).collect();
    Err(format!(
        "a name of {} bytes is longer than the limit of {} (--limit name-bytes=N sets another): `{start}`...",
        name.len(),
        limits.name_bytes
    ))
}

/// # Errors
/// If `node` names no operator, or one of a domain that the model does not import.
pub fn check_operator(node: &NodeProto, header: &Header) -> Result<(), Refusal> {
    if op_type(node).is_empty() {
        return Err("it names no operator".to_string());
    }
    if !header.domains.contains_key(domain(node)) {
        return Err(format!("its domain `{}` is not in opset_import", domain(node)));
    }
    Ok(())
}

struct Reader<'a> {
    surroundings: Surroundings,
    descriptions: HashMap<&'a str, &'a ValueInfoProto>,
    graph: Graph,
    values: HashMap<String, ValueId>,
    foreign: BTreeMap<String, NodeProto>,
    refused: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(surroundings: Surroundings, descriptions: &'a [ValueInfoProto]) -> Self {
        let descriptions = descriptions.iter().filter_map(|info| Some((info.name.as_deref()?, info))).collect();
        let (graph, values, foreign) = (Graph::default(), HashMap::new(), BTreeMap::new());
        Reader { surroundings, descriptions, graph, values, foreign, refused: Vec::new(), notes: Vec::new() }
    }

    /// Gives every node a name of its own.
    fn name_nodes(&mut self, nodes: &mut [NodeProto]) {
        let mut taken: HashSet<String> = HashSet::new();
        let mut again: Vec<usize> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            if name(node).is_empty() || !taken.insert(name(node).to_string()) {
                again.push(index);
            }
        }
        let mut counters: HashMap<String, usize> = HashMap::new();
        for index in &again {
            let node = &mut nodes[*index];
            let base = if name(node).is_empty() { op_type(node) } else { name(node) }.to_string();
            let counter = counters.entry(base.clone()).or_default();
            let unique = loop {
                let candidate = format!("{base}_{counter}");
                *counter += 1;
                if taken.insert(candidate.clone()) {
                    break candidate;
                }
            };
            node.name = Some(unique);
        }
        let named = again.iter().filter(|index| !is_constant(&nodes[**index])).count();
        if named > 0 {
            self.notes.push(format!("{named} nodes without a name of their own were named"));
        }
    }

    fn add_initializers(&mut self, initializers: Vec<TensorProto>, left: &Left) -> Result<()> {
        for proto in initializers {
            let name = proto.name.clone().unwrap_or_default();
            if name.is_empty() {
                return Err(Error::InvalidModel("an initializer has no name".to_string()));
            }
            let limit = self.surroundings.tensor_elements;
            let tensor = match left.get(&name).filter(|_| proto.raw_data.is_none()) {
                Some(part) => tensor_proto::leave(&proto, part.clone(), limit),
                None => tensor_proto::read(&proto, limit),
            };
            let tensor = tensor.and_then(finite);
            let tensor = tensor.map_err(|reason| Error::tensor(&name, reason))?;
            if self.values.contains_key(&name) {
                return Err(Error::tensor(&name, "two initializers have this name"));
            }
            self.values.insert(name.clone(), self.graph.add_constant(name, tensor));
        }
        Ok(())
    }

    /// Inputs that an initializer gives a value are constants, not inputs.
    fn add_inputs(&mut self, inputs: &[ValueInfoProto]) -> Result<()> {
        let mut seen = HashSet::new();
        for info in inputs {
            let name = info.name.clone().unwrap_or_default();
            if name.is_empty() || !seen.insert(name.clone()) {
                return Err(Error::InvalidModel(format!("graph input `{name}` has no name or stands twice")));
            }
            if self.values.contains_key(&name) {
                continue;
            }
            let (data_type, _) =
                value_info::read(info).map_err(|kind| Error::Unsupported(vec![format!("graph input `{name}`: {kind}")]))?;
            if data_type.is_none() {
                return Err(Error::InvalidModel(format!("graph input `{name}` has no element type")));
            }
            let shape = value_info::read_input_sizes(info, self.surroundings.tensor_elements)
                .map_err(|reason| Error::InvalidModel(format!("graph input `{name}`: {reason}")))?;
            let value = self.graph.add_value(name.clone(), data_type, shape);
            self.graph.inputs.push(value);
            self.values.insert(name, value);
        }
        Ok(())
    }

    /// Up to a certain IR version, files had to list their initializers among the inputs; later ones mean something by it.
    fn tell_replaceable(&mut self, inputs: &[ValueInfoProto], header: &Header) {
        let count = inputs.len() - self.graph.inputs.len();
        if count > 0 && header.ir_version >= INITIALIZERS_ARE_NO_INPUTS {
            self.notes.push(format!("{count} inputs have a value in the file, so that callers need not give them: they become constants"));
        }
    }

    fn add_outputs_of_nodes(&mut self, nodes: &[NodeProto]) -> Result<()> {
        for node in nodes {
            if present(&node.output).is_empty() {
                return Err(Error::node(name(node), op_type(node), "it has no outputs"));
            }
            if let Some(twice) = node.output.iter().find(|output| self.values.contains_key(*output)) {
                return Err(Error::node(name(node), op_type(node), format!("its output `{twice}` has another source already")));
            }
            match (is_constant(node), node.output.as_slice()) {
                (true, [output]) => self.add_constant(node, output),
                (true, _) => return Err(Error::node(name(node), op_type(node), "it has more than one output")),
                (false, _) => self.add_computed(node)?,
            }
        }
        Ok(())
    }

    fn add_constant(&mut self, node: &NodeProto, output: &str) {
        let value = match read_constant(node, self.surroundings.tensor_elements).and_then(finite) {
            Ok(tensor) => self.graph.add_constant(output, tensor),
            Err(reason) => {
                self.refuse(node, &reason);
                self.graph.add_value(output, None, None)
            }
        };
        self.values.insert(output.to_string(), value);
    }

    fn add_computed(&mut self, node: &NodeProto) -> Result<()> {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            let value = self.graph.add_value(output, None, None);
            if self.values.insert(output.clone(), value).is_some() {
                return Err(Error::node(name(node), op_type(node), format!("its output `{output}` stands twice")));
            }
        }
        Ok(())
    }

    /// Within a subgraph, names of values that stand before its node are taken.
    fn check_subgraphs(&self, nodes: &[NodeProto], rules: &Rules<'_>) -> Result<()> {
        if !nodes.iter().any(has_subgraphs) {
            return Ok(());
        }
        let sources = self.values.iter().filter(|(_, value)| self.graph.constant(**value).is_some() || self.graph.is_input(**value));
        let mut standing = Names { own: sources.map(|(name, _)| name.as_str()).collect(), outer: None };
        for node in nodes {
            check_subgraphs(node, &standing, rules).map_err(|reason| Error::node(name(node), op_type(node), reason))?;
            standing.own.extend(node.output.iter().map(String::as_str));
        }
        Ok(())
    }

    fn refuse(&mut self, node: &NodeProto, reason: &str) {
        self.refused.push(format!("node {}: {reason}", describe(node)));
    }

    fn add_nodes(&mut self, nodes: Vec<NodeProto>) -> Result<()> {
        for node in nodes.into_iter().filter(|node| !is_constant(node)) {
            match read_node(&node, &self.surroundings) {
                Err(reason) => self.refuse(&node, &reason),
                Ok(ReadNode::Foreign(foreign)) => {
                    let mut inputs = self.resolve(&node, &node.input)?;
                    inputs.extend(self.resolve(&node, &captured_names(&node))?);
                    let outputs = self.resolve(&node, &node.output)?;
                    self.describe_outputs(&node);
                    self.graph.add_node(name(&node), std::sync::Arc::new(foreign), inputs, outputs);
                    self.foreign.insert(name(&node).to_string(), node);
                }
                Ok(ReadNode::Known(parsed)) => {
                    let mut inputs = self.resolve(&node, present(&node.input))?;
                    if let Some((from, to)) = parsed.moved {
                        inputs.resize(inputs.len().max(to + 1), None);
                        inputs.swap(from, to);
                    }
                    for (index, tensor) in parsed.inputs {
                        if let Err(reason) = self.add_parsed_input(&node, &mut inputs, index, tensor) {
                            self.refuse(&node, &reason);
                        }
                    }
                    let outputs = self.resolve(&node, present(&node.output))?;
                    self.graph.add_node(name(&node), parsed.operator, inputs, outputs);
                }
            }
        }
        Ok(())
    }

    fn resolve(&self, node: &NodeProto, names: &[String]) -> Result<Vec<Option<ValueId>>> {
        let one = |wanted: &String| match self.values.get(wanted) {
            Some(value) => Ok(Some(*value)),
            None if wanted.is_empty() => Ok(None),
            None => Err(Error::node(name(node), op_type(node), format!("its input `{wanted}` comes from nowhere"))),
        };
        names.iter().map(one).collect()
    }

    /// What the file says of values that nobody can infer.
    fn describe_outputs(&mut self, node: &NodeProto) {
        for output in &node.output {
            let declared = self.descriptions.get(output.as_str()).and_then(|info| value_info::read(info).ok());
            if let (Some((data_type, shape)), Some(value)) = (declared, self.values.get(output)) {
                self.graph.set_facts(*value, data_type, shape);
            }
        }
    }

    fn add_parsed_input(
        &mut self,
        node: &NodeProto,
        inputs: &mut Vec<Option<ValueId>>,
        index: usize,
        tensor: TensorData,
    ) -> Result<(), Refusal> {
        if inputs.get(index).is_some_and(Option::is_some) {
            return Err(format!("input {index} is given as an attribute too"));
        }
        if inputs.len() <= index {
            inputs.resize(index + 1, None);
        }
        let base = format!("{}_input_{index}", name(node));
        let numbered = (1..).map(|n: u64| format!("{base}_{n}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|candidate| !self.values.contains_key(candidate));
        let free = free.unwrap_or(base);
        let value = self.graph.add_constant(free.clone(), tensor);
        self.values.insert(free, value);
        inputs[index] = Some(value);
        Ok(())
    }

    fn add_graph_outputs(&mut self, outputs: &[ValueInfoProto]) -> Result<()> {
        let mut seen = HashSet::new();
        for info in outputs {
            let name = info.name.as_deref().unwrap_or_default();
            let refuse = |reason: &str| Err(Error::InvalidModel(format!("graph output `{name}` {reason}")));
            let Some(value) = self.values.get(name).copied() else { return refuse("comes from nowhere") };
            if !seen.insert(value) {
                return refuse("stands twice");
            }
            let made_unseen = self.graph.producer(value).is_some_and(|(_, node)| node.is::<Foreign>().is_some());
            let (data_type, shape) = match value_info::read(info) {
                // A sequence or a map that a node carries through is written back as it came.
                Err(_) if made_unseen => (None, None),
                declared => declared.map_err(|kind| Error::Unsupported(vec![format!("graph output `{name}`: {kind}")]))?,
            };
            if self.graph.producer(value).is_some() {
                self.graph.set_facts(value, data_type, shape);
            }
            self.graph.outputs.push(value);
        }
        Ok(())
    }

    /// BatchNormalizations whose statistics nobody reads infer already: a file that reads them trains.
    fn refuse_training(&self) -> Result<()> {
        let norms = self.graph.nodes().map(|(_, node)| node).filter(|node| node.is::<BatchNormalization>().is_some());
        let Some((node, read)) = norms.filter_map(|node| Some((node, node.outputs.iter().skip(1).flatten().next()?))).next() else {
            return Ok(());
        };
        let read = &self.graph.value(*read).name;
        let reason = format!("its output `{read}`, statistics of training (training_mode=1), is read; export the model for inference");
        Err(Error::node(&node.name, node.operator.name(), reason))
    }

    fn finish(mut self) -> Result<GraphParts> {
        if !self.refused.is_empty() {
            return Err(Error::Unsupported(self.refused));
        }
        let order = |graph: &Graph| graph.nodes().map(|(id, _)| id).collect::<Vec<NodeId>>();
        let before = order(&self.graph);
        self.refuse_training()?;
        self.graph.sort()?;
        if before != order(&self.graph) {
            self.notes.push("nodes did not stand in execution order and were sorted".to_string());
        }
        check(&self.graph)?;
        Ok(GraphParts { graph: self.graph, foreign: self.foreign, notes: self.notes })
    }
}

fn finite(tensor: TensorData) -> Result<TensorData, Refusal> {
    match tensor_proto::first_not_finite(&tensor) {
        None => Ok(tensor),
        Some((index, number)) => Err(format!("element {index} is {number}: not a finite number; export the model again")),
    }
}
