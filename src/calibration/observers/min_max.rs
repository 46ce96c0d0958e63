use crate::calibration::histogram::Histogram;
use crate::calibration::observer::Observer;

/// Everything that was seen.
pub struct MinMax;

impl Observer for MinMax {
    fn name(&self) -> &'static str {
        "min-max"
    }

    fn range(&self, seen: &Histogram, _levels: f64, _negative_weight: f64) -> (f32, f32) {
        seen.range()
    }
}
