//! What quantized values hold, and what of it their integers hold.

use super::{Prepared, Trial};
use crate::calibration::histogram::Distribution;
use crate::tensor::DataType;

/// A value, or the first of some that share a scale.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRange {
    pub name: String,
    pub data_type: DataType,
    pub seen: Distribution,
    /// Smallest and largest number that the integers held when calibration had chosen them.
    pub chosen: (f64, f64),
    /// The same after tuning.
    pub tuned: (f64, f64),
}

/// One for each scale, in the order of the plan.
pub(super) fn value_ranges(prepared: &Prepared, trial: &Trial) -> Vec<ValueRange> {
    let Trial { plan, ranges, seen, graph, student, .. } = trial;
    let range = |(index, seen): (usize, &Distribution)| {
        let (group, params) = (plan.groups.get(index)?, ranges.0.get(index)?);
        let scale = *params.scale.first()?;
        let place = plan.activations.iter().position(|point| point.group == index);
        let constant = place.and_then(|place| graph.constant(student.activations.get(place)?.scale)?.to_f32());
        let tuned = constant.and_then(|scales| scales.first().copied()).unwrap_or(scale);
        let name = prepared.teacher.value(group.value).name.clone();
        let (chosen, tuned) = (params.span(scale), params.span(tuned));
        Some(ValueRange { name, data_type: group.data_type, seen: seen.clone(), chosen, tuned })
    };
    seen.iter().enumerate().filter_map(range).collect()
}
