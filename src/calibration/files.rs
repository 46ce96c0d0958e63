//! Sets from a folder or a file, read without trust.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};

use super::array::ArrayFile;
use super::classes::class_folders;
use super::fill::{ExpectedInput, fill};
use super::labels::LABELS;
use super::numpy::{Npy, Npz};
use super::pictures::{PictureForm, PictureShape, list_pictures, read_pictures};
use super::set::{CalibrationSet, Provenance, Samples};
use super::tensor_file::TensorFile;
use super::write::{Description, SET_FILE};
use crate::error::{Error, Result};
use crate::limits::{Limits, beyond};
use crate::progress::Progress;

/// Bytes that are read from a file at once.
const READ_AT_ONCE: usize = 1 << 20;

/// Reads samples for `expected` from a folder that `write_set` made, a folder of PNG or JPEG pictures, a `.safetensors`,
/// a `.npy` or a `.npz`. Floats are taken as they are; bytes are pixels, mapped to the
/// input's bounds.
///
/// # Errors
/// Names the file, and the input that it does not fit.
pub fn read_set(path: &Path, expected: &[ExpectedInput], limits: &Limits, progress: &dyn Progress) -> Result<CalibrationSet> {
    let metadata = fs::metadata(path).map_err(|error| Error::file(path, error))?;
    if !metadata.is_dir() {
        return read_file(path, expected, limits);
    }
    let exact = path.join(SET_FILE);
    if exact.is_file() { read_file(&exact, expected, limits) } else { read_folder(path, expected, limits, progress) }
}

fn read_folder(folder: &Path, expected: &[ExpectedInput], limits: &Limits, progress: &dyn Progress) -> Result<CalibrationSet> {
    let fail = |reason: String| Err(Error::file(folder, reason));
    let [input] = expected else {
        return fail(format!("pictures fill one input, but the model has {}; save a .npz with one array for each", expected.len()));
    };
    let Some(shape) = PictureShape::of(&input.shape) else {
        return fail(format!("input `{}` of shape {:?} is no picture; save a .npy", input.name, input.shape));
    };
    let Some(bounds) = input.bounds.as_ref().filter(|bounds| [1, shape.channels].contains(&bounds.len())) else {
        return fail(format!("the value range of input `{}` is not known; give --input-range", input.name));
    };
    let (pictures, others) = pictures_of(folder)?;
    if others > 0 {
        progress.warn(&format!("{}: {others} entries that are no PNG or JPEG pictures are left out", folder.display()));
    }
    let bytes = 4 * (pictures.len() as u64).saturating_mul(input.sample_len() as u64);
    if bytes > limits.data_bytes {
        return fail(format!("its {} pictures have {bytes} bytes as samples, {}", pictures.len(), beyond("data-bytes", limits.data_bytes)));
    }
    let form = PictureForm { shape, bounds, framing: &input.framing };
    let elements = read_pictures(&pictures, form, limits)?;
    let samples = Samples { name: input.name.clone(), shape: input.shape.clone(), elements };
    Ok(CalibrationSet { inputs: vec![samples], provenance: from_files() })
}

/// The pictures that are the samples of [`read_set`], in their order; `None` where `path` holds a set or is a file.
///
/// # Errors
/// If the folder cannot be read.
pub fn sample_pictures(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let pictures = path.is_dir() && !path.join(SET_FILE).is_file();
    pictures.then(|| pictures_of(path).map(|(pictures, _)| pictures)).transpose()
}

/// The pictures of a folder, or of the folders of its classes, and how many other entries there are.
fn pictures_of(folder: &Path) -> Result<(Vec<PathBuf>, usize)> {
    let classes = class_folders(folder);
    if classes.is_empty() {
        return list_pictures(folder);
    }
    let (mut pictures, mut others) = (Vec::new(), 0);
    for class in classes {
        let (more, left_out) = list_pictures(&class)?;
        pictures.extend(more);
        others += left_out;
    }
    Ok((pictures, others))
}

