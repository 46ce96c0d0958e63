use crate::calibration::histogram::Histogram;
use crate::calibration::observer::Observer;

/// The symmetric threshold at which the quantized distribution of |x| has the least Kullback–Leibler divergence.
///
/// After: Migacz 2017, "8-bit inference with TensorRT".
pub struct Entropy;

const LEVELS: usize = 128;
const BINS: usize = 2048;

impl Observer for Entropy {
    fn name(&self) -> &'static str {
        "entropy"
    }

    fn range(&self, seen: &Histogram, _levels: f64, _negative_weight: f64) -> (f32, f32) {
        let (low, high) = seen.range();
        let reach = f64::from(low.abs().max(high.abs()));
        if reach == 0.0 {
            return (low, high);
        }
        let mut counts = vec![0.0; BINS];
        for (x, count) in seen.bins() {
            counts[((x.abs() / reach * BINS as f64) as usize).min(BINS - 1)] += count;
        }
        let best = (LEVELS..=BINS).step_by(16).min_by(|a, b| divergence(&counts, *a).total_cmp(&divergence(&counts, *b)));
        let threshold = (best.unwrap_or(BINS) as f64 / BINS as f64 * reach) as f32;
        (low.max(-threshold), high.min(threshold))
    }
}

/// KL of the first `end` bins, with the rest clipped into the last, from their quantization to [`LEVELS`] levels.
fn divergence(counts: &[f64], end: usize) -> f64 {
    let mut reference = counts[..end].to_vec();
    reference[end - 1] += counts[end..].iter().sum::<f64>();
    let total: f64 = reference.iter().sum();
    let inside: f64 = counts[..end].iter().sum();
    let mut sum = 0.0;
    for level in 0..LEVELS {
        let bins = level * end / LEVELS..(level + 1) * end / LEVELS;
        let filled = counts[bins.clone()].iter().filter(|count| **count > 0.0).count().max(1) as f64;
        let share = counts[bins.clone()].iter().sum::<f64>() / filled;
        for bin in bins.filter(|bin| reference[*bin] > 0.0) {
            let quantized = (if counts[bin] > 0.0 { share } else { 0.0 } / inside.max(1.0)).max(1e-12);
            sum += reference[bin] / total * (reference[bin] / total / quantized).ln();
        }
    }
    sum
}
