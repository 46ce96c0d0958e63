//! Pictures as samples and samples as pictures.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageEncoder, ImageError, ImageReader, ImageResult, Limits, RgbImage};
use rayon::prelude::*;

use super::elements::Elements;
use super::framing::{ChannelOrder, Framing};
use super::set::Samples;
use crate::error::{Error, Result};
use crate::limits;

/// Bytes of one pixel while a picture is decoded, at most: four channels of 16 bits.
const MAX_PIXEL: u64 = 8;

/// Pictures that are in memory together.
const AT_ONCE: usize = 64;

/// What pixels 0 and 255 become, for all channels (one entry) or for each.
pub type Bounds = Vec<(f32, f32)>;

/// The bounds of one channel.
pub(super) fn bounds_of(bounds: &Bounds, channel: usize) -> (f32, f32) {
    bounds[channel % bounds.len()]
}

/// Sizes of an input that pictures fit: `[1, C, H, W]` or else `[1, H, W, C]`, with one or three channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PictureShape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub channels_last: bool,
}

impl PictureShape {
    /// `None` where samples of `shape` are no pictures.
    pub fn of(shape: &[usize]) -> Option<Self> {
        match *shape {
            [_, _, height, width] if height == 0 || width == 0 => None,
            [1, channels @ (1 | 3), height, width] => Some(PictureShape { channels, height, width, channels_last: false }),
            [1, height, width, channels @ (1 | 3)] if height > 0 => Some(PictureShape { channels, height, width, channels_last: true }),
            _ => None,
        }
    }

    fn area(self) -> usize {
        self.height * self.width
    }

    /// Where the element of a channel stands in a sample.
    fn offset(self, position: usize, channel: usize) -> usize {
        if self.channels_last { position * self.channels + channel } else { channel * self.area() + position }
    }
}

/// How a picture becomes a sample.
#[derive(Clone, Copy, Debug)]
pub struct PictureForm<'a> {
    pub shape: PictureShape,
    pub bounds: &'a Bounds,
    pub framing: &'a Framing,
}

/// The pictures of `folder` by name, and how many other entries it has.
///
/// # Errors
/// If the folder cannot be read or holds no picture.
pub fn list_pictures(folder: &Path) -> Result<(Vec<PathBuf>, usize)> {
    let entries = fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
    let mut pictures: Vec<PathBuf> = paths.map_err(|error| Error::file(folder, error))?;
    let all = pictures.len();
    pictures.retain(|path| is_picture(path) && path.is_file());
    pictures.sort();
    if pictures.is_empty() {
        return Err(Error::file(folder, "holds no PNG or JPEG pictures and no set.safetensors"));
    }
    let others = all - pictures.len();
    Ok((pictures, others))
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    ["png", "jpg", "jpeg"].contains(&extension.as_str())
}

/// Elements of the pictures, one sample after another: resized to the input where they differ, each channel mapped from 0..=255 to
/// its bounds.
///
/// # Errors
/// Names the picture that cannot be decoded.
pub fn read_pictures(pictures: &[PathBuf], form: PictureForm<'_>, limits: &limits::Limits) -> Result<Elements> {
    let mut elements = Elements::zeros(form.shape.channels * form.shape.area(), pictures.len())?;
    for (group, paths) in pictures.chunks(AT_ONCE).enumerate() {
        let decoded: Vec<Result<Vec<f32>>> = paths.par_iter().map(|path| read_picture(path, form, limits)).collect();
        for (index, picture) in decoded.into_iter().enumerate() {
            elements.write(group * AT_ONCE + index, &picture?)?;
        }
    }
    Ok(elements)
}

/// Height and width of a picture, without decoding it.
///
/// # Errors
/// If it is none.
pub fn picture_size(path: &Path) -> Result<(u32, u32)> {
    let mut file = BufReader::new(fs::File::open(path).map_err(|error| Error::file(path, error))?);
    let (width, height) = open(&mut file).and_then(ImageReader::into_dimensions).map_err(|error| Error::file(path, error))?;
    Ok((height, width))
}

fn read_picture(path: &Path, form: PictureForm<'_>, limits: &limits::Limits) -> Result<Vec<f32>> {
    let file = fs::File::open(path).map_err(|error| Error::file(path, error))?;
    decode_picture(BufReader::new(file), form, limits).map_err(|reason| Error::file(path, reason))
}

/// A PNG or JPEG picture as one sample.
///
/// # Errors
/// If it is none, larger than `limits`, or has another size than its framing is for.
pub fn decode_picture(mut file: impl BufRead + Seek, form: PictureForm<'_>, limits: &limits::Limits) -> Result<Vec<f32>, String> {
    let text = |error: ImageError| error.to_string();
    let (width, height) = open(&mut file).and_then(ImageReader::into_dimensions).map_err(text)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.picture_pixels {
        return Err(format!("has {pixels} pixels, {}", limits::beyond("picture-pixels", limits.picture_pixels)));
    }
    let mut reader = open(&mut file).map_err(text)?;
    let mut of_decoder = Limits::default();
    of_decoder.max_alloc = Some(limits.picture_pixels.saturating_mul(MAX_PIXEL));
    reader.limits(of_decoder);
    to_sample(reader.decode().map_err(text)?, form)
}

