//! What inputs usually are.

use super::evidence::Hypothesis;
use crate::synthesis::goal::NATURAL;
use crate::synthesis::input_range::PixelRange;

/// How far the mean of a set of pictures may be from that of all pictures, as a part of the range; pictures of digits are dark.
const MEAN_SPREAD: f64 = 0.13;
/// How far the channels' means may be from each other.
const CHANNEL_SPREAD: f64 = 0.04;
/// Of the logarithm of the deviation of a set of pictures.
const DEVIATION_SPREAD: f64 = 0.3;

/// A usual range of pictures, and how usual it is.
pub struct Candidate {
    pub range: PixelRange,
    pub prior: f64,
}

/// The ranges that pictures of so many channels usually have; none where an input is no picture.
pub fn candidates(channels: Option<usize>) -> Vec<Candidate> {
    let of = |range: PixelRange, prior: f64| Candidate { range, prior };
    let Some(channels) = channels else { return Vec::new() };
    let mut found = vec![
        of(PixelRange::uniform("unit", 0.0, 1.0), 0.22),
        of(PixelRange::uniform("signed", -1.0, 1.0), 0.2),
        of(PixelRange::uniform("byte", 0.0, 255.0), 0.15),
        of(PixelRange::uniform("half", -0.5, 0.5), 0.02),
        of(PixelRange::uniform("centered", -128.0, 127.0), 0.02),
    ];
    match channels {
        3 => found.extend([of(PixelRange::imagenet(), 0.2), of(PixelRange::caffe(), 0.04)]),
        _ => found.push(of(PixelRange::standardized(), 0.2)),
    }
    found
}

impl Candidate {
    pub fn hypothesis(&self, columns: usize) -> Hypothesis {
        let width = |column: usize| {
            let (low, high) = self.range.of(column);
            (f64::from(low), f64::from(high - low))
        };
        let mean_width = (0..columns).map(|column| width(column).1).sum::<f64>() / columns.max(1) as f64;
        Hypothesis {
            means: (0..columns).map(|column| width(column).0 + f64::from(NATURAL.0) * width(column).1).collect(),
            mean_spread: MEAN_SPREAD * mean_width,
            channel_spread: CHANNEL_SPREAD * mean_width,
            deviation: f64::from(NATURAL.1) * mean_width,
            deviation_spread: DEVIATION_SPREAD,
            picture: true,
        }
    }
}

/// Logarithms of the deviations that an input of any kind may have, and of their distance.
const SCALES: (f64, f64, f64) = (-7.0, 9.3, 0.25);

/// Anything: a deviation out of many, and a mean that need not be near 0.
pub fn anything(columns: usize, picture: bool) -> Vec<Hypothesis> {
    let (first, last, step) = SCALES;
    let of = |index: usize| {
        let deviation = (first + step * index as f64).exp();
        Hypothesis {
            means: vec![0.0; columns],
            mean_spread: 4.0 * deviation,
            channel_spread: if picture { 0.3 } else { 1.5 } * deviation,
            deviation,
            deviation_spread: step / 2.0,
            picture,
        }
    };
    (0..((last - first) / step) as usize).map(of).collect()
}
