//! Tensors whose bytes stand in another file: small ones are brought into the model, large ones stay where they are until they
//! are read; never from outside the model's own folder.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::bytes::Bytes;

use super::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};
use super::part::{Left, OpenFile, Part, Whole, is_large};
use super::tensor_proto::{STRING, can_be_left, checked_shape, has_typed_data, raw_bytes};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::ops::Refusal;

/// Value of `data_location` of a tensor whose bytes stand in another file.
pub const EXTERNAL: i32 = 1;
const KEYS: [&str; 5] = ["location", "offset", "length", "checksum", "basepath"];

/// What was read beside the model's own file.
#[derive(Debug, Default)]
pub struct ExternalData {
    pub bytes: u64,
    pub files: Vec<PathBuf>,
    /// Large initializers; their messages have lost their data.
    pub left: Left,
}

/// Takes the data of large initializers of `model` out of their messages and brings all other external tensors inline.
/// Locations are relative to `folder`. Nothing in `model` shares memory with the file that `whole` has, afterwards.
///
/// # Errors
/// Names the tensor whose location leaves the folder, is a link, or does not hold what the tensor needs.
pub fn read_external_data(model: &mut ModelProto, folder: &Path, whole: Whole, limits: &Limits) -> Result<ExternalData> {
    let mut reader = Reader { folder, limits, whole, open: HashMap::new(), found: ExternalData::default() };
    if let Some(graph) = &mut model.graph {
        graph.initializer.iter_mut().try_for_each(|tensor| reader.leave(tensor).map_err(|reason| refuse(tensor, reason)))?;
        visit_graph(graph, &mut reader)?;
    }
    for node in model.functions.iter_mut().flat_map(|function| &mut function.node) {
        visit_node(node, &mut reader)?;
    }
    let mut found = reader.found;
    found.files = reader.open.into_values().map(|(file, _)| file.path.clone()).collect();
    found.files.sort();
    Ok(found)
}

fn visit_graph(graph: &mut GraphProto, reader: &mut Reader) -> Result<()> {
    graph.initializer.iter_mut().try_for_each(|tensor| reader.visit(tensor))?;
    graph.sparse_initializer.iter_mut().try_for_each(|tensor| visit_sparse(tensor, reader))?;
    graph.node.iter_mut().try_for_each(|node| visit_node(node, reader))
}

fn visit_node(node: &mut NodeProto, reader: &mut Reader) -> Result<()> {
    node.attribute.iter_mut().try_for_each(|attribute| visit_attribute(attribute, reader))
}

fn visit_attribute(attribute: &mut AttributeProto, reader: &mut Reader) -> Result<()> {
    attribute.t.iter_mut().try_for_each(|tensor| reader.visit(tensor))?;
    attribute.tensors.iter_mut().try_for_each(|tensor| reader.visit(tensor))?;
    attribute.g.iter_mut().try_for_each(|graph| visit_graph(graph, reader))?;
    attribute.graphs.iter_mut().try_for_each(|graph| visit_graph(graph, reader))?;
    attribute.sparse_tensor.iter_mut().try_for_each(|tensor| visit_sparse(tensor, reader))?;
    attribute.sparse_tensors.iter_mut().try_for_each(|tensor| visit_sparse(tensor, reader))
}

fn visit_sparse(tensor: &mut SparseTensorProto, reader: &mut Reader) -> Result<()> {
    tensor.values.iter_mut().chain(&mut tensor.indices).try_for_each(|tensor| reader.visit(tensor))
}

fn refuse(tensor: &TensorProto, reason: Refusal) -> Error {
    Error::tensor(tensor.name.clone().unwrap_or_default(), reason)
}

struct Reader<'a> {
    folder: &'a Path,
    limits: &'a Limits,
    whole: Whole,
    /// By location; with the SHA-1, where it was asked for.
    open: HashMap<String, (Arc<OpenFile>, Option<String>)>,
    found: ExternalData,
}

/// Where the bytes of one tensor lie.
#[derive(Debug, Default, PartialEq)]
struct Place {
    location: String,
    offset: u64,
    length: Option<u64>,
    /// SHA-1 of the whole file.
    checksum: Option<String>,
}

