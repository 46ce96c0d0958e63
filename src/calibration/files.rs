//! Sets from a folder or a file, read without trust.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::numpy::{Array, read_npy, read_npz};
use super::pictures::{Bounds, PictureShape, bounds_of, list_pictures, read_pictures};
use super::set::{CalibrationSet, Provenance, Samples};
use super::write::{Description, METADATA, SET_FILE};
use crate::error::{Error, Result};
use crate::limits::{Limits, beyond};
use crate::memory;
use crate::progress::Progress;

/// Most numbers that one input may have over all samples.
const MAX_ELEMENTS: usize = 1 << 31;

/// An input that a set must fill.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedInput {
    pub name: String,
    /// Shape of one sample with its leading batch dimension.
    pub shape: Vec<usize>,
    /// What pixels 0 and 255 become in each channel; `None` where that is not known: pictures are refused then.
    pub bounds: Option<Bounds>,
}

impl ExpectedInput {
    fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }
}

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
    let (pictures, others) = list_pictures(folder)?;
    if others > 0 {
        progress.warn(&format!("{}: {others} entries that are no PNG or JPEG pictures are left out", folder.display()));
    }
    let bytes = 4 * (pictures.len() as u64).saturating_mul(input.sample_len() as u64);
    if bytes > limits.data_bytes {
        return fail(format!("its {} pictures have {bytes} bytes as samples, {}", pictures.len(), beyond("data-bytes", limits.data_bytes)));
    }
    let elements = read_pictures(&pictures, shape, bounds, limits)?;
    let samples = Samples { name: input.name.clone(), shape: input.shape.clone(), elements };
    Ok(CalibrationSet { inputs: vec![samples], provenance: from_files() })
}

fn from_files() -> Provenance {
    Provenance { source: "files".into(), version: env!("CARGO_PKG_VERSION").into(), ..Provenance::default() }
}

fn read_file(path: &Path, expected: &[ExpectedInput], limits: &Limits) -> Result<CalibrationSet> {
    let fail = |reason: String| Error::file(path, reason);
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    decode_set(extension, &read_bytes(path, limits)?, expected, limits).map_err(fail)
}

/// Samples for `expected` out of the bytes of a file with this extension: `safetensors`, `npy` or `npz`.
///
/// # Errors
/// Says what is wrong with the bytes, or which input they do not fit.
pub fn decode_set(extension: &str, bytes: &[u8], expected: &[ExpectedInput], limits: &Limits) -> Result<CalibrationSet, String> {
    let (arrays, provenance) = match extension {
        "npy" => (vec![(String::new(), read_npy(bytes)?)], from_files()),
        "npz" => (read_npz(bytes, limits.data_bytes)?, from_files()),
        "safetensors" => read_safetensors(bytes)?,
        _ => return Err("is not a folder, .safetensors, .npy or .npz".into()),
    };
    let inputs = match_inputs(arrays, expected)?;
    let count = inputs.first().map_or(0, |input| input.elements.len());
    if let Some(other) = inputs.iter().find(|input| input.elements.len() != count) {
        return Err(format!("input `{}` has another number of samples than `{}`", other.name, inputs[0].name));
    }
    if count == 0 {
        return Err("holds no samples".into());
    }
    Ok(CalibrationSet { inputs, provenance })
}

fn read_bytes(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(|error| Error::file(path, error))?;
    if !metadata.is_file() {
        return Err(Error::file(path, "is not a regular file"));
    }
    if metadata.len() > limits.data_bytes {
        return Err(Error::file(path, format!("has {} bytes, {}", metadata.len(), beyond("data-bytes", limits.data_bytes))));
    }
    memory::require(metadata.len(), &format!("reading {}", path.display()))?;
    fs::read(path).map_err(|error| Error::file(path, error))
}

fn read_safetensors(file: &[u8]) -> Result<(Vec<(String, Array)>, Provenance), String> {
    let wrong = |error: safetensors::SafeTensorError| format!("not a .safetensors file: {error}");
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(wrong)?;
    let description = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA));
    let provenance = match description {
        Some(text) => serde_json::from_str::<Description>(text).map_err(|error| format!("metadata: {error}"))?.provenance,
        None => from_files(),
    };
    let tensors = SafeTensors::deserialize(file).map_err(wrong)?;
    let mut names = tensors.names();
    names.sort_unstable();
    let arrays = names.into_iter().map(|name| {
        let tensor = tensors.tensor(name).map_err(wrong)?;
        Ok((name.to_string(), decode_tensor(&tensor).map_err(|reason| format!("tensor `{name}`: {reason}"))?))
    });
    Ok((arrays.collect::<Result<Vec<_>, String>>()?, provenance))
}