fn from_files() -> Provenance {
    Provenance { source: "files".into(), version: env!("CARGO_PKG_VERSION").into(), ..Provenance::default() }
}

fn read_file(path: &Path, expected: &[ExpectedInput], limits: &Limits) -> Result<CalibrationSet> {
    let fail = |reason: String| Error::file(path, reason);
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    decode_set(extension, open(path, limits)?, expected, limits).map_err(fail)
}

/// Samples for `expected` out of a file with this extension: `safetensors`, `npy` or `npz`. Memory does not grow with its size.
///
/// # Errors
/// Says what is wrong with the file, or which input it does not fit.
pub fn decode_set(
    extension: &str,
    file: impl BufRead + Seek,
    expected: &[ExpectedInput],
    limits: &Limits,
) -> Result<CalibrationSet, String> {
    let (inputs, provenance) = match extension {
        "npy" => (match_inputs(&mut Npy::new(file)?, expected)?, from_files()),
        "npz" => (match_inputs(&mut Npz::new(file, limits.data_bytes)?, expected)?, from_files()),
        "safetensors" => {
            let mut file = TensorFile::new(file)?;
            (match_inputs(&mut file, expected)?, file.description.as_deref().map_or_else(|| Ok(from_files()), described)?)
        }
        _ => return Err("is not a folder, .safetensors, .npy or .npz".into()),
    };
    let count = inputs.first().map_or(0, |input| input.elements.len());
    if let Some(other) = inputs.iter().find(|input| input.elements.len() != count) {
        return Err(format!("input `{}` has another number of samples than `{}`", other.name, inputs[0].name));
    }
    if count == 0 {
        return Err("holds no samples".into());
    }
    Ok(CalibrationSet { inputs, provenance })
}

fn described(text: &str) -> Result<Provenance, String> {
    Ok(serde_json::from_str::<Description>(text).map_err(|error| format!("metadata: {error}"))?.provenance)
}

fn open(path: &Path, limits: &Limits) -> Result<BufReader<File>> {
    let fail = |error| Error::file(path, error);
    let metadata = fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() {
        return Err(Error::file(path, "is not a regular file"));
    }
    if metadata.len() > limits.data_bytes {
        return Err(Error::file(path, format!("has {} bytes, {}", metadata.len(), beyond("data-bytes", limits.data_bytes))));
    }
    Ok(BufReader::with_capacity(READ_AT_ONCE, File::open(path).map_err(fail)?))
}

fn match_inputs(file: &mut dyn ArrayFile, expected: &[ExpectedInput]) -> Result<Vec<Samples>, String> {
    let take = |input: &ExpectedInput| {
        let names: Vec<&str> = file.arrays().iter().map(|(name, _)| name.as_str()).collect();
        // One array beside labels can only mean one input, whatever it is called.
        let data = names.iter().filter(|name| **name != LABELS).count();
        let only = |name: &str| data == 1 && expected.len() == 1 && (name != LABELS || names.len() == 1);
        let Some(at) = names.iter().position(|name| only(name) || *name == input.name) else {
            return Err(format!("has no array for input `{}`, only: {}", input.name, names.join(", ")));
        };
        fill(file, at, input).map_err(|reason| format!("input `{}`: {reason}", input.name))
    };
    expected.iter().map(take).collect()
}

#[cfg(test)]
mod tests {
    use super::super::framing::Framing;
    use super::super::write::{Existing, write_set};
    use super::*;
    use crate::progress::Silent;

    fn read(path: &Path, expected: &[ExpectedInput]) -> Result<CalibrationSet> {
        read_set(path, expected, &Limits::default(), &Silent)
    }

    fn set() -> CalibrationSet {
        let elements = (0..2 * 3 * 4 * 5).map(|i| i as f32 / 60.0 - 1.0).collect();
        let provenance = Provenance { source: "synthesized".into(), seed: Some(7), version: "0".into(), ..Provenance::default() };
        CalibrationSet { inputs: vec![Samples::new("x\n\"y", vec![1, 3, 4, 5], elements).unwrap()], provenance }
    }

