//! A model as read from a file: its graph, and what the file says beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::messages::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto};
use super::{header, value_info};
use crate::graph::Graph;
use crate::ops::Operator;

/// A network with everything that its file says beside it.
#[derive(Clone, Debug)]
pub struct Model {
    pub graph: Graph,
    /// The original message without nodes, initializers and inner value descriptions.
    pub(super) shell: ModelProto,
    /// Nodes that are written back as they came, by name.
    pub(super) foreign: BTreeMap<String, NodeProto>,
    /// What the user must hear of.
    pub warnings: Vec<String>,
    /// What was repaired or raised, worth one line.
    pub notes: Vec<String>,
    /// Where the model was read from; empty for a model that was built in memory.
    pub path: PathBuf,
    /// Other files that hold tensors of the model.
    pub external_files: Vec<PathBuf>,
    /// SHA-256 of the model file, in hexadecimal digits.
    pub sha256: String,
    /// Bytes of the model file and of its tensors in other files.
    pub file_bytes: u64,
    /// Version of the default operator set in the file; [`Model::output_opset`] is the one that is written.
    pub opset: i64,
    pub ir_version: i64,
    /// How many samples the file takes at once, where its graph was opened to take any number.
    pub fixed_batch: Option<usize>,
}

impl Model {
    /// A model around a graph that was built in memory.
    pub fn from_graph(graph: Graph) -> Self {
        let opset = graph.opset;
        let ir_version = header::least_ir_version(opset);
        let import = OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) };
        let shell = ModelProto {
            ir_version: Some(ir_version),
            opset_import: vec![import],
            graph: Some(GraphProto { name: Some(graph.name.clone()), ..Default::default() }),
            ..Default::default()
        };
        Model {
            graph,
            shell,
            foreign: BTreeMap::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            path: PathBuf::new(),
            external_files: Vec::new(),
            sha256: String::new(),
            file_bytes: 0,
            opset,
            ir_version,
            fixed_batch: None,
        }
    }

    /// The same file's model with another graph.
    pub fn with_graph(&self, graph: Graph) -> Self {
        Model { graph, ..self.clone() }
    }

    /// Declares the sizes of inputs and outputs as the graph has them, where the file left them open.
    pub fn declare_sizes(&mut self) {
        let Some(proto) = &mut self.shell.graph else { return };
        for info in proto.input.iter_mut().chain(&mut proto.output) {
            let value = info.name.as_deref().and_then(|name| self.graph.find_value(name)).map(|id| self.graph.value(id));
            if let Some(value) = value.filter(|value| value.shape.is_some()) {
                *info = value_info::write(value);
            }
        }
    }

    /// Version of the default operator set that is written: the file's own, or 17 where that is below 13.
    pub fn output_opset(&self) -> i64 {
        self.graph.opset
    }

    /// The program that wrote the file, with its version, where the file says so.
    pub fn producer(&self) -> String {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{} {}", part(&self.shell.producer_name), part(&self.shell.producer_version)).trim().to_string()
    }

    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.shell.metadata_props.iter().find(|entry| entry.key.as_deref() == Some(key)).and_then(|entry| entry.value.as_deref())
    }

    /// All entries of the model's metadata whose keys start with `prefix`.
    pub fn metadata_of(&self, prefix: &str) -> BTreeMap<String, String> {
        let entries = self.shell.metadata_props.iter().filter_map(|entry| entry.key.clone().zip(entry.value.clone()));
        entries.filter(|(key, _)| key.starts_with(prefix)).collect()
    }

    /// Sets one entry of the model's metadata; the others stay.
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        let entry = StringStringEntryProto { key: Some(key.to_string()), value: Some(value.to_string()) };
        match self.shell.metadata_props.iter_mut().find(|entry| entry.key.as_deref() == Some(key)) {
            Some(former) => *former = entry,
            None => self.shell.metadata_props.push(entry),
        }
    }

    /// Whether the model has operators that only quantized models have.
    pub fn is_already_quantized(&self) -> bool {
        !self.quantized_nodes().is_empty()
    }

    /// Nodes that only quantized models have, as `` `name` (Operator) ``.
    pub fn quantized_nodes(&self) -> Vec<String> {
        let nodes = self.graph.nodes().filter(|(_, node)| quantizes(node.operator.as_ref()));
        nodes.map(|(_, node)| format!("`{}` ({})", node.name, node.operator.name())).collect()
    }
}

fn quantizes(operator: &dyn Operator) -> bool {
    const NAMES: [&str; 8] = [
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "Quant",
        "BipolarQuant",
        "DynamicQuantizeMatMul",
    ];
    NAMES.contains(&operator.name()) || operator.name().starts_with("QLinear") || operator.name().starts_with("QGemm")
}