impl Reader<'_> {
    fn visit(&mut self, tensor: &mut TensorProto) -> Result<()> {
        self.bring_inline(tensor).map_err(|reason| refuse(tensor, reason))
    }

    /// Takes the data of a large initializer out of its message.
    fn leave(&mut self, tensor: &mut TensorProto) -> Result<(), Refusal> {
        let external = is_external(tensor)?;
        if !can_be_left(tensor) {
            return Ok(());
        }
        let part = match &tensor.raw_data {
            Some(raw) => self.whole.part(raw),
            None if external && is_large(wanted_bytes(tensor, self.limits)?) => Some(self.find(tensor)?),
            None => None,
        };
        if let Some(part) = part {
            tensor.raw_data = None;
            forget_place(tensor);
            self.found.left.insert(tensor.name.clone().unwrap_or_default(), part);
        }
        Ok(())
    }

    fn bring_inline(&mut self, tensor: &mut TensorProto) -> Result<(), Refusal> {
        if is_external(tensor)? {
            let part = self.find(tensor)?;
            tensor.raw_data = Some(part.read().map_err(|error| format!("its external file: {error}"))?);
            forget_place(tensor);
        } else if let (Some(_), Some(raw)) = (&self.whole.file, &mut tensor.raw_data) {
            *raw = Bytes::copy_from_slice(raw);
        }
        Ok(())
    }

    /// Where the bytes of an external tensor lie, of which there are as many as it needs.
    fn find(&mut self, tensor: &TensorProto) -> Result<Part, Refusal> {
        let (place, wanted) = (read_place(tensor)?, wanted_bytes(tensor, self.limits)?);
        let Place { location, offset, .. } = &place;
        let file = self.file(&place)?;
        let rest = file.size.checked_sub(*offset);
        let rest = rest.ok_or_else(|| format!("offset {offset} is behind the end of `{location}` ({} bytes)", file.size))?;
        let length = place.length.unwrap_or(rest);
        if length > rest {
            return Err(format!("offset {offset} + length {length} is behind the end of `{location}` ({} bytes)", file.size));
        }
        if length != wanted {
            return Err(format!("its dims and type need {wanted} bytes, but the external file has {length} for it"));
        }
        self.found.bytes = self.found.bytes.checked_add(length).filter(|total| *total <= self.limits.external_bytes).ok_or_else(|| {
            format!(
                "with it the external data is more than the limit of {} bytes (--limit external-bytes=N sets another)",
                self.limits.external_bytes
            )
        })?;
        Ok(file.part(*offset, length))
    }

    /// The file at `place`, once its checksum is what it should be.
    fn file(&mut self, place: &Place) -> Result<Arc<OpenFile>, Refusal> {
        let Place { location, checksum, .. } = place;
        if !self.open.contains_key(location) {
            self.open.insert(location.clone(), (open_contained(self.folder, location)?, None));
        }
        let (file, known) = self.open.get_mut(location).ok_or("external file is not open")?;
        if let Some(wanted) = checksum {
            let text = |error: std::io::Error| format!("external file `{location}`: {error}");
            let found = match known {
                Some(known) => known,
                None => known.insert(file.sha1().map_err(text)?),
            };
            if !found.eq_ignore_ascii_case(wanted) {
                let wanted = wanted.escape_debug();
                return Err(format!(
                    "external file `{location}` is not the one the model was written with: its SHA-1 is {found}, not {wanted}"
                ));
            }
        }
        Ok(file.clone())
    }
}

fn is_external(tensor: &TensorProto) -> Result<bool, Refusal> {
    if let Some(other) = tensor.data_location.filter(|location| ![0, EXTERNAL].contains(location)) {
        return Err(format!("data_location={other} is not one that ONNX defines"));
    }
    if tensor.data_location != Some(EXTERNAL) {
        let stray = !tensor.external_data.is_empty();
        return if stray { Err("it names an external file but is not marked as external".to_string()) } else { Ok(false) };
    }
    if tensor.raw_data.is_some() || has_typed_data(tensor) {
        return Err("its numbers stand in the model and in an external file at once".to_string());
    }
    Ok(true)
}

fn forget_place(tensor: &mut TensorProto) {
    tensor.external_data.clear();
    tensor.data_location = None;
}

