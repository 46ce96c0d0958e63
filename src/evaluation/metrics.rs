//! Distances between the outputs of two models.

use ndarray::{ArrayD, Axis};

/// Decibels beyond which two outputs count as equal.
const MOST_DECIBELS: f64 = 120.0;

/// Distances between a reference and a candidate, over all samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// Percent of samples whose greatest element stands at the same place; `None` for samples of one element.
    pub agreement: Option<f64>,
    /// 10 · log₁₀(Σ r² / Σ (r − c)²) in decibels, within ±120.
    pub sqnr: f64,
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
    let (mut signal, mut noise, mut power, mut dot, mut max_abs) = (0.0, 0.0, 0.0, 0.0, 0.0f64);
    for (r, c) in reference.iter().zip(candidate) {
        let (r, c) = (f64::from(*r), f64::from(*c));
        signal += r * r;
        power += c * c;
        dot += r * c;
        noise += (r - c) * (r - c);
        max_abs = if (r - c).is_finite() { max_abs.max((r - c).abs()) } else { f64::INFINITY };
    }
    Some(Metrics { agreement: agreement(reference, candidate), sqnr: decibels(signal, noise), cosine: cosine(signal, power, dot), max_abs })
}

pub(super) fn decibels(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 {
        return MOST_DECIBELS;
    }
    let ratio = 10.0 * (signal / noise).log10();
    if ratio.is_nan() { -MOST_DECIBELS } else { ratio.clamp(-MOST_DECIBELS, MOST_DECIBELS) }
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

/// Percent of the samples whose greatest element is at the same place; `None` for outputs that are no scores of classes, one number
/// for each.
fn agreement(reference: &ArrayD<f32>, candidate: &ArrayD<f32>) -> Option<f64> {
    let (samples, sizes) = reference.shape().split_first()?;
    if sizes.iter().filter(|size| **size > 1).count() != 1 {
        return None;
    }
    let pairs = reference.axis_iter(Axis(0)).zip(candidate.axis_iter(Axis(0)));
    let same = pairs.filter(|(r, c)| matches!((argmax(r.iter()), argmax(c.iter())), (Some(r), Some(c)) if r == c)).count();
    Some(100.0 * same as f64 / *samples as f64)
}

/// Place of the greatest element, the first of equals; `None` if one is no number.
fn argmax<'a>(elements: impl Iterator<Item = &'a f32>) -> Option<usize> {
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
        assert_eq!(metrics.agreement, Some(100.0));
        assert_eq!((metrics.sqnr, metrics.max_abs), (120.0, 0.0));
        assert!((metrics.cosine - 1.0).abs() < 1e-12);
    }

    #[test]
    fn measures_what_the_formulas_say() {
        let reference = samples(&[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]);
        let candidate = samples(&[[1.0, 2.0, 4.0], [2.0, 3.0, 1.0]]);
        let metrics = measure(&reference, &candidate).unwrap();
        assert_eq!(metrics.agreement, Some(50.0));
        assert!((metrics.sqnr - 10.0 * (28.0f64 / 3.0).log10()).abs() < 1e-9);
        assert_eq!(metrics.max_abs, 1.0);
    }

    #[test]
    fn what_is_no_number_never_agrees() {
        let reference = samples(&[[1.0, 2.0, 3.0]]);
        let metrics = measure(&reference, &samples(&[[f32::NAN, 2.0, 3.0]])).unwrap();
        assert_eq!((metrics.agreement, metrics.sqnr, metrics.max_abs), (Some(0.0), -120.0, f64::INFINITY));
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
