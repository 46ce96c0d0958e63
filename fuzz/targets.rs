//! What is fuzzed: the ways in for bytes that nobody looked at. Nothing here may panic, or take memory or time out of
//! proportion to them.
#![allow(dead_code)] // Every binary takes one of these.

use std::io::Cursor;
use std::path::Path;

use zeroq::calibration::{ExpectedInput, Framing, PictureForm, PictureShape, decode_picture, decode_set};
use zeroq::limits::Limits;
use zeroq::onnx::{from_bytes, to_bytes};
use zeroq::passes::{prepare, simplify, single_sample};

/// A model: decoded, checked, inferred, folded, and written again.
pub fn model(bytes: &[u8]) {
    let Ok(mut model) = from_bytes(bytes.to_vec(), Path::new("model.onnx"), &Limits::default()) else { return };
    let _ = to_bytes(&model);
    if simplify(&mut model.graph).is_ok() {
        let _ = single_sample(&model.graph);
        let _ = prepare(&mut model.graph).and_then(|_| to_bytes(&model));
    }
}

/// A recipe file.
pub fn recipe(bytes: &[u8]) {
    let _ = std::str::from_utf8(bytes).map(zeroq::cli::check_recipe);
}

/// Calibration data: the first byte says what kind of file the others are.
pub fn data(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let (shape, bounds) = (vec![1, 3, 4, 4], vec![(0.0, 1.0)]);
    // Larger pictures only take long under a sanitizer.
    let limits = Limits { picture_pixels: 1 << 22, ..Limits::default() };
    match (["npy", "npz", "safetensors"].get(usize::from(*kind)), PictureShape::of(&shape)) {
        (None, Some(shape)) => {
            let form = PictureForm { shape, bounds: &bounds, framing: &Framing::default() };
            drop(decode_picture(Cursor::new(bytes), form, &limits));
        }
        (kind, _) => {
            let expected = ExpectedInput { name: "x".into(), shape, bounds: Some(bounds), framing: Framing::default() };
            let _ = decode_set(kind.copied().unwrap_or_default(), Cursor::new(bytes), &[expected], &limits);
        }
    }
}