fn wanted_bytes(tensor: &TensorProto, limits: &Limits) -> Result<u64, Refusal> {
    let code = tensor.data_type.unwrap_or(0);
    let (_, count) = checked_shape(&tensor.dims, limits.tensor_elements)?;
    if code == STRING {
        return Err("string tensors are not supported".to_string());
    }
    raw_bytes(code, count).ok_or_else(|| format!("data type {code} cannot be read from an external file"))
}

fn read_place(tensor: &TensorProto) -> Result<Place, Refusal> {
    let mut values: HashMap<&str, &str> = HashMap::new();
    for entry in &tensor.external_data {
        let key = entry.key.as_deref().unwrap_or_default();
        if !KEYS.contains(&key) {
            return Err(format!("external_data key `{key}` is not one that ONNX defines"));
        }
        if values.insert(key, entry.value.as_deref().unwrap_or_default()).is_some() {
            return Err(format!("external_data key `{key}` stands twice"));
        }
    }
    let number = |key: &str| match values.get(key) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("external_data {key}=`{text}` is not a size in bytes")),
    };
    let location = values.get("location").ok_or("external_data names no location")?.to_string();
    let checksum = values.get("checksum").map(ToString::to_string);
    Ok(Place { location, offset: number("offset")?.unwrap_or(0), length: number("length")?, checksum })
}

/// The parts of a location that stays below its folder.
fn contained_parts(location: &str) -> Result<Vec<&str>, Refusal> {
    let refuse =
        |why: &str| Err(format!("external location `{}` {why}; it must be a plain path below the model's folder", location.escape_debug()));
    let bytes = location.as_bytes();
    if location.is_empty() {
        return refuse("is empty");
    }
    if location.contains('\0') || location.contains('\\') {
        return refuse("has a NUL or a backslash");
    }
    if location.starts_with('/') || (bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':') {
        return refuse("is absolute");
    }
    let parts: Vec<&str> = location.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.iter().any(|part| part.ends_with('.') || part.ends_with(' ')) {
        return refuse("has `..`, or a name that ends in a dot or space");
    }
    if parts.is_empty() || location.ends_with('/') {
        return refuse("is a folder");
    }
    Ok(parts)
}

fn open_contained(folder: &Path, location: &str) -> Result<Arc<OpenFile>, Refusal> {
    let text = |error: std::io::Error| format!("external file `{location}`: {error}");
    let mut path = folder.to_path_buf();
    let mut seen = None;
    for part in contained_parts(location)? {
        path.push(part);
        let metadata = path.symlink_metadata().map_err(text)?;
        if metadata.file_type().is_symlink() {
            return Err(format!("external file `{location}` is reached through a symbolic link; copy the real file beside the model"));
        }
        seen = Some(metadata);
    }
    let seen = seen.filter(Metadata::is_file).ok_or_else(|| format!("external file `{location}` is not a regular file"))?;
    let file = File::open(&path).map_err(text)?;
    let opened = file.metadata().map_err(text)?;
    check_same_single_file(&seen, &opened).map_err(|why| format!("external file `{location}` {why}"))?;
    OpenFile::new(&path, file).map_err(text)
}