fn open<R: BufRead + Seek>(file: &mut R) -> ImageResult<ImageReader<&mut R>> {
    file.rewind()?;
    Ok(ImageReader::new(file).with_guessed_format()?)
}

fn to_sample(picture: DynamicImage, form: PictureForm<'_>) -> Result<Vec<f32>, String> {
    let PictureForm { shape, bounds, framing } = form;
    let picture = framing.apply(picture, shape)?;
    let mut pixels = if shape.channels == 1 { picture.to_luma8().into_raw() } else { picture.to_rgb8().into_raw() };
    if framing.order == ChannelOrder::Bgr {
        pixels.chunks_exact_mut(shape.channels).for_each(<[u8]>::reverse);
    }
    Ok(normalize(&pixels, shape, bounds))
}

/// `[H, W, C]` bytes to numbers in the layout of the input.
fn normalize(pixels: &[u8], shape: PictureShape, bounds: &Bounds) -> Vec<f32> {
    let mut elements = vec![0.0; pixels.len()];
    for (position, pixel) in pixels.chunks_exact(shape.channels).enumerate() {
        for (channel, value) in pixel.iter().enumerate() {
            let (low, high) = bounds_of(bounds, channel);
            elements[shape.offset(position, channel)] = low + (high - low) * f32::from(*value) / 255.0;
        }
    }
    elements
}

/// Gives `write` the samples of one input as PNG files, in order. The same samples give the same bytes.
///
/// # Errors
/// If a picture cannot be encoded or written.
pub fn encode_pictures(
    samples: &Samples,
    shape: PictureShape,
    bounds: &Bounds,
    write: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    let indices: Vec<usize> = (0..samples.elements.len()).collect();
    for group in indices.chunks(AT_ONCE) {
        let encode = |index: &usize| encode_picture(&samples.sample(*index)?, shape, bounds);
        let encoded: Vec<Result<Vec<u8>>> = group.par_iter().map(encode).collect();
        group.iter().zip(encoded).try_for_each(|(index, png)| write(*index, &png?))?;
    }
    Ok(())
}

fn encode_picture(sample: &[f32], shape: PictureShape, bounds: &Bounds) -> Result<Vec<u8>> {
    encode(&to_pixels(sample, shape, bounds), shape.channels, (shape.width as u32, shape.height as u32))
}

/// A sample as a PNG file whose sides are `longest` pixels at most.
///
/// # Errors
/// If it cannot be encoded.
pub fn encode_small_picture(sample: &[f32], shape: PictureShape, bounds: &Bounds, longest: u32) -> Result<Vec<u8>> {
    let (pixels, (width, height)) = (to_pixels(sample, shape, bounds), (shape.width as u32, shape.height as u32));
    let failed = || Error::Internal("a picture does not have the size of its input".into());
    let picture = match shape.channels {
        1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let mut picture = picture.ok_or_else(failed)?;
    if width.max(height) > longest {
        picture = picture.resize(longest, longest, FilterType::Triangle);
    }
    encode(picture.as_bytes(), shape.channels, (picture.width(), picture.height()))
}

/// `[H, W, C]` bytes; what lies beyond the bounds is cut off.
fn to_pixels(sample: &[f32], shape: PictureShape, bounds: &Bounds) -> Vec<u8> {
    let pixel = |position: usize, channel: usize| {
        let (low, high) = bounds_of(bounds, channel);
        let unit = (sample[shape.offset(position, channel)] - low) / (high - low);
        (unit * 255.0).round_ties_even() as u8
    };
    (0..shape.area()).flat_map(|position| (0..shape.channels).map(move |c| pixel(position, c))).collect()
}

fn encode(pixels: &[u8], channels: usize, (width, height): (u32, u32)) -> Result<Vec<u8>> {
    let color = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut file = Cursor::new(Vec::new());
    let written = image::codecs::png::PngEncoder::new(&mut file).write_image(pixels, width, height, color);
    written.map_err(|error| Error::Data(format!("a picture cannot be encoded: {error}")))?;
    Ok(file.into_inner())
}

/// The least and greatest number of the samples, for all channels: how to show an input whose range is not known.
///
/// # Errors
/// If a sample cannot be read back.
pub fn measured_bounds(samples: &Samples) -> Result<Bounds> {
    let (low, high) = samples.range()?;
    Ok(vec![if low < high { (low, high) } else { (0.0, 1.0) }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pictures_are_no_larger_than_told_and_keep_their_sides() {
        for (channels, (height, width), expected) in [(3, (300, 200), (85, 128)), (1, (16, 8), (8, 16)), (3, (4000, 1), (1, 128))] {
            let shape = PictureShape { channels, height, width, channels_last: false };
            let png = encode_small_picture(&vec![0.5; channels * shape.area()], shape, &vec![(0.0, 1.0)], 128).unwrap();
            let found = image::load_from_memory(&png).unwrap();
            assert_eq!((found.width(), found.height()), expected);
            assert!(found.to_luma8().pixels().all(|pixel| pixel.0 == [128]));
        }
    }
}
