use crate::calibration::histogram::Histogram;
use crate::calibration::observer::Observer;

/// The range of least expected squared error: values inside lose step² / 12, values outside their distance squared. With few
/// levels, every value loses its distance from the nearest one.
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

/// Up to so many levels errors are not spread evenly over a step: a distribution is hardly wider than some of them.
const FEW_LEVELS: f64 = 64.0;

/// The squared error of quantizing `bins` over `[low, high]`, on a grid that holds 0.
fn exact_error(bins: &[(f64, f64)], low: f64, high: f64, levels: f64) -> f64 {
    let step = (high - low) / levels;
    if step <= 0.0 {
        return f64::INFINITY;
    }
    let least = (low / step).round_ties_even();
    let error = |x: f64| (x - (x / step).round_ties_even().clamp(least, least + levels) * step).powi(2);
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
        let few = levels <= FEW_LEVELS;
        let error =
            |low: f64, high: f64| if few { exact_error(&bins, low, high, levels) } else { expected_error(&bins, low, high, levels) };
        if few {
            // Both sides at once first: with one of them at its full width, the other has nothing to gain.
            let part = best_part(|part| error(full_low * part, full_high * part));
            (low, high) = (full_low * part, full_high * part);
        }
        for _ in 0..3 {
            high = full_high * best_part(|part| error(low, full_high * part));
            low = full_low * best_part(|part| error(full_low * part, high));
        }
        (low as f32, high as f32)
    }
}

/// The part of the full range, in steps of 1 / [`TRIES`], with the least error.
fn best_part(error: impl Fn(f64) -> f64) -> f64 {
    let parts = (0..TRIES).map(|i| 1.0 - i as f64 / TRIES as f64);
    parts.map(|part| (error(part), part)).min_by(|a, b| a.0.total_cmp(&b.0)).map_or(1.0, |(_, part)| part)
}
