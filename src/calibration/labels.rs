//! The class of each sample.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::array::{ArrayFile, Numbers};
use super::classes::class_folders;
use super::numpy::Npz;
use super::pictures::list_pictures;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The array of a `.npz` that holds labels.
pub const LABELS: &str = "labels";

/// The classes of the samples of `read_set`, in their order: those of the folders that pictures lie in, or the array `labels`
/// of a `.npz`; `None` where there are neither. A folder is the class of its place among `names`, else that of its number if
/// all folders are numbers, else that of its place in alphabetical order.
///
/// # Errors
/// If a folder has no class, or the array no whole numbers.
pub fn read_labels(path: &Path, names: Option<&[String]>, limits: &Limits) -> Result<Option<Vec<u32>>> {
    if path.is_dir() {
        let folders = class_folders(path);
        return if folders.is_empty() { Ok(None) } else { of_folders(path, &folders, names).map(Some) };
    }
    if path.extension().is_none_or(|extension| extension != "npz") {
        return Ok(None);
    }
    let file = File::open(path).map_err(|error| Error::file(path, error))?;
    of_array(BufReader::new(file), limits).map_err(|reason| Error::file(path, reason))
}

fn of_folders(path: &Path, folders: &[std::path::PathBuf], names: Option<&[String]>) -> Result<Vec<u32>> {
    let called: Vec<String> = folders.iter().map(|folder| folder.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
    let numbers: Option<Vec<u32>> = called.iter().map(|name| name.parse().ok()).collect();
    let classes: Vec<u32> = match (names, numbers) {
        (Some(names), _) => {
            let place = |name: &String| names.iter().position(|known| known == name).map(|place| place as u32);
            let missing: Vec<&str> = called.iter().filter(|name| place(name).is_none()).map(String::as_str).collect();
            if !missing.is_empty() {
                return Err(Error::file(path, format!("--classes does not name the folders {}", missing.join(", "))));
            }
            called.iter().filter_map(place).collect()
        }
        (None, Some(numbers)) => numbers,
        (None, None) => (0..folders.len() as u32).collect(),
    };
    if classes.iter().collect::<HashSet<_>>().len() < classes.len() {
        return Err(Error::file(path, "two of its folders are the same class"));
    }
    let mut labels = Vec::new();
    for (folder, class) in folders.iter().zip(classes) {
        labels.extend(std::iter::repeat_n(class, list_pictures(folder)?.0.len()));
    }
    Ok(labels)
}

fn of_array(file: BufReader<File>, limits: &Limits) -> Result<Option<Vec<u32>>, String> {
    let mut archive = Npz::new(file, limits.data_bytes)?;
    let Some(index) = archive.arrays().iter().position(|(name, _)| name == LABELS) else { return Ok(None) };
    let array = archive.arrays()[index].1.clone();
    if array.shape.len() != 1 {
        return Err(format!("array `{LABELS}` has the shape {:?}; one number for each sample is needed", array.shape));
    }
    let mut numbers = Numbers::of(&array, archive.open(index)?);
    let mut labels = Vec::new();
    for _ in 0..array.shape[0] {
        let mut number = [0.0f32];
        numbers.read(&mut number)?;
        if number[0].fract() != 0.0 || !(0.0..16_777_216.0).contains(&number[0]) {
            return Err(format!("array `{LABELS}` has the element {}, which is no class", number[0]));
        }
        labels.push(number[0] as u32);
    }
    Ok(Some(labels))
}
