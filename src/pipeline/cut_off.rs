//! What integers cut off at the ends of a network.

use super::{Prepared, Trial};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::evaluation::{CutOff, Reference};
use crate::graph::ValueId;

/// Smallest and largest number that the integers of `value` hold; `None` where it is float.
fn held(trial: &Trial, value: ValueId) -> Option<(f64, f64)> {
    let group = trial.plan.activations.iter().find(|point| point.value == value)?.group;
    let params = trial.ranges.0.get(group)?;
    Some(params.span(*params.scale.first()?))
}

/// The part of all elements that lies more than one step beyond what integers hold.
fn share<'a>(elements: impl Iterator<Item = &'a f32>, (low, high): (f64, f64)) -> f64 {
    let step = (high - low) / 255.0;
    let (mut beyond, mut all) = (0u64, 0u64);
    for x in elements {
        all += 1;
        beyond += u64::from(f64::from(*x) < low - step || f64::from(*x) > high + step);
    }
    beyond as f64 / all.max(1) as f64
}

/// Inputs of `set` that are cut off.
pub(super) fn at_inputs(prepared: &Prepared, trial: &Trial, set: &CalibrationSet) -> Result<Vec<CutOff>> {
    let mut found = Vec::new();
    for (value, samples) in prepared.teacher.inputs.iter().zip(&set.inputs) {
        let Some(held) = held(trial, *value) else { continue };
        let mut sum = 0.0;
        for index in 0..set.len() {
            sum += share(samples.sample(index)?.iter(), held);
        }
        found.push(CutOff { name: samples.name.clone(), percent: 100.0 * sum / set.len().max(1) as f64 });
    }
    Ok(found)
}

/// Outputs that the original makes of the samples of `reference`, and that integers cut off.
pub(super) fn at_outputs(trial: &Trial, reference: &Reference<'_>) -> Vec<CutOff> {
    let cut = |(value, elements): (ValueId, &ndarray::ArrayD<f32>)| {
        let percent = 100.0 * share(elements.iter(), held(trial, value)?);
        Some(CutOff { name: reference.teacher.value(value).name.clone(), percent })
    };
    reference.outputs().filter_map(cut).collect()
}