#[cfg(unix)]
fn check_same_single_file(seen: &Metadata, opened: &Metadata) -> Result<(), Refusal> {
    use std::os::unix::fs::MetadataExt;
    if (seen.dev(), seen.ino()) != (opened.dev(), opened.ino()) {
        return Err("was exchanged while it was opened".to_string());
    }
    if opened.nlink() != 1 {
        return Err("is a hard link to a file that has other names; copy it".to_string());
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_same_single_file(_seen: &Metadata, opened: &Metadata) -> Result<(), Refusal> {
    if opened.is_file() { Ok(()) } else { Err("is not a regular file".to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::StringStringEntryProto;

    fn external(dims: &[i64], entries: &[(&str, &str)]) -> ModelProto {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: Some(key.to_string()), value: Some(value.to_string()) };
        let tensor = TensorProto {
            name: Some("w".into()),
            dims: dims.to_vec(),
            data_type: Some(1),
            data_location: Some(EXTERNAL),
            external_data: entries.iter().map(entry).collect(),
            ..Default::default()
        };
        ModelProto { graph: Some(GraphProto { initializer: vec![tensor], ..Default::default() }), ..Default::default() }
    }

    fn nothing() -> Whole {
        Whole { file: None, bytes: Bytes::new() }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("w.bin"), [0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
        std::fs::write(folder.path().join("sub/w.bin"), [0; 4]).unwrap();
        folder
    }

    #[test]
    fn reads_files_below_the_folder() {
        let folder = folder();
        type Case<'a> = (&'a [i64], &'a [(&'a str, &'a str)], &'a [u8]);
        let cases: [Case; 4] = [
            (&[2], &[("location", "w.bin")], &[0, 0, 128, 63, 0, 0, 0, 64]),
            (&[1], &[("location", "./w.bin"), ("offset", "4")], &[0, 0, 0, 64]),
            (&[1], &[("location", "w.bin"), ("offset", "0"), ("length", "4"), ("basepath", "/etc")], &[0, 0, 128, 63]),
            (&[1], &[("location", "sub/w.bin"), ("checksum", "9069CA78E7450A285173431B3E52C5C25299E473")], &[0; 4]),
        ];
        for (dims, entries, wanted) in cases {
            let mut model = external(dims, entries);
            let found = read_external_data(&mut model, folder.path(), nothing(), &Limits::default()).unwrap();
            let tensor = &model.graph.unwrap().initializer[0];
            assert_eq!(tensor.raw_data.as_deref(), Some(wanted));
            assert_eq!((tensor.data_location, tensor.external_data.len(), found.bytes), (None, 0, wanted.len() as u64));
        }
    }

    #[test]
    fn refuses_locations_that_leave_the_folder_or_hold_something_else() {
        let folder = folder();
        let cases: [(&[(&str, &str)], &str); 20] = [
            (&[], "names no location"),
            (&[("location", "")], "is empty"),
            (&[("location", "/etc/passwd")], "is absolute"),
            (&[("location", "C:w.bin")], "is absolute"),
            (&[("location", "../w.bin")], "has `..`"),
            (&[("location", "sub/../../w.bin")], "has `..`"),
            (&[("location", "sub\\w.bin")], "backslash"),
            (&[("location", "w.bin\0")], "NUL"),
            (&[("location", "sub")], "not a regular file"),
            (&[("location", "sub/")], "is a folder"),
            (&[("location", "missing.bin")], "missing.bin"),
            (&[("location", "w.bin"), ("offset", "-1")], "not a size"),
            (&[("location", "w.bin"), ("offset", "9")], "behind the end"),
            (&[("location", "w.bin"), ("offset", "4"), ("length", "18446744073709551615")], "behind the end"),
            (&[("location", "w.bin"), ("length", "4")], "need 8 bytes"),
            (&[("location", "sub/w.bin")], "need 8 bytes"),
            (&[("location", "w.bin"), ("checksum", "9069ca78e7450a285173431b3e52c5c25299e473")], "its SHA-1 is"),
            (&[("location", "w.bin"), ("checksum", "")], "not the one the model was written with"),
            (&[("location", "w.bin"), ("__class__", "x")], "not one that ONNX defines"),
            (&[("location", "w.bin"), ("location", "w.bin")], "stands twice"),
        ];
        for (entries, wanted) in cases {
            let message =
                read_external_data(&mut external(&[2], entries), folder.path(), nothing(), &Limits::default()).unwrap_err().to_string();
            assert!(message.contains("`w`") && message.contains(wanted), "{message} should say {wanted}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn refuses_links() {
        let folder = folder();
        std::os::unix::fs::symlink("w.bin", folder.path().join("soft.bin")).unwrap();
        std::os::unix::fs::symlink("sub", folder.path().join("linked")).unwrap();
        std::fs::hard_link(folder.path().join("sub/w.bin"), folder.path().join("hard.bin")).unwrap();
        for (location, wanted) in [("soft.bin", "symbolic link"), ("linked/w.bin", "symbolic link"), ("hard.bin", "hard link")] {
            let mut model = external(&[1], &[("location", location), ("length", "4")]);
            let message = read_external_data(&mut model, folder.path(), nothing(), &Limits::default()).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message} should say {wanted}");
        }
    }

    #[test]
    fn limits_what_is_read_in_all() {
        let folder = folder();
        let limits = Limits { external_bytes: 7, ..Default::default() };
        let message =
            read_external_data(&mut external(&[2], &[("location", "w.bin")]), folder.path(), nothing(), &limits).unwrap_err().to_string();
        assert!(message.contains("limit of 7 bytes"), "{message}");
    }
}
