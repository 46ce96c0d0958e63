//! Values within two networks beside each other.

use std::collections::HashMap;

use ndarray::ArrayD;
use serde::Serialize;

use super::metrics::decibels;
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::{Config, evaluate};
use crate::graph::{Graph, ValueId};
use crate::passes::infer_shapes;
use crate::progress::Progress;
use crate::tensor::DataType;

/// Samples whose values are held at a time.
const CHUNK: usize = 4;

/// A value that both networks have under one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LayerComparison {
    pub name: String,
    /// What makes it in the reference.
    pub operator: String,
    /// Signal-to-noise ratio in decibels after the best scale and shift of each channel: folding BatchNormalization and
    /// equalizing channels change both, and the function of the network stays the same.
    pub sqnr_db: f64,
}

/// Compares all values of like names, in the order of execution, in our own executor.
///
/// # Errors
/// If one of the networks cannot be computed.
pub fn compare_layers(
    reference: &Graph,
    candidate: &Graph,
    set: &CalibrationSet,
    config: &Config,
    progress: &dyn Progress,
) -> Result<Vec<LayerComparison>> {
    let (mut reference, mut candidate) = (reference.clone(), candidate.clone());
    infer_shapes(&mut reference)?;
    infer_shapes(&mut candidate)?;
    let (reference, candidate) = (&reference, &candidate);
    let pairs = common_values(reference, candidate);
    let (expected, actual): (Vec<ValueId>, Vec<ValueId>) = pairs.iter().map(|pair| (pair.reference, pair.candidate)).unzip();
    let mut moments: Vec<Option<Vec<Moments>>> = vec![Some(Vec::new()); pairs.len()];
    progress.begin("compare layers", set.len());
    for start in (0..set.len()).step_by(CHUNK) {
        progress.check()?;
        let chunk = set.slice(start..(start + CHUNK).min(set.len()));
        let values = (evaluate(reference, &expected, &chunk, config)?, evaluate(candidate, &actual, &chunk, config)?);
        for ((moments, expected), actual) in moments.iter_mut().zip(&values.0).zip(&values.1) {
            *moments = moments.take().filter(|_| expected.shape() == actual.shape()).map(|sums| add(sums, expected, actual));
        }
        (0..chunk.len()).for_each(|_| progress.step(""));
    }
    progress.end();
    let compared = pairs.into_iter().zip(moments).filter_map(|(pair, moments)| {
        let sqnr_db = fitted_sqnr(&moments.filter(|sums| !sums.is_empty())?);
        Some(LayerComparison { name: reference.value(pair.reference).name.clone(), operator: pair.operator, sqnr_db })
    });
    Ok(compared.collect())
}

struct Pair {
    reference: ValueId,
    candidate: ValueId,
    operator: String,
}

fn common_values(reference: &Graph, candidate: &Graph) -> Vec<Pair> {
    let is_data = |graph: &Graph, value: ValueId| graph.constant(value).is_none() && graph.value(value).data_type == Some(DataType::F32);
    let by_name: HashMap<&str, ValueId> = candidate
        .nodes()
        .flat_map(|(_, node)| node.outputs.iter().flatten())
        .filter(|value| is_data(candidate, **value))
        .map(|value| (candidate.value(*value).name.as_str(), *value))
        .collect();
    let mut pairs = Vec::new();
    for (_, node) in reference.nodes() {
        for value in node.outputs.iter().flatten().filter(|value| is_data(reference, **value)) {
            if let Some(other) = by_name.get(reference.value(*value).name.as_str()) {
                pairs.push(Pair { reference: *value, candidate: *other, operator: node.operator.name().to_string() });
            }
        }
    }
    pairs
}

/// Sums over the elements of one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    r: f64,
    c: f64,
    rr: f64,
    cc: f64,
    rc: f64,
}

/// Adds values of shape `[N, B, C, …]`, or without channels where they have fewer axes.
fn add(mut sums: Vec<Moments>, expected: &ArrayD<f32>, actual: &ArrayD<f32>) -> Vec<Moments> {
    let shape = expected.shape();
    let channels = if shape.len() > 2 { shape[2] } else { 1 };
    let area = shape.iter().skip(3).product::<usize>().max(1);
    sums.resize(channels, Moments::default());
    for (index, (r, c)) in expected.iter().zip(actual).enumerate() {
        let (r, c, sum) = (f64::from(*r), f64::from(*c), &mut sums[index / area % channels]);
        sum.count += 1.0;
        sum.r += r;
        sum.c += c;
        sum.rr += r * r;
        sum.cc += c * c;
        sum.rc += r * c;
    }
    sums
}

/// Variance of the reference over what is left of it by the best a·c + b for each channel.
fn fitted_sqnr(sums: &[Moments]) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for Moments { count, r, c, rr, cc, rc } in sums {
        let (vr, vc, covariance) = (rr - r * r / count, cc - c * c / count, rc - r * c / count);
        // Rounding of sums leaves about this much where nothing varies.
        let nothing = 1e-10 * (rr + cc);
        signal += vr.max(0.0);
        noise += if vc > nothing { (vr - covariance * covariance / vc).max(0.0) } else { vr.max(0.0) };
    }
    if signal == 0.0 && noise == 0.0 { decibels(1.0, 0.0) } else { decibels(signal, noise) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, noise};
    use crate::progress::Silent;

    fn network() -> Sketch {
        Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 4), 3, 1).plain("r", "Relu", "a")
    }

    #[test]
    fn values_of_one_name_are_compared_and_scales_do_not_matter() {
        let reference = network().conv("b", "r", (4, 2), 1, 1).outputs("b");
        let scaled = network().weights("k", &[1, 4, 1, 1], 3.0).plain("s", "Mul", "r k").conv("b", "s", (4, 2), 1, 1).outputs("b");
        let set = noise(&reference, 6);
        let compared = compare_layers(&reference, &scaled, &set, &Config::default(), &Silent).unwrap();
        let names: Vec<&str> = compared.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["a", "r", "b"]);
        assert!(compared[0].sqnr_db > 90.0 && compared[1].sqnr_db > 90.0 && compared[2].sqnr_db < 60.0, "{compared:?}");
    }

    #[test]
    fn an_affine_change_of_a_channel_is_no_noise_and_noise_is() {
        let shape = ndarray::IxDyn(&[2, 1, 2, 2]);
        let expected = ArrayD::from_shape_vec(shape.clone(), vec![1.0, 2.0, 3.0, 5.0, 4.0, 1.0, 0.0, 2.0]).unwrap();
        let affine = |scale: f32| expected.mapv(|x| scale * x + 7.0);
        assert!(fitted_sqnr(&add(Vec::new(), &expected, &affine(-2.0))) > 90.0);
        let constant = ArrayD::from_elem(shape, 1.0);
        assert!(fitted_sqnr(&add(Vec::new(), &expected, &constant)).abs() < 1e-9);
        assert_eq!(fitted_sqnr(&add(Vec::new(), &constant, &constant)), 120.0);
    }
}
