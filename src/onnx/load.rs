//! From a file to a [`Model`].

use std::fs::File;
use std::path::Path;

use prost::Message;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use super::count_messages::check_messages;
use super::external_data::{ExternalData, read_external_data};
use super::file_format::wrong_format;
use super::header::{Header, output_opset, read_header};
use super::inference_mode::set_inference_mode;
use super::inline_functions::inline_functions;
use super::messages::ModelProto;
use super::model::Model;
use super::part::{Left, OpenFile, Whole};
use super::read_graph::{GraphParts, read_graph};
use super::read_node;
use super::take_branches::{has_branches, known_conditions, take_branches};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::memory;
use crate::ops::Foreign;
use crate::passes::{flatten_softmax, unpack_sequences};

/// Nodes that one warning names.
const NAMED_AT_ONCE: usize = 8;

/// Reads the model at `path`, with tensors in other files of its folder.
///
/// # Errors
/// If the file is not an ONNX model, is larger than `limits`, contradicts itself, or needs what zeroq does not support;
/// then all refused nodes are named at once.
pub fn load(path: impl AsRef<Path>, limits: &Limits) -> Result<Model> {
    let path = path.as_ref();
    read_model(read_file(path, limits)?, path, limits)
}

fn read_file(path: &Path, limits: &Limits) -> Result<Whole> {
    let fail = |error: std::io::Error| Error::file(path, error);
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if metadata.is_dir() {
        return Err(Error::file(
            path,
            "this is a folder; name the .onnx file itself (a TensorFlow SavedModel must be converted with tf2onnx)",
        ));
    }
    if !metadata.is_file() {
        return Err(Error::file(path, "this is not a regular file"));
    }
    let file = File::open(path).and_then(|file| OpenFile::new(path, file)).map_err(fail)?;
    if file.size > limits.file_bytes {
        return Err(Error::file(
            path,
            format!("the file is larger than the limit of {} bytes (--limit file-bytes=N sets another)", limits.file_bytes),
        ));
    }
    memory::require(file.size, &format!("reading `{}`", path.display()))?;
    let bytes = file.part(0, file.size).read().map_err(fail)?;
    Ok(Whole { file: Some(file), bytes })
}

/// Reads a model that stands in memory; `path` is where it came from: external tensors are looked for beside it.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: impl Into<Bytes>, path: &Path, limits: &Limits) -> Result<Model> {
    read_model(Whole { file: None, bytes: bytes.into() }, path, limits)
}

fn read_model(whole: Whole, path: &Path, limits: &Limits) -> Result<Model> {
    let bytes = whole.bytes.clone();
    let (mut proto, mut warnings) = decode(bytes.clone(), path, limits)?;
    inline_functions(&mut proto, limits.nodes)?;
    let header = read_header(&proto)?;
    refuse_training(&proto)?;
    let ExternalData { bytes: external_bytes, files: external_files, left } =
        read_external_data(&mut proto, folder_of(path), whole, limits)?;
    let (sha256, file_bytes) = (hexadecimal(&Sha256::digest(&bytes)), bytes.len() as u64 + external_bytes);
    drop(bytes);
    warnings.extend(infer_only(&mut proto, header.opset));
    let GraphParts { mut graph, foreign, notes } = read_taken(&mut proto, &header, &left, limits)?;
    flatten_softmax(&mut graph)?;
    unpack_sequences(&mut graph)?;
    let mut model = Model {
        graph,
        shell: proto,
        foreign,
        warnings,
        notes,
        path: path.to_path_buf(),
        external_files,
        sha256,
        file_bytes,
        opset: header.opset,
        ir_version: header.ir_version,
        fixed_batch: None,
    };
    raise_opset(&mut model);
    warn_of_foreign_nodes(&mut model);
    Ok(model)
}

fn decode(bytes: Bytes, path: &Path, limits: &Limits) -> Result<(ModelProto, Vec<String>)> {
    if let Some(hint) = wrong_format(&bytes) {
        return Err(Error::file(path, hint));
    }
    check_messages(&bytes, limits).map_err(|reason| Error::file(path, reason))?;
    let length = bytes.len();
    let proto = ModelProto::decode(bytes).map_err(|error| Error::file(path, format!("not an ONNX model, or damaged: {error}")))?;
    if proto.graph.is_none() {
        return Err(Error::file(path, "not an ONNX model, or damaged: it has no graph"));
    }
    let again = proto.encoded_len();
    let warning = (again != length).then(|| {
        format!("written again the file would have {again} bytes instead of {length}: it has fields that zeroq does not know and does not keep, or is encoded in an unusual way")
    });
    Ok((proto, warning.into_iter().collect()))
}

/// Reads the graph, with the branches of If nodes in their place whose condition is known.
fn read_taken(proto: &mut ModelProto, header: &Header, left: &Left, limits: &Limits) -> Result<GraphParts> {
    let mut taken = 0;
    loop {
        let original = has_branches(proto).then(|| proto.clone());
        let mut parts = read_graph(proto, header, left, limits)?;
        if let Some(mut original) = original {
            let conditions = known_conditions(&original, &parts.graph);
            let more = take_branches(&mut original, &conditions);
            if more > 0 {
                taken += more;
                *proto = original;
                continue;
            }
        }
        if taken > 0 {
            parts.notes.push(format!("{taken} If nodes, whose condition is always the same, were replaced by the branch that runs"));
        }
        return Ok(parts);
    }
}

/// Turns layers that were exported as they train to inference, and says so.
fn infer_only(proto: &mut ModelProto, opset: i64) -> Option<String> {
    let turned = set_inference_mode(proto, opset);
    let shown = named(&turned);
    (!turned.is_empty()).then(|| {
        format!("these nodes were exported in training mode and are taken for inference, with the statistics that they hold: {shown}")
    })
}

/// The first of a list of nodes, and how many there are beyond.
fn named(nodes: &[String]) -> String {
    let more = nodes.len().saturating_sub(NAMED_AT_ONCE);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown: Vec<&str> = nodes.iter().take(NAMED_AT_ONCE).map(String::as_str).collect();
    format!("{}{more}", shown.join(", "))
}

fn refuse_training(proto: &ModelProto) -> Result<()> {
    if proto.training_info.is_empty() {
        return Ok(());
    }
    Err(Error::Unsupported(vec!["training_info: export the model for inference".to_string()]))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Bytes as digits, two for each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The graph is in the form of its output operator set already; says so, and names the nodes nobody could raise.
fn raise_opset(model: &mut Model) {
    let raised = output_opset(model.opset);
    if raised == model.opset {
        return;
    }
    model.notes.push(format!("operator set raised from {} to {raised}", model.opset));
    let default_domain = model.foreign.values().filter(|node| read_node::domain(node).is_empty());
    let left: Vec<String> = default_domain.map(read_node::describe).collect();
    if !left.is_empty() {
        let (old, nodes) = (model.opset, named(&left));
        model.warnings.push(format!("operator set raised to {raised}, but these nodes are kept as set {old} wrote them: {nodes}"));
    }
}

fn warn_of_foreign_nodes(model: &mut Model) {
    let nodes = model.graph.nodes().filter_map(|(_, node)| Some((&node.name, node.is::<Foreign>()?)));
    let lines: Vec<String> = nodes.map(|(name, foreign)| format!("`{name}` ({}): {}", foreign.op_type, foreign.reason)).collect();
    if !lines.is_empty() {
        model.warnings.push(format!("carried through as they are, in float, and never run: {}", named(&lines)));
    }
}
