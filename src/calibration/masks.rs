//! Masks: pictures whose pixels are the numbers of classes.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::framing::{Framing, View};
use super::pictures::picture_size;
use crate::error::{Error, Result};
use crate::limits::{Limits, beyond};

/// The file with the class of each pixel of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    path: PathBuf,
    /// What of it a sample shows.
    view: View,
    limits: Limits,
}

/// The masks of `pictures`: PNG files of the same names, but for what follows the dot, and of the same sizes in `folder`.
///
/// # Errors
/// Names the picture without one, or the mask that does not fit.
pub fn find_masks(folder: &Path, pictures: &[PathBuf], framing: &Framing, limits: &Limits) -> Result<Vec<Mask>> {
    let find = |picture: &PathBuf| {
        let path = folder.join(picture.file_stem().unwrap_or_default()).with_extension("png");
        if !path.is_file() {
            return Err(Error::file(&path, format!("is not there: it is the mask of {}", picture.display())));
        }
        let (size, of_picture) = (picture_size(&path)?, picture_size(picture)?);
        if size != of_picture {
            let told = |(height, width): (u32, u32)| format!("{height}x{width}");
            return Err(Error::file(&path, format!("is {}, but its picture is {}", told(size), told(of_picture))));
        }
        Ok(Mask { view: framing.view(size.0, size.1), path, limits: *limits })
    };
    pictures.iter().map(find).collect()
}

impl Mask {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number under the middle of each pixel of an output of `height` by `width`.
    ///
    /// # Errors
    /// If the file is no grey PNG or one with a palette.
    pub fn numbers(&self, height: usize, width: usize) -> Result<Vec<u32>> {
        let (all, columns) = self.read().map_err(|reason| Error::file(&self.path, reason))?;
        let View { top, left, height: tall, width: wide } = self.view;
        let place = |start: f64, length: f64, index: usize, of: usize, most: usize| {
            ((start + length * (index as f64 + 0.5) / of as f64).max(0.0) as usize).min(most.saturating_sub(1))
        };
        let rows = all.len() / columns.max(1);
        let number =
            |row: usize, column: usize| all[place(top, tall, row, height, rows) * columns + place(left, wide, column, width, columns)];
        Ok((0..height).flat_map(|row| (0..width).map(move |column| (row, column))).map(|(row, column)| number(row, column)).collect())
    }

    /// All numbers, row by row, and how many stand in a row.
    fn read(&self) -> Result<(Vec<u32>, usize), String> {
        let file = File::open(&self.path).map_err(|error| error.to_string())?;
        let mut decoder = Decoder::new(BufReader::new(file));
        decoder.set_transformations(Transformations::IDENTITY);
        let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
        let (width, height) = reader.info().size();
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.limits.picture_pixels {
            return Err(format!("has {pixels} pixels, {}", beyond("picture-pixels", self.limits.picture_pixels)));
        }
        let (color, depth) = reader.output_color_type();
        if !matches!(color, ColorType::Grayscale | ColorType::Indexed) {
            return Err("is a picture in colours; a mask is grey or has a palette, with the number of a class at each pixel".into());
        }
        let mut bytes = vec![0; reader.output_buffer_size().ok_or("is too large")?];
        let row = reader.next_frame(&mut bytes).map_err(|error| error.to_string())?.line_size;
        let rows = bytes.chunks_exact(row.max(1)).take(height as usize);
        Ok((rows.flat_map(|row| unpack(row, depth, width as usize)).collect(), width as usize))
    }
}

/// The numbers of a row of pixels that take less than a byte, one, or two.
fn unpack(row: &[u8], depth: BitDepth, width: usize) -> Vec<u32> {
    let bits = depth as usize;
    if bits == 16 {
        return row.as_chunks().0.iter().map(|bytes| u32::from(u16::from_be_bytes(*bytes))).collect();
    }
    let number = |column: usize| {
        let bit = column * bits;
        u32::from(row[bit / 8] >> (8 - bits - bit % 8)) & ((1 << bits) - 1)
    };
    (0..width).map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::super::framing::Resize;
    use super::*;

    /// A PNG of 4 × 2 pixels with these bytes.
    fn write(path: &Path, color: ColorType, depth: BitDepth, bytes: &[u8]) {
        let mut encoder = png::Encoder::new(File::create(path).unwrap(), 4, 2);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            encoder.set_palette(vec![0; 3 * 16]);
        }
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    }

    fn numbers(path: &Path, framing: &Framing, size: (usize, usize)) -> Result<Vec<u32>> {
        let picture = path.with_file_name("a.jpg");
        image::RgbImage::new(4, 2).save(&picture).unwrap();
        find_masks(path.parent().unwrap(), &[picture], framing, &Limits::default())?[0].numbers(size.0, size.1)
    }

    #[test]
    fn numbers_are_those_of_grey_pixels_and_of_places_in_a_palette() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.png");
        let read = |color, depth, bytes: &[u8]| {
            write(&path, color, depth, bytes);
            numbers(&path, &Framing::default(), (2, 4)).unwrap()
        };
        let all = [0, 1, 2, 3, 3, 2, 1, 0];
        assert_eq!(read(ColorType::Grayscale, BitDepth::Eight, &all.map(|n| n as u8)), all);
        assert_eq!(read(ColorType::Indexed, BitDepth::Two, &[0b00_01_10_11, 0b11_10_01_00]), all);
        assert_eq!(read(ColorType::Indexed, BitDepth::Four, &[0x01, 0x23, 0x32, 0x10]), all);
        assert_eq!(read(ColorType::Grayscale, BitDepth::Sixteen, &all.map(|n| [1, n as u8]).concat()), all.map(|n| n + 256));
    }

    #[test]
    fn a_mask_is_framed_as_its_picture() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.png");
        write(&path, ColorType::Grayscale, BitDepth::Eight, &[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(numbers(&path, &Framing::default(), (1, 2)).unwrap(), [5, 7]);
        let middle = Framing { resize: Some(Resize::Shorter(4)), crop: Some((4, 4)), ..Framing::default() };
        assert_eq!(numbers(&path, &middle, (2, 2)).unwrap(), [1, 2, 5, 6]);
    }

    #[test]
    fn what_is_no_mask_is_refused_by_name() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.png");
        let says = |path: &Path| numbers(path, &Framing::default(), (2, 4)).unwrap_err().to_string();
        assert!(says(&path).contains("a.png: is not there"));
        write(&path, ColorType::Rgb, BitDepth::Eight, &[0; 24]);
        assert!(says(&path).contains("in colours"), "{}", says(&path));
        image::GrayImage::new(3, 3).save(&path).unwrap();
        assert!(says(&path).contains("is 3x3, but its picture is 2x4"), "{}", says(&path));
    }
}
