//! What a loss is: on a layer's channel statistics, on pixels, or on an output.

use std::fmt::Debug;

#[cfg(feature = "candle")]
use candle_core::Tensor;

/// Mean and variance of a channel, as stored in the model or as found in a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    pub mean: f64,
    pub variance: f64,
}

/// Derivatives of a distance by one channel's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slope {
    pub by_mean: f64,
    pub by_variance: f64,
}

/// Distance of a layer's channel statistics from the stored ones, with its derivatives for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    pub value: f64,
    pub slopes: Vec<Slope>,
}

impl Distance {
    /// Mean over the channels of what `of(found, stored)` says of each.
    pub fn mean(found: &[Gaussian], stored: &[Gaussian], of: impl Fn(Gaussian, Gaussian) -> (f64, Slope)) -> Distance {
        let share = 1.0 / stored.len().max(1) as f64;
        let mut distance = Distance { value: 0.0, slopes: Vec::with_capacity(stored.len()) };
        for (found, stored) in found.iter().zip(stored) {
            let (value, slope) = of(*found, *stored);
            distance.value += share * value;
            distance.slopes.push(Slope { by_mean: share * slope.by_mean, by_variance: share * slope.by_variance });
        }
        distance
    }
}

/// A loss on the statistics of one layer.
pub trait StatisticsLoss: Debug + Sync {
    /// Kebab-case name.
    fn name(&self) -> &'static str;

    /// Distance of what was `found` from what is `stored`; all variances already hold the layer's epsilon and are positive.
    fn distance(&self, found: &[Gaussian], stored: &[Gaussian]) -> Distance;
}

/// One channel of a picture, row-major, with 0 and 1 as the ends of the valid range.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    pub pixels: &'a [f32],
    pub width: usize,
}

/// A loss on the pixels of one channel.
pub trait ImageLoss: Debug + Sync {
    /// Kebab-case name.
    fn name(&self) -> &'static str;

    /// The loss; writes its derivative by each pixel.
    fn distance(&self, plane: Plane<'_>, gradient: &mut [f32]) -> f64;

    /// The sum of the losses of planes `[planes, height, width]` on a device, a scalar, and their derivatives by each pixel.
    #[cfg(feature = "candle")]
    fn distances(&self, planes: &Tensor) -> candle_core::Result<(Tensor, Tensor)>;
}

/// A loss on the output of one image.
pub trait OutputLoss: Debug + Sync {
    /// Kebab-case name.
    fn name(&self) -> &'static str;

    /// The loss of `scores` where the image is to belong to class `label`; writes its derivative by each score.
    fn distance(&self, scores: &[f32], label: usize, gradient: &mut [f32]) -> f64;
}
