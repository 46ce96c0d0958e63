use crate::calibration::histogram::Histogram;
use crate::calibration::observer::Observer;

/// The range of least expected squared error: values inside lose step² / 12, values outside their distance squared.
///
/// Paper: Banner et al. 2019 (ACIQ), arXiv:1810.05723, section 3, on the histogram instead of a fitted density.
pub struct Mse;

const TRIES: usize = 100;

/// Expected squared error of quantizing `bins` over `[low, high]`.
pub fn expected_error(bins: &[(f64, f64)], low: f64, high: f64, levels: f64) -> f64 {
    let step = (high - low) / levels;
    let noise = step * step / 12.0;
    let error = |x: f64| {
        if x < low {
            (low - x).powi(2)
        } else if x > high {
            (x - high).powi(2)
        } else {
            noise
        }
    };
    bins.iter().map(|(x, count)| count * error(*x)).sum()
}

impl Observer for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn range(&self, seen: &Histogram, levels: f64, negative_weight: f64) -> (f32, f32) {
        let (full_low, full_high) = seen.range();
        // Zero is always represented, and costs nothing to represent.
        let weight = |x: f64| if x < 0.0 { negative_weight } else { 1.0 };
        let bins: Vec<(f64, f64)> = seen.bins().into_iter().map(|(x, count)| (x, count * weight(x))).collect();
        let (full_low, full_high) = (f64::from(full_low.min(0.0)), f64::from(full_high.max(0.0)));
        let (mut low, mut high) = (full_low, full_high);
        for _ in 0..3 {
            high = full_high * best_part(|part| expected_error(&bins, low, full_high * part, levels));
            low = full_low * best_part(|part| expected_error(&bins, full_low * part, high, levels));
        }
        (low as f32, high as f32)
    }
}

/// The part of the full range, in steps of 1 / [`TRIES`], with the least error.
fn best_part(error: impl Fn(f64) -> f64) -> f64 {
    let parts = (0..TRIES).map(|i| 1.0 - i as f64 / TRIES as f64);
    parts.map(|part| (error(part), part)).min_by(|a, b| a.0.total_cmp(&b.0)).map_or(1.0, |(_, part)| part)
}
