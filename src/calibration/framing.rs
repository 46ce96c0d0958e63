//! How pictures of any size become those that a network takes.

use std::str::FromStr;

use image::DynamicImage;
use image::imageops::FilterType;
use serde::Serialize;

use super::pictures::PictureShape;

/// Largest side that a picture is resized to.
const MOST: u32 = 1 << 14;

/// What is done to a picture before its pixels become numbers, in this order. With nothing said it is resized to the input,
/// whatever its proportions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Framing {
    pub resize: Option<Resize>,
    /// Height and width of the middle that is kept.
    pub crop: Option<(u32, u32)>,
    pub order: ChannelOrder,
}

/// A size to resize to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Resize {
    /// Of the shorter side; the proportions stay.
    Shorter(u32),
    /// Height and width.
    Exact(u32, u32),
}

/// In which order the network takes red, green and blue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ChannelOrder {
    #[default]
    Rgb,
    Bgr,
}

impl ChannelOrder {
    pub const ALL: [ChannelOrder; 2] = [ChannelOrder::Rgb, ChannelOrder::Bgr];

    pub fn name(self) -> &'static str {
        match self {
            ChannelOrder::Rgb => "rgb",
            ChannelOrder::Bgr => "bgr",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            ChannelOrder::Rgb => "red first, as most networks",
            ChannelOrder::Bgr => "blue first, as OpenCV reads pictures",
        }
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('x') {
            None => side(text).map(Resize::Shorter),
            Some((height, width)) => Ok(Resize::Exact(side(height)?, side(width)?)),
        }
    }
}

/// Height and width from `224` or `224x160`.
///
/// # Errors
/// Says what is expected.
pub fn parse_crop(text: &str) -> Result<(u32, u32), String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    Ok((side(height)?, side(width)?))
}

fn side(text: &str) -> Result<u32, String> {
    let size = text.trim().parse::<u32>().ok().filter(|size| (1..=MOST).contains(size));
    size.ok_or(format!("expected pixels, as 224, or HEIGHTxWIDTH, as 224x160, each from 1 to {MOST}"))
}

/// The part of a picture that a sample shows, in pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    pub top: f64,
    pub left: f64,
    pub height: f64,
    pub width: f64,
}

impl Framing {
    /// What a sample shows of a picture of this size that [`Framing::apply`] takes.
    pub fn view(&self, height: u32, width: u32) -> View {
        let (tall, wide) = self.resize.map_or((height, width), |resize| resized_size((height, width), resize));
        let (kept_height, kept_width) = self.crop.unwrap_or((tall, wide));
        let (down, across) = (f64::from(height) / f64::from(tall), f64::from(width) / f64::from(wide));
        let start = |all: u32, kept: u32| f64::from(all.saturating_sub(kept) / 2);
        View {
            top: start(tall, kept_height) * down,
            left: start(wide, kept_width) * across,
            height: f64::from(kept_height) * down,
            width: f64::from(kept_width) * across,
        }
    }

    /// `picture` with the height and width of `shape`.
    ///
    /// # Errors
    /// If it has others after what was asked for, or is smaller than the middle to keep.
    pub fn apply(&self, picture: DynamicImage, shape: PictureShape) -> Result<DynamicImage, String> {
        let picture = match self.resize {
            Some(resize) => resized(picture, resize),
            None => picture,
        };
        let picture = match self.crop {
            Some((height, width)) => middle(&picture, height, width)?,
            None => picture,
        };
        let (height, width) = (shape.height as u32, shape.width as u32);
        if (picture.height(), picture.width()) == (height, width) {
            return Ok(picture);
        }
        if self.resize.is_some() || self.crop.is_some() {
            let (h, w) = (picture.height(), picture.width());
            return Err(format!(
                "is {h}x{w} after --resize and --crop, but the input takes {height}x{width}; --crop {height}x{width} keeps the middle"
            ));
        }
        Ok(picture.resize_exact(width, height, FilterType::Triangle))
    }
}

fn resized(picture: DynamicImage, resize: Resize) -> DynamicImage {
    let (height, width) = resized_size((picture.height(), picture.width()), resize);
    if (height, width) == (picture.height(), picture.width()) {
        return picture;
    }
    picture.resize_exact(width, height, FilterType::Triangle)
}

/// The height and width that `resize` makes of these.
fn resized_size((h, w): (u32, u32), resize: Resize) -> (u32, u32) {
    let scaled = |side: u32, by: u32, of: u32| ((f64::from(side) * f64::from(by) / f64::from(of)).round() as u32).clamp(1, MOST);
    match resize {
        Resize::Exact(height, width) => (height, width),
        Resize::Shorter(side) if h <= w => (side, scaled(w, side, h)),
        Resize::Shorter(side) => (scaled(h, side, w), side),
    }
}

fn middle(picture: &DynamicImage, height: u32, width: u32) -> Result<DynamicImage, String> {
    let (h, w) = (picture.height(), picture.width());
    if h < height || w < width {
        return Err(format!("is {h}x{w}, smaller than the {height}x{width} that --crop keeps; --resize makes it larger first"));
    }
    Ok(picture.crop_imm((w - width) / 2, (h - height) / 2, width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(height: usize, width: usize) -> PictureShape {
        PictureShape { channels: 3, height, width, channels_last: false }
    }

    #[test]
    fn sizes_are_read_or_refused() {
        assert_eq!(("256".parse(), "256x128".parse()), (Ok(Resize::Shorter(256)), Ok(Resize::Exact(256, 128))));
        assert_eq!((parse_crop("8"), parse_crop("8x4")), (Ok((8, 8)), Ok((8, 4))));
        for text in ["", "0", "x", "8x", "-1", "99999", "8x0"] {
            assert!(text.parse::<Resize>().is_err() && parse_crop(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pictures_are_resized_then_cropped() {
        let framing = Framing { resize: Some(Resize::Shorter(8)), crop: Some((8, 8)), ..Framing::default() };
        let framed = |framing: &Framing, h: u32, w: u32| {
            framing.apply(DynamicImage::new_rgb8(w, h), shape(8, 8)).map(|picture| (picture.height(), picture.width()))
        };
        assert_eq!((framed(&framing, 16, 40), framed(&framing, 40, 16)), (Ok((8, 8)), Ok((8, 8))));
        assert_eq!(framed(&Framing::default(), 5, 3), Ok((8, 8)));
        let crop = Framing { crop: Some((8, 8)), ..Framing::default() };
        assert!(framed(&crop, 4, 9).unwrap_err().contains("smaller than the 8x8"));
        let resize = Framing { resize: Some(Resize::Shorter(8)), ..Framing::default() };
        assert!(framed(&resize, 8, 16).unwrap_err().contains("is 8x16 after"));
    }

    #[test]
    fn the_middle_is_kept() {
        let mut picture = image::RgbImage::new(5, 3);
        picture.put_pixel(2, 1, image::Rgb([255, 0, 0]));
        let framed = Framing { crop: Some((1, 1)), ..Framing::default() }.apply(picture.into(), shape(1, 1)).unwrap();
        assert_eq!(framed.to_rgb8().get_pixel(0, 0).0, [255, 0, 0]);
    }
}
