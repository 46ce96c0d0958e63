//! Sets into a folder: one exact file, and pictures that one can look at.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::pictures::{Bounds, PictureShape, encode_pictures, measured_bounds};
use super::set::{CalibrationSet, Provenance, Samples};
use crate::error::{Error, Result};

/// Name of the exact file in a folder that [`write_set`] made.
pub const SET_FILE: &str = "set.safetensors";
/// The one metadata entry: more would stand in no fixed order.
pub(super) const METADATA: &str = "zeroq";

/// What to do with a folder that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    /// Replace it, if it holds nothing but an earlier set.
    Replace,
}

/// What the exact file says of itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Description {
    pub schema: u32,
    pub provenance: Provenance,
    pub inputs: Vec<DescribedInput>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DescribedInput {
    pub name: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
}

/// Writes `set` as `set.safetensors` and PNG pictures of the inputs that can be shown. `bounds` holds, for each input of
/// the set, what pixels 0 and 255 stand for; `None` shows the range of the samples. The folder appears whole or not at all.
///
/// # Errors
/// If the folder is there and may not be replaced, or cannot be written.
pub fn write_set(set: &CalibrationSet, bounds: &[Option<Bounds>], folder: &Path, existing: Existing) -> Result<()> {
    check_folder(folder, existing)?;
    let parent = parent_of(folder);
    let fail = |error: std::io::Error| Error::file(folder, error);
    let workplace = tempfile::Builder::new().prefix(".zeroq-").tempdir_in(parent).map_err(fail)?;
    let fresh = workplace.path().join("new");
    fs::create_dir(&fresh).map_err(fail)?;
    for (name, bytes) in files_of(set, bounds)? {
        fs::write(fresh.join(name), bytes).map_err(fail)?;
    }
    swap(&fresh, folder, &workplace.path().join("old")).map_err(fail)
}

/// # Errors
/// If `folder` is there and may not be replaced: a check to make before the work begins.
pub fn check_folder(folder: &Path, existing: Existing) -> Result<()> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => check_parent(folder),
        Err(error) => Err(Error::file(folder, error)),
        Ok(metadata) if !metadata.is_dir() => Err(Error::file(folder, "exists and is not a folder")),
        Ok(_) => check_content(folder, existing),
    }
}

fn check_parent(folder: &Path) -> Result<()> {
    let parent = parent_of(folder);
    if parent.is_dir() { Ok(()) } else { Err(Error::file(parent, "there is no such folder to write into")) }
}

fn check_content(folder: &Path, existing: Existing) -> Result<()> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| Error::file(folder, error))?;
    if entries.is_empty() {
        return Ok(());
    }
    if existing == Existing::Refuse {
        return Err(Error::file(folder, "exists already; give --force to replace it"));
    }
    let foreign = entries.iter().map(fs::DirEntry::file_name).find(|name| !is_ours(&name.to_string_lossy()));
    match foreign {
        Some(name) => Err(Error::file(folder, format!("not replaced, as it holds other files, such as `{}`", name.to_string_lossy()))),
        None => Ok(()),
    }
}

fn is_ours(name: &str) -> bool {
    name == SET_FILE || (name.starts_with("picture-") && name.ends_with(".png"))
}

fn parent_of(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn swap(fresh: &Path, folder: &Path, old: &Path) -> std::io::Result<()> {
    if !folder.exists() {
        return fs::rename(fresh, folder);
    }
    fs::rename(folder, old)?;
    fs::rename(fresh, folder).inspect_err(|_| {
        let _ = fs::rename(old, folder);
    })
}

fn files_of(set: &CalibrationSet, bounds: &[Option<Bounds>]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = vec![(SET_FILE.to_string(), encode_set(set)?)];
    for (index, input) in set.inputs.iter().enumerate() {
        let Some(shape) = PictureShape::of(&input.shape) else { continue };
        let known = bounds.get(index).cloned().flatten().filter(|bounds| [1, shape.channels].contains(&bounds.len()));
        let bounds = known.unwrap_or_else(|| measured_bounds(input));
        let prefix = if set.inputs.len() == 1 { String::new() } else { format!("input{index}-") };
        let pictures = encode_pictures(input, shape, &bounds)?;
        files.extend(pictures.into_iter().enumerate().map(|(sample, png)| (format!("picture-{prefix}{sample:04}.png"), png)));
    }
    Ok(files)
}

/// The set as one safetensors file: a tensor `[N, …]` for each input, the description as metadata.
fn encode_set(set: &CalibrationSet) -> Result<Vec<u8>> {
    let fail = |error: &dyn std::fmt::Display| Error::Data(format!("the set cannot be written: {error}"));
    let inputs = set.inputs.iter().map(|input| DescribedInput { name: input.name.clone(), shape: input.shape.clone() }).collect();
    let description = Description { schema: 1, provenance: set.provenance.clone(), inputs };
    let description = serde_json::to_string(&description).map_err(|error| fail(&error))?;
    let bytes: Vec<Vec<u8>> = set.inputs.iter().map(|input| input.elements.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut tensors = Vec::with_capacity(bytes.len());
    for (input, bytes) in set.inputs.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, stacked_shape(input), bytes).map_err(|error| fail(&error))?;
        tensors.push((input.name.as_str(), view));
    }
    safetensors::serialize(tensors, Some(HashMap::from([(METADATA.to_string(), description)]))).map_err(|error| fail(&error))
}

fn stacked_shape(input: &Samples) -> Vec<usize> {
    let count = input.elements.len() / input.sample_len().max(1);
    match input.shape.split_first() {
        Some((batch, rest)) => [&[count * batch], rest].concat(),
        None => vec![count],
    }
}
