//! From a [`Model`] back to its message.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::attribute_proto::write_all;
use super::capture::captured_names;
use super::header::{canonical_domain, least_ir_version};
use super::messages::{ModelProto, NodeProto, OperatorSetIdProto, TensorAnnotation, TensorProto, ValueInfoProto};
use super::model::Model;
use super::rename::{Renames, identity, rename_captured};
use super::{read_node, tensor_proto, value_info};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId, check};
use crate::ops::Foreign;
use crate::tensor::TensorData;

const PRODUCER: &str = "zeroq";
/// Tensors of fewer bytes always stay in the model's message, as other writers keep them.
const LEAST_EXTERNAL: u64 = 1024;

/// The data of an initializer, by its place among the initializers.
pub type Large = (usize, TensorData);

/// A model's message, in which large initializers have no data yet.
pub struct Draft {
    pub proto: ModelProto,
    /// The data, with the initializer each belongs to.
    pub large: Vec<Large>,
}

/// # Errors
/// If the graph breaks a rule of graphs: always a bug of whoever made it.
pub fn write_model(model: &Model) -> Result<Draft> {
    check(&model.graph)?;
    let mut nodes = Vec::with_capacity(model.graph.node_count());
    let mut aliases = Aliases::default();
    for (_, node) in model.graph.nodes() {
        write_node(model, node, &mut aliases, &mut nodes)?;
    }
    let (initializers, large) = write_initializers(&model.graph)?;
    let mut proto = model.shell.clone();
    proto.ir_version = Some(model.ir_version.max(least_ir_version(model.graph.opset)));
    proto.producer_name = Some(PRODUCER.to_string());
    proto.producer_version = Some(env!("CARGO_PKG_VERSION").to_string());
    set_imports(&mut proto.opset_import, &model.graph);
    let graph = proto.graph.get_or_insert_default();
    let inputs = write_inputs(&model.graph, &graph.input);
    let is_bound = graph.input.iter().any(|before| inputs.iter().any(|after| became_known(before, after)));
    graph.output = write_outputs(&model.graph, &graph.output, is_bound);
    graph.input = inputs;
    graph.value_info.clear();
    graph.quantization_annotation =
        known_annotations(std::mem::take(&mut graph.quantization_annotation), &nodes, &initializers, &graph.input);
    graph.node = nodes;
    graph.initializer = initializers;
    Ok(Draft { proto, large })
}

/// Annotations of tensors that are still there.
fn known_annotations(
    annotations: Vec<TensorAnnotation>,
    nodes: &[NodeProto],
    initializers: &[TensorProto],
    inputs: &[ValueInfoProto],
) -> Vec<TensorAnnotation> {
    let mut names: HashSet<&str> = nodes.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    names.extend(initializers.iter().filter_map(|tensor| tensor.name.as_deref()));
    names.extend(inputs.iter().filter_map(|info| info.name.as_deref()));
    let known = |name: &Option<String>| name.as_deref().is_some_and(|name| names.contains(name));
    let whole = |annotation: &TensorAnnotation| {
        known(&annotation.tensor_name) && annotation.quant_parameter_tensor_names.iter().all(|entry| known(&entry.value))
    };
    annotations.into_iter().filter(whole).collect()
}

fn name_of(graph: &Graph, value: Option<ValueId>) -> String {
    value.map(|id| graph.value(id).name.clone()).unwrap_or_default()
}

fn names_of(graph: &Graph, values: &[Option<ValueId>]) -> Vec<String> {
    values.iter().map(|value| name_of(graph, *value)).collect()
}

/// Copies under the names that subgraphs read, of values that were renamed since.
#[derive(Default)]
struct Aliases(BTreeMap<String, ValueId>);

fn write_node(model: &Model, node: &Node, aliases: &mut Aliases, nodes: &mut Vec<NodeProto>) -> Result<()> {
    let graph = &model.graph;
    let mut proto = match node.is::<Foreign>() {
        Some(foreign) => as_it_came(model, node, foreign)?,
        None => fresh(node)?,
    };
    proto.output = names_of(graph, &node.outputs);
    match node.is::<Foreign>() {
        Some(foreign) => {
            let (own, captured) = node.inputs.split_at(foreign.own_inputs.min(node.inputs.len()));
            proto.input = names_of(graph, own);
            write_aliases(graph, &mut proto, captured, aliases, nodes)?;
        }
        None => {
            proto.input = read_node::present(&names_of(graph, &node.inputs)).to_vec();
            proto.output = read_node::present(&proto.output).to_vec();
        }
    }
    nodes.push(proto);
    Ok(())
}

fn fresh(node: &Node) -> Result<NodeProto> {
    let operator = node.operator.as_ref();
    let attribute = write_all(&operator.attributes()).map_err(|reason| Error::node(&node.name, operator.name(), reason))?;
    Ok(NodeProto {
        name: Some(node.name.clone()),
        op_type: Some(operator.name().to_string()),
        domain: Some(operator.domain().to_string()).filter(|domain| !domain.is_empty()),
        attribute,
        ..Default::default()
    })
}

