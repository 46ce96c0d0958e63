//! What a statistics loss is.

/// Mean and variance of a channel, as stored in the model or as found in a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    pub mean: f64,
    pub variance: f64,
}

/// Distance of a batch's channel statistics from the stored ones, with its derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    pub value: f64,
    /// d value / d batch mean.
    pub by_mean: f64,
    /// d value / d batch variance.
    pub by_variance: f64,
}

/// A loss on the statistics of one channel.
pub trait StatisticsLoss: Sync {
    /// Kebab-case name.
    fn name(&self) -> &'static str;

    /// Distance of `batch` from `stored`; both variances already hold the layer's epsilon and are positive.
    fn distance(&self, batch: Gaussian, stored: Gaussian) -> Distance;
}
