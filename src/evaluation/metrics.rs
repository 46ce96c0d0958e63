//! Distances between the outputs of two models.

use ndarray::{ArrayD, ArrayViewD, Axis};

/// Decibels beyond which two outputs count as equal.
const MOST_DECIBELS: f64 = 120.0;
/// A sample counts with this part of the mean signal of all at least: noise is not measured against silence.
const QUIET: f64 = 0.01;

/// Distances between a reference and a candidate, over all samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// 10 · log₁₀(Σ r² / Σ (r − c)²) in decibels, within ±120.
    pub sqnr: f64,
    /// The same over the tenth of the samples, one at least, that is the worst by its own.
    pub worst_decile_sqnr: f64,
    /// Σ r·c / √(Σ r² · Σ c²).
    pub cosine: f64,
    /// max |r − c|; infinite where either is no number.
    pub max_abs: f64,
}

/// Measures one output. Both have the samples along the first axis; `None` where their shapes differ.
pub fn measure(reference: &ArrayD<f32>, candidate: &ArrayD<f32>) -> Option<Metrics> {
    if reference.shape() != candidate.shape() || reference.is_empty() || reference.ndim() == 0 {
        return None;
    }
    let samples: Vec<Sums> = reference.axis_iter(Axis(0)).zip(candidate.axis_iter(Axis(0))).map(|(r, c)| Sums::of(&r, &c)).collect();
    let all = samples.iter().fold(Sums::default(), |all, sample| all.plus(*sample));
    Some(Metrics {
        sqnr: decibels(all.signal, all.noise),
        worst_decile_sqnr: worst_decile(&samples, all.signal),
        cosine: cosine(all.signal, all.power, all.dot),
        max_abs: all.max_abs,
    })
}

/// Sums over some elements.
#[derive(Clone, Copy, Default)]
struct Sums {
    signal: f64,
    power: f64,
    noise: f64,
    dot: f64,
    max_abs: f64,
}

impl Sums {
    fn of(reference: &ArrayViewD<'_, f32>, candidate: &ArrayViewD<'_, f32>) -> Self {
        let mut sums = Sums::default();
        for (r, c) in reference.iter().zip(candidate) {
            let (r, c) = (f64::from(*r), f64::from(*c));
            sums.signal += r * r;
            sums.power += c * c;
            sums.dot += r * c;
            sums.noise += (r - c) * (r - c);
            sums.max_abs = if (r - c).is_finite() { sums.max_abs.max((r - c).abs()) } else { f64::INFINITY };
        }
        sums
    }

    fn plus(self, other: Sums) -> Self {
        Sums {
            signal: self.signal + other.signal,
            power: self.power + other.power,
            noise: self.noise + other.noise,
            dot: self.dot + other.dot,
            max_abs: self.max_abs.max(other.max_abs),
        }
    }
}

fn worst_decile(samples: &[Sums], signal: f64) -> f64 {
    let floor = QUIET * signal / samples.len() as f64;
    let mut sums: Vec<(f64, f64)> = samples.iter().map(|sample| (sample.signal.max(floor), sample.noise)).collect();
    sums.sort_by(|a, b| decibels(a.0, a.1).total_cmp(&decibels(b.0, b.1)));
    let (signal, noise) = sums.iter().take(samples.len().div_ceil(10)).fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
    decibels(signal, noise)
}

pub(super) fn decibels(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 {
        return MOST_DECIBELS;
    }
    let ratio = 10.0 * (signal / noise).log10();
    if ratio.is_nan() { -MOST_DECIBELS } else { ratio.clamp(-MOST_DECIBELS, MOST_DECIBELS) }
}

/// Cosine of the angle between what two models give for one sample.
pub(super) fn cosine_of(reference: &ArrayViewD<'_, f32>, candidate: &ArrayViewD<'_, f32>) -> f64 {
    let Sums { signal, power, dot, .. } = Sums::of(reference, candidate);
    cosine(signal, power, dot)
}

