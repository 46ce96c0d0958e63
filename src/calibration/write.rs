//! Sets into a folder: one exact file, and pictures that one can look at.

use std::collections::HashMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use super::pictures::{Bounds, PictureShape, encode_pictures, measured_bounds};
use super::set::{CalibrationSet, Provenance, Samples};
use super::workplace::{Workplace, remove_stale};
use crate::error::{Error, Result};

/// Name of the exact file in a folder that [`write_set`] made.
pub const SET_FILE: &str = "set.safetensors";
/// The one metadata entry: more would stand in no fixed order.
pub(super) const METADATA: &str = "zeroq";

/// Bytes that the header of a safetensors file is a multiple of.
const ALIGNMENT: usize = 8;

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
    remove_stale(&parent);
    let workplace = Workplace::new(&parent).map_err(fail)?;
    write_files(set, bounds, workplace.fresh())?;
    workplace.put_in_place(folder).map_err(fail)
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

pub(super) fn is_ours(name: &str) -> bool {
    name == SET_FILE || (name.starts_with("picture-") && name.ends_with(".png"))
}

fn parent_of(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Writes the files of a set one after another: no more than a few samples are in memory.
fn write_files(set: &CalibrationSet, bounds: &[Option<Bounds>], folder: &Path) -> Result<()> {
    write_exact(set, &folder.join(SET_FILE))?;
    for (index, input) in set.inputs.iter().enumerate() {
        let Some(shape) = PictureShape::of(&input.shape) else { continue };
        let known = bounds.get(index).cloned().flatten().filter(|bounds| [1, shape.channels].contains(&bounds.len()));
        let bounds = known.map_or_else(|| measured_bounds(input), Ok)?;
        let prefix = if set.inputs.len() == 1 { String::new() } else { format!("input{index}-") };
        encode_pictures(input, shape, &bounds, &mut |sample, png| {
            let path = folder.join(format!("picture-{prefix}{sample:04}.png"));
            fs::write(&path, png).map_err(|error| Error::file(path, error))
        })?;
    }
    Ok(())
}

/// Writes the set as one safetensors file: a tensor `[N, …]` for each input, the description as metadata.
fn write_exact(set: &CalibrationSet, path: &Path) -> Result<()> {
    let header = header(set).map_err(|reason| Error::Data(format!("the set cannot be written: {reason}")))?;
    let fail = |error: std::io::Error| Error::file(path, error);
    let mut file = BufWriter::new(fs::File::create(path).map_err(fail)?);
    file.write_all(&header).map_err(fail)?;
    for input in in_file_order(set) {
        for index in 0..input.elements.len() {
            let bytes: Vec<u8> = input.sample(index)?.iter().flat_map(|x| x.to_le_bytes()).collect();
            file.write_all(&bytes).map_err(fail)?;
        }
    }
    file.into_inner().map_err(|error| fail(error.into_error()))?.sync_all().map_err(fail)
}

fn in_file_order(set: &CalibrationSet) -> Vec<&Samples> {
    let mut inputs: Vec<&Samples> = set.inputs.iter().collect();
    inputs.sort_by_key(|input| &input.name);
    inputs
}

/// What stands before the numbers of a safetensors file.
fn header(set: &CalibrationSet) -> Result<Vec<u8>, String> {
    let inputs = set.inputs.iter().map(|input| DescribedInput { name: input.name.clone(), shape: input.shape.clone() }).collect();
    let description = Description { schema: 1, provenance: set.provenance.clone(), inputs };
    let description = serde_json::to_string(&description).map_err(|error| error.to_string())?;
    let mut end = 0;
    let tensors = in_file_order(set).into_iter().map(|input| {
        let start = end;
        end += input.elements.len() * input.sample_len() * size_of::<f32>();
        (input.name.clone(), TensorInfo { dtype: Dtype::F32, shape: stacked_shape(input), data_offsets: (start, end) })
    });
    let metadata = Metadata::new(Some(HashMap::from([(METADATA.to_string(), description)])), tensors.collect());
    let metadata = metadata.map_err(|error| error.to_string())?;
    let mut text = serde_json::to_string(&metadata).map_err(|error| error.to_string())?.into_bytes();
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
    Ok([&(text.len() as u64).to_le_bytes(), text.as_slice()].concat())
}

fn stacked_shape(input: &Samples) -> Vec<usize> {
    let count = input.elements.len();
    match input.shape.split_first() {
        Some((batch, rest)) => [&[count * batch], rest].concat(),
        None => vec![count],
    }
}