fn decode_tensor(tensor: &TensorView<'_>) -> Result<Array, String> {
    fn numbers<const SIZE: usize>(bytes: &[u8], convert: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<SIZE>().0.iter().map(|chunk| convert(*chunk)).collect()
    }
    let data = tensor.data();
    let elements = match tensor.dtype() {
        Dtype::F32 => numbers(data, f32::from_le_bytes),
        Dtype::F64 => numbers(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => numbers(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::U8 => numbers(data, |[byte]| f32::from(byte)),
        other => return Err(format!("elements of type {other} are not supported")),
    };
    Ok(Array { shape: tensor.shape().to_vec(), elements, bytes: tensor.dtype() == Dtype::U8 })
}

fn match_inputs(mut arrays: Vec<(String, Array)>, expected: &[ExpectedInput]) -> Result<Vec<Samples>, String> {
    if let ([(name, _)], [input]) = (arrays.as_mut_slice(), expected) {
        name.clone_from(&input.name);
    }
    let take = |input: &ExpectedInput| {
        let Some(at) = arrays.iter().position(|(name, _)| *name == input.name) else {
            let names: Vec<&str> = arrays.iter().map(|(name, _)| name.as_str()).collect();
            return Err(format!("has no array for input `{}`, only: {}", input.name, names.join(", ")));
        };
        fill(arrays.swap_remove(at).1, input).map_err(|reason| format!("input `{}`: {reason}", input.name))
    };
    expected.iter().map(take).collect()
}

fn fill(array: Array, input: &ExpectedInput) -> Result<Samples, String> {
    if !fits(&array.shape, &input.shape) {
        return Err(format!("samples of shape {:?} are wanted, but the array has {:?}", input.shape, array.shape));
    }
    if array.elements.len() > MAX_ELEMENTS {
        return Err("the array is too large".into());
    }
    if let Some(at) = array.elements.iter().position(|x| !x.is_finite()) {
        return Err(format!("element {at} is {}", array.elements[at]));
    }
    if array.bytes && input.bounds.is_none() && PictureShape::of(&input.shape).is_some() {
        return Err("the array holds bytes, but the value range of the input is not known; give --input-range".into());
    }
    let mut elements = array.elements;
    if let (true, Some(bounds)) = (array.bytes, &input.bounds) {
        map_pixels(&mut elements, &input.shape, bounds);
    }
    Samples::new(&input.name, input.shape.clone(), elements).map_err(|error| error.to_string())
}

/// Whether an array holds samples of shape `[B, …]`: as `[N·B, …]`, or as `[N, B, …]`.
fn fits(array: &[usize], sample: &[usize]) -> bool {
    if array.len() == sample.len() + 1 {
        return &array[1..] == sample;
    }
    match (array.split_first(), sample.split_first()) {
        (Some((count, rest)), Some((batch, sample_rest))) => rest == sample_rest && *batch > 0 && count % batch == 0,
        _ => false,
    }
}

fn map_pixels(elements: &mut [f32], shape: &[usize], bounds: &Bounds) {
    let channels_last = PictureShape::of(shape).is_some_and(|picture| picture.channels_last);
    let axis = if channels_last { shape.len() - 1 } else { 1 };
    let channels = shape.get(axis).copied().unwrap_or(1).max(1);
    if ![1, channels].contains(&bounds.len()) {
        return;
    }
    let area = shape.iter().skip(axis + 1).product::<usize>().max(1);
    for (index, plane) in elements.chunks_mut(area).enumerate() {
        let (low, high) = bounds_of(bounds, index % channels);
        plane.iter_mut().for_each(|x| *x = low + (high - low) * *x / 255.0);
    }
}

#[cfg(test)]
mod tests {
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
        let input =
            |input: &Samples| ExpectedInput { name: input.name.clone(), shape: input.shape.clone(), bounds: Some(vec![(-1.0, 1.0); 3]) };
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
        let input = |shape: &[usize]| ExpectedInput { name: "x".into(), shape: shape.to_vec(), bounds: None };
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
        let image = ExpectedInput { name: "x".into(), shape: vec![1, 3, 2, 2], bounds: Some(vec![(0.0, 1.0); 3]) };
        let error = read(&pictures, &[image]).unwrap_err().to_string();
        assert!(error.contains("broken.png"), "{error}");
    }

    #[test]
    fn bytes_are_pixels_in_either_layout() {
        let bounds = Some(vec![(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]);
        for (shape, want) in [([1, 3, 1, 2], [1.0, 0.0, 1.0, -1.0, 255.0, 0.0]), ([1, 2, 1, 3], [1.0, -1.0, 255.0, 0.0, 1.0, 0.0])] {
            let input = ExpectedInput { name: "x".into(), shape: shape.to_vec(), bounds: bounds.clone() };
            let elements = vec![255.0, 0.0, 255.0, 0.0, 255.0, 0.0];
            let filled = fill(Array { shape: shape.to_vec(), elements, bytes: true }, &input).unwrap();
            assert_eq!(*filled.sample(0).unwrap(), want, "{shape:?}");
            let unknown = ExpectedInput { bounds: None, ..input };
            assert!(fill(Array { shape: shape.to_vec(), elements: vec![0.0; 6], bytes: true }, &unknown).is_err());
        }
    }

    #[test]
    fn samples_fit_with_and_without_their_batch() {
        for (array, sample, want) in [
            (&[5, 3, 2, 2][..], &[1, 3, 2, 2][..], true),
            (&[5, 1, 3, 2, 2], &[1, 3, 2, 2], true),
            (&[6, 3], &[2, 3], true),
            (&[5, 3], &[2, 3], false),
            (&[3, 2, 2], &[1, 3, 2, 2], false),
            (&[5], &[], true),
            (&[], &[1], false),
        ] {
            assert_eq!(fits(array, sample), want, "{array:?} {sample:?}");
        }
    }
}