fn as_it_came(model: &Model, node: &Node, foreign: &Foreign) -> Result<NodeProto> {
    let original = model.foreign.get(&node.name);
    match original.filter(|proto| read_node::op_type(proto) == foreign.op_type && read_node::domain(proto) == foreign.domain) {
        Some(proto) => Ok(proto.clone()),
        None => fresh(node),
    }
}

/// Subgraphs read outer values by name. Where the value has another name now, an Identity brings the former one back, or,
/// where the former one means another value, the subgraphs are told the new one.
fn write_aliases(
    graph: &Graph,
    proto: &mut NodeProto,
    captured: &[Option<ValueId>],
    aliases: &mut Aliases,
    nodes: &mut Vec<NodeProto>,
) -> Result<()> {
    let mut renames = Renames::new();
    for (wanted, value) in captured_names(proto).into_iter().zip(captured.iter().flatten()) {
        let name = &graph.value(*value).name;
        if *name == wanted || aliases.0.get(&wanted) == Some(value) {
            continue;
        }
        if graph.find_value(&wanted).is_some() || aliases.0.contains_key(&wanted) {
            renames.insert(wanted, name.clone());
            continue;
        }
        nodes.push(identity(graph.unused_name(&format!("{wanted}_alias")), name.clone(), wanted.clone()));
        aliases.0.insert(wanted, *value);
    }
    match rename_captured(proto, &renames) {
        Ok(()) => Ok(()),
        Err(name) => {
            let reason = format!("its subgraph has a value of its own called `{name}`, as one that it reads from outside");
            Err(Error::node(read_node::name(proto), read_node::op_type(proto), reason))
        }
    }
}

/// Constants that somebody reads, in the order in which the graph got them.
fn write_initializers(graph: &Graph) -> Result<(Vec<TensorProto>, Vec<Large>)> {
    let mut used: Vec<ValueId> = graph.nodes().flat_map(|(_, node)| node.inputs.iter().flatten().copied()).collect();
    used.extend(&graph.outputs);
    used.sort_unstable();
    used.dedup();
    let (mut written, mut large) = (Vec::new(), Vec::new());
    for id in used {
        let Some(tensor) = graph.constant(id) else { continue };
        let name = &graph.value(id).name;
        if tensor_proto::raw_len(tensor).is_some_and(|len| len >= LEAST_EXTERNAL) {
            large.push((written.len(), tensor.clone()));
            written.push(tensor_proto::write_head(Some(name), tensor));
        } else {
            written.push(tensor_proto::write(Some(name), tensor).map_err(|reason| Error::tensor(name, reason))?);
        }
    }
    Ok((written, large))
}

fn set_imports(imports: &mut Vec<OperatorSetIdProto>, graph: &Graph) {
    let mut wanted: BTreeMap<String, i64> =
        graph.nodes().map(|(_, node)| (canonical_domain(node.operator.domain()).to_string(), 1)).collect();
    wanted.insert(String::new(), graph.opset);
    for import in imports.iter_mut() {
        let domain = canonical_domain(import.domain.as_deref().unwrap_or_default());
        wanted.remove(domain);
        if domain.is_empty() {
            import.version = Some(graph.opset);
        }
    }
    imports.extend(wanted.into_iter().map(|(domain, version)| OperatorSetIdProto { domain: Some(domain), version: Some(version) }));
}

/// The inputs as the file described them, with the sizes that the graph was made for. Initializers are none of them: no IR version
/// that is written asks for that.
fn write_inputs(graph: &Graph, original: &[ValueInfoProto]) -> Vec<ValueInfoProto> {
    let mut inputs: HashMap<&str, ValueId> = graph.inputs.iter().map(|id| (graph.value(*id).name.as_str(), *id)).collect();
    let described = |info: &ValueInfoProto| {
        let value = graph.value(inputs.remove(info.name.as_deref().unwrap_or_default())?);
        Some(value_info::sized(value_info::patched(info, value.data_type), value))
    };
    let mut infos: Vec<ValueInfoProto> = original.iter().filter_map(described).collect();
    let added = graph.inputs.iter().filter(|id| inputs.contains_key(graph.value(**id).name.as_str()));
    infos.extend(added.map(|id| value_info::write(graph.value(*id))));
    infos
}

fn became_known(before: &ValueInfoProto, after: &ValueInfoProto) -> bool {
    before.name == after.name && value_info::sizes(before) != value_info::sizes(after)
}

/// Sizes that follow from those of inputs are told where inputs have other ones than the file says.
fn write_outputs(graph: &Graph, original: &[ValueInfoProto], is_bound: bool) -> Vec<ValueInfoProto> {
    let by_name: HashMap<&str, &ValueInfoProto> = original.iter().filter_map(|info| Some((info.name.as_deref()?, info))).collect();
    let one = |id: &ValueId| {
        let value = graph.value(*id);
        let Some(info) = by_name.get(value.name.as_str()) else { return value_info::write(value) };
        let patched = value_info::patched(info, value.data_type);
        if is_bound { value_info::sized(patched, value) } else { patched }
    };
    graph.outputs.iter().map(one).collect()
}
