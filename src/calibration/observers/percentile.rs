use crate::calibration::histogram::Histogram;
use crate::calibration::observer::Observer;

/// All but 0.005 % of the values on each side.
pub struct Percentile;

const TAIL: f64 = 5e-5;

impl Observer for Percentile {
    fn name(&self) -> &'static str {
        "percentile"
    }

    fn range(&self, seen: &Histogram, _levels: f64, _negative_weight: f64) -> (f32, f32) {
        let (low, high) = seen.range();
        let bins = seen.bins();
        let tail = TAIL * bins.iter().map(|(_, count)| count).sum::<f64>();
        let half = (seen.width() / 2.0) as f32;
        ((first_beyond(bins.iter(), tail) - half).max(low), (first_beyond(bins.iter().rev(), tail) + half).min(high))
    }
}

/// Middle of the bin at which more than `tail` values have passed.
fn first_beyond<'a>(mut bins: impl Iterator<Item = &'a (f64, f64)>, tail: f64) -> f32 {
    let mut passed = 0.0;
    let found = bins.find(|(_, count)| {
        passed += count;
        passed > tail
    });
    found.map_or(0.0, |(middle, _)| *middle as f32)
}
