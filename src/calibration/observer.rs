//! What an observer is: it sees values go by and tells the range to quantize.

use super::histogram::Histogram;

/// Chooses the range to quantize from everything that was seen.
pub trait Observer: Sync {
    /// Kebab-case name.
    fn name(&self) -> &'static str;

    /// Lowest and highest value to represent, for `levels` quantization levels. Both lie within the values seen.
    /// `negative_weight` is what a squared error below zero counts for, where one above counts 1.
    fn range(&self, seen: &Histogram, levels: f64, negative_weight: f64) -> (f32, f32);
}