    fn numbers(set: &CalibrationSet) -> Vec<f32> {
        (0..set.len()).flat_map(|index| set.inputs[0].sample(index).unwrap().into_owned()).collect()
    }

    fn expected(set: &CalibrationSet) -> Vec<ExpectedInput> {
        let input = |input: &Samples| ExpectedInput {
            name: input.name.clone(),
            shape: input.shape.clone(),
            bounds: Some(vec![(-1.0, 1.0); 3]),
            framing: Framing::default(),
        };
        set.inputs.iter().map(input).collect()
    }

    #[test]
    fn reads_back_exactly_what_it_wrote() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        let set = set();
        for folder in [&one, &two] {
            write_set(&set, &[Some(vec![(-1.0, 1.0); 3])], folder, Existing::Refuse).unwrap();
            assert_eq!(read(folder, &expected(&set)).unwrap(), set);
        }
        for name in [SET_FILE, "picture-0000.png", "picture-0001.png"] {
            assert_eq!(fs::read(one.join(name)).unwrap(), fs::read(two.join(name)).unwrap(), "{name}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn pictures_come_back_within_half_a_step() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("set");
        let set = set();
        write_set(&set, &[Some(vec![(-1.0, 1.0); 3])], &folder, Existing::Refuse).unwrap();
        fs::remove_file(folder.join(SET_FILE)).unwrap();
        let read = read(&folder, &expected(&set)).unwrap();
        for (a, b) in numbers(&read).iter().zip(&numbers(&set)) {
            assert!((a - b).abs() <= 1.0 / 255.0 + 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn replaces_only_its_own_folders_and_only_when_told() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("set");
        let set = set();
        write_set(&set, &[None], &folder, Existing::Refuse).unwrap();
        assert!(write_set(&set, &[None], &folder, Existing::Refuse).unwrap_err().to_string().contains("--force"));
        write_set(&set, &[None], &folder, Existing::Replace).unwrap();
        fs::write(folder.join("thesis.txt"), "years of work").unwrap();
        assert!(write_set(&set, &[None], &folder, Existing::Replace).unwrap_err().to_string().contains("thesis.txt"));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_what_does_not_fit_and_names_the_file() {
        let place = tempfile::tempdir().unwrap();
        let input = |shape: &[usize]| ExpectedInput { name: "x".into(), shape: shape.to_vec(), bounds: None, framing: Framing::default() };
        let file = place.path().join("data.npy");
        fs::write(
            &file,
            b"\x93NUMPY\x01\x00\x3a\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1)}\n\x00\x00\x80\x3f\x00\x00\x80\x3f",
        )
        .unwrap();
        assert_eq!(read(&file, &[input(&[1, 1])]).unwrap().len(), 2);
        let error = read(&file, &[input(&[1, 3])]).unwrap_err().to_string();
        assert!(error.contains("data.npy") && error.contains("`x`") && error.contains("[1, 3]"), "{error}");
        for (name, bytes) in [("a.safetensors", &b"\xff\xff\xff\xff\xff\xff\xff\xffx"[..]), ("a.npz", b"zip"), ("a.pkl", b"")] {
            fs::write(place.path().join(name), bytes).unwrap();
            let error = read(&place.path().join(name), &[input(&[1, 1])]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let pictures = place.path().join("pictures");
        fs::create_dir(&pictures).unwrap();
        fs::write(pictures.join("broken.png"), b"not a picture").unwrap();
        let image =
            ExpectedInput { name: "x".into(), shape: vec![1, 3, 2, 2], bounds: Some(vec![(0.0, 1.0); 3]), framing: Framing::default() };
        let error = read(&pictures, &[image]).unwrap_err().to_string();
        assert!(error.contains("broken.png"), "{error}");
    }
}