fn cosine(signal: f64, power: f64, dot: f64) -> f64 {
    match (signal * power).sqrt() {
        0.0 => f64::from(signal == power),
        norm if norm.is_finite() => dot / norm,
        _ => 0.0,
    }
}

/// Percent of samples whose greatest element stands at the place that their label names; `None` where there are fewer places
/// or other samples.
pub fn top1(output: &ArrayD<f32>, labels: &[u32]) -> Option<f64> {
    let samples = output.shape().first().copied().filter(|samples| *samples == labels.len() && *samples > 0)?;
    let classes = output.len() / samples;
    if classes < 2 || labels.iter().any(|label| *label as usize >= classes) {
        return None;
    }
    let pairs = output.axis_iter(Axis(0)).zip(labels);
    let right = pairs.filter(|(scores, label)| argmax(scores.iter()) == Some(**label as usize)).count();
    Some(100.0 * right as f64 / samples as f64)
}

/// Place of the greatest element, the first of equals; `None` if one is no number.
pub(super) fn argmax<'a>(elements: impl Iterator<Item = &'a f32>) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, element) in elements.enumerate() {
        if element.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, most)| *element > most) {
            best = Some((index, *element));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rows: &[[f32; 3]]) -> ArrayD<f32> {
        ArrayD::from_shape_vec(vec![rows.len(), 1, 3], rows.concat()).unwrap()
    }

    #[test]
    fn equal_outputs_are_at_no_distance() {
        let a = samples(&[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]);
        let metrics = measure(&a, &a).unwrap();
        assert_eq!((metrics.sqnr, metrics.max_abs), (120.0, 0.0));
        assert!((metrics.cosine - 1.0).abs() < 1e-12);
    }

    #[test]
    fn measures_what_the_formulas_say() {
        let reference = samples(&[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]);
        let candidate = samples(&[[1.0, 2.0, 4.0], [2.0, 3.0, 1.0]]);
        let metrics = measure(&reference, &candidate).unwrap();
        assert!((metrics.sqnr - 10.0 * (28.0f64 / 3.0).log10()).abs() < 1e-9);
        assert_eq!(metrics.max_abs, 1.0);
    }

    #[test]
    fn what_is_no_number_never_agrees() {
        let reference = samples(&[[1.0, 2.0, 3.0]]);
        let candidate = samples(&[[f32::NAN, 2.0, 3.0]]);
        let metrics = measure(&reference, &candidate).unwrap();
        assert_eq!((metrics.sqnr, metrics.worst_decile_sqnr, metrics.max_abs), (-120.0, -120.0, f64::INFINITY));
    }

    #[test]
    fn the_worst_tenth_is_not_hidden_by_the_others_and_silence_is_no_failure() {
        let mut rows = vec![[3.0, 4.0, 0.0]; 20];
        let reference = samples(&rows);
        (rows[7], rows[8]) = ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]);
        let metrics = measure(&reference, &samples(&rows)).unwrap();
        assert!((metrics.sqnr - 10.0).abs() < 1e-9 && metrics.worst_decile_sqnr.abs() < 1e-9, "{metrics:?}");
        let mut noisy = rows.clone();
        noisy[7] = [0.01, 0.0, 0.0];
        assert!(measure(&samples(&rows), &samples(&noisy)).unwrap().worst_decile_sqnr > 30.0);
    }

    #[test]
    fn labels_name_the_right_place() {
        let output = samples(&[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [0.0, f32::NAN, 0.0]]);
        assert_eq!(top1(&output, &[2, 1, 0]), Some(100.0 / 3.0));
        assert_eq!((top1(&output, &[2, 1]), top1(&output, &[2, 1, 3])), (None, None));
    }

    #[test]
    fn other_shapes_are_not_compared() {
        assert_eq!(measure(&samples(&[[0.0; 3]]), &samples(&[[0.0; 3]; 2])), None);
    }
}
