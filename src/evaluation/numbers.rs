//! Numbers and embeddings of two models beside each other.

use ndarray::{ArrayD, ArrayViewD, Axis};
use serde::Serialize;

use super::metrics::cosine_of;

/// Numbers of a sample from which they may be an embedding.
const FEWEST: usize = 8;
/// Samples that are looked for among each other.
const MOST: usize = 2000;
/// How far the length of an embedding may be from 1.
const LENGTH_ERROR: f32 = 1e-3;

/// Magnitudes of the differences between two elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Errors {
    pub mean: f64,
    pub median: f64,
    /// What nine of ten do not exceed.
    pub p90: f64,
    /// What 99 of 100 do not exceed.
    pub p99: f64,
}

/// Cosines of the angles between what both models give for one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cosines {
    pub mean: f64,
    /// Mean of the tenth of the samples that is the worst.
    pub worst_decile: f64,
}

impl Errors {
    /// `None` where a difference is no number.
    pub fn of(reference: &ArrayD<f32>, candidate: &ArrayD<f32>) -> Option<Self> {
        let mut errors: Vec<f32> = reference.iter().zip(candidate).map(|(r, c)| (r - c).abs()).collect();
        if errors.is_empty() || errors.iter().any(|error| !error.is_finite()) {
            return None;
        }
        let mean = errors.iter().map(|error| f64::from(*error)).sum::<f64>() / errors.len() as f64;
        let mut quantile = |part: f64| {
            let place = (part * (errors.len() - 1) as f64).ceil() as usize;
            f64::from(*errors.select_nth_unstable_by(place, f32::total_cmp).1)
        };
        Some(Errors { mean, median: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) })
    }
}

impl Cosines {
    pub fn of(reference: &ArrayD<f32>, candidate: &ArrayD<f32>) -> Self {
        let pairs = reference.axis_iter(Axis(0)).zip(candidate.axis_iter(Axis(0)));
        let mut cosines: Vec<f64> = pairs.map(|(r, c)| cosine_of(&r, &c)).collect();
        cosines.sort_by(f64::total_cmp);
        let mean = |cosines: &[f64]| cosines.iter().sum::<f64>() / cosines.len() as f64;
        Cosines { mean: mean(&cosines), worst_decile: mean(&cosines[..cosines.len().div_ceil(10)]) }
    }
}

/// Whether each sample is one direction: numbers along one axis, of length 1, not all of one sign.
pub fn are_embeddings(samples: &ArrayD<f32>) -> bool {
    is_one_axis(samples)
        && samples.iter().any(|x| *x < 0.0)
        && samples.axis_iter(Axis(0)).all(|sample| (sample.iter().map(|x| x * x).sum::<f32>().sqrt() - 1.0).abs() < LENGTH_ERROR)
}

fn is_one_axis(samples: &ArrayD<f32>) -> bool {
    let sizes = &samples.shape()[1..];
    sizes.iter().filter(|size| **size > 1).count() == 1 && sizes.iter().product::<usize>() >= FEWEST
}

/// Percent of the samples that are found again: no sample of the reference is nearer, by the cosine, to what the candidate makes
/// of one than that one itself. `None` where there are no two samples, or they are no vectors.
pub fn rank1(reference: &ArrayD<f32>, candidate: &ArrayD<f32>) -> Option<f64> {
    let samples = reference.len_of(Axis(0)).min(MOST);
    if samples < 2 || !is_one_axis(reference) {
        return None;
    }
    let unit = |array: &ArrayD<f32>| array.axis_iter(Axis(0)).take(samples).map(|sample| normalized(&sample)).collect::<Vec<_>>();
    let (reference, candidate) = (unit(reference), unit(candidate));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let is_found = |index: usize| {
        let own = dot(&reference[index], &candidate[index]);
        own.is_finite() && reference.iter().all(|other| dot(other, &candidate[index]) <= own)
    };
    Some(100.0 * (0..samples).filter(|index| is_found(*index)).count() as f64 / samples as f64)
}

fn normalized(sample: &ArrayViewD<'_, f32>) -> Vec<f32> {
    let length = sample.iter().map(|x| x * x).sum::<f32>().sqrt();
    sample.iter().map(|x| x / length.max(f32::MIN_POSITIVE)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rows: &[&[f32]]) -> ArrayD<f32> {
        ArrayD::from_shape_vec(vec![rows.len(), 1, rows[0].len()], rows.concat()).unwrap()
    }

    #[test]
    fn errors_are_told_by_how_many_do_not_exceed_them() {
        let zeros = ArrayD::zeros(vec![1, 100]);
        let errors = ArrayD::from_shape_fn(vec![1, 100], |i| if i[1] % 2 == 0 { i[1] as f32 } else { -(i[1] as f32) });
        let found = Errors::of(&zeros, &errors).unwrap();
        assert_eq!(found, Errors { mean: 49.5, median: 50.0, p90: 90.0, p99: 99.0 });
        assert_eq!(Errors::of(&samples(&[&[1.0]]), &samples(&[&[f32::NAN]])), None);
    }

    #[test]
    fn the_worst_tenth_of_the_cosines_is_told_apart() {
        let rows: Vec<&[f32]> = vec![&[1.0, 0.0]; 10];
        let mut turned = rows.clone();
        turned[3] = &[0.0, 5.0];
        let found = Cosines::of(&samples(&rows), &samples(&turned));
        assert_eq!((found.mean, found.worst_decile), (0.9, 0.0));
    }

    #[test]
    fn embeddings_have_length_one_and_are_found_again_or_not() {
        let unit = |place: usize| (0..8).map(|i| if i == place { -1.0 } else { 0.0 }).collect::<Vec<f32>>();
        let rows: Vec<Vec<f32>> = (0..4).map(unit).collect();
        let all = samples(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(are_embeddings(&all) && !are_embeddings(&all.mapv(|x| 2.0 * x)) && !are_embeddings(&all.mapv(f32::abs)));
        assert_eq!(rank1(&all, &all.mapv(|x| 0.5 * x)), Some(100.0));
        let swapped = samples(&[&rows[1], &rows[0], &rows[2], &rows[3]]);
        assert_eq!(rank1(&all, &swapped), Some(50.0));
        assert_eq!(rank1(&all.mapv(|_| f32::NAN), &all), Some(0.0));
        assert_eq!(rank1(&samples(&[&rows[0]]), &samples(&[&rows[0]])), None);
    }
}
