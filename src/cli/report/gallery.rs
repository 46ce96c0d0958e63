//! Samples as pictures within a page.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use crate::calibration::{CalibrationSet, PictureShape, Samples, encode_small_picture};
use crate::cli::text;
use crate::error::Result;
use crate::synthesis::input::Input;

/// Pictures that are shown of each input.
const SHOWN: usize = 64;
/// Longest side of a picture that is shown, in pixels.
const LONGEST: u32 = 128;
/// Up to this size single pixels are shown as squares.
const COARSE: usize = 64;

/// The samples of one input.
#[derive(Serialize)]
pub struct Gallery {
    pub name: String,
    pub shape: String,
    pub range: String,
    pub samples: usize,
    /// `data:` addresses; none where the input is no picture.
    pub pictures: Vec<String>,
    pub coarse: bool,
}

/// One gallery for each input of `set`.
///
/// # Errors
/// If a sample cannot be read back.
pub fn galleries(set: &CalibrationSet, inputs: &[Input]) -> Result<Vec<Gallery>> {
    set.inputs.iter().zip(inputs).map(|(samples, input)| gallery(samples, input)).collect()
}

fn gallery(samples: &Samples, input: &Input) -> Result<Gallery> {
    let shape = PictureShape::of(&samples.shape);
    let picture = |index: usize, shape: PictureShape| {
        let png = encode_small_picture(&samples.sample(index)?, shape, &input.range.channels, LONGEST)?;
        Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png)))
    };
    let shown = 0..samples.elements.len().min(SHOWN);
    let (low, high) = input.range.hull();
    Ok(Gallery {
        name: samples.name.clone(),
        shape: text::shape(&samples.shape),
        range: format!("{} ({} to {})", input.range.name, text::brief(low.into()), text::brief(high.into())),
        samples: samples.elements.len(),
        pictures: shape.map_or(Ok(Vec::new()), |shape| shown.map(|index| picture(index, shape)).collect::<Result<_>>())?,
        coarse: shape.is_some_and(|shape| shape.height.max(shape.width) <= COARSE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Provenance;
    use crate::synthesis::input_range::PixelRange;

    #[test]
    fn few_samples_are_shown_and_none_that_are_no_pictures() {
        for (shape, count, shown) in [(&[1, 3, 8, 8][..], 100, SHOWN), (&[1, 1, 4, 4], 3, 3), (&[1, 10], 5, 0), (&[1, 2, 4, 4], 5, 0)] {
            let elements = vec![0.25; shape.iter().product::<usize>() * count];
            let samples = Samples::new("x", shape.to_vec(), elements).unwrap();
            let input = Input::new("x", shape.to_vec(), PixelRange::uniform("unit", 0.0, 1.0));
            let set = CalibrationSet { inputs: vec![samples], provenance: Provenance::default() };
            let found = galleries(&set, &[input]).unwrap();
            assert_eq!((found[0].pictures.len(), found[0].samples), (shown, count), "{shape:?}");
            assert!(found[0].pictures.iter().all(|picture| picture.starts_with("data:image/png;base64,iVBOR")));
        }
    }
}
