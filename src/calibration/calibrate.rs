//! Ranges of the planned values over a set.

use std::collections::HashMap;

use rayon::prelude::*;

use super::histogram::Histogram;
use super::observer::Observer;
use super::set::CalibrationSet;
use crate::error::{Error, Result};
use crate::execution::{self, first_not_finite, observe};
use crate::graph::{Graph, ValueId};
use crate::progress::Progress;
use crate::quantization::{QuantParams, QuantPlan, scheme};

/// Params of each group of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(pub Vec<QuantParams>);

/// Where ranges come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSource {
    Images,
    /// What BatchNormalization says of values, and what follows from it; images where nothing does.
    ///
    /// Paper: Nagel et al. 2019 (DFQ), arXiv:1906.04721, section 4.1.
    Moments,
}

impl RangeSource {
    pub const ALL: [RangeSource; 2] = [RangeSource::Images, RangeSource::Moments];

    pub fn name(self) -> &'static str {
        match self {
            RangeSource::Images => "images",
            RangeSource::Moments => "moments",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            RangeSource::Images => "What values hold on the images",
            RangeSource::Moments => "What BatchNormalization says of them; images where it says nothing",
        }
    }
}

/// Observes the groups of `plan` on `set`.
///
/// # Errors
/// If a planned value cannot be computed, or is not finite.
pub fn calibrate(
    graph: &Graph,
    plan: &QuantPlan,
    set: &CalibrationSet,
    observer: &dyn Observer,
    config: &execution::Config,
    progress: &dyn Progress,
) -> Result<Ranges> {
    let values: Vec<ValueId> = plan.groups.iter().map(|group| group.value).collect();
    let histograms = histograms(graph, &values, set, config, progress)?;
    Ok(choose_ranges(plan, &histograms, observer, &HashMap::new()))
}

/// What `values` hold on `set`; memory does not grow with the number of samples.
///
/// # Errors
/// If a value cannot be computed, or is not finite.
pub fn histograms(
    graph: &Graph,
    values: &[ValueId],
    set: &CalibrationSet,
    config: &execution::Config,
    progress: &dyn Progress,
) -> Result<Vec<Histogram>> {
    let mut histograms = vec![Histogram::default(); values.len()];
    let mut broken: Option<usize> = None;
    progress.begin("calibrate", set.len());
    observe(graph, values, set, config, &mut |_, elements| {
        histograms.par_iter_mut().zip(elements).for_each(|(histogram, elements)| histogram.add(elements));
        if let Some(index) = elements.iter().position(|elements| elements.iter().any(|x| !x.is_finite())) {
            broken.get_or_insert(index);
        }
        progress.step("");
    })?;
    progress.end();
    progress.check()?;
    if let Some(index) = broken {
        return Err(match first_not_finite(graph, set, config) {
            Some(node) => {
                Error::node(&node.name, node.operator.name(), "the float model computes numbers that are not finite from here on")
            }
            None => Error::tensor(&graph.value(values[index]).name, "the float model computes values that are not finite here"),
        });
    }
    Ok(histograms)
}

/// The ranges of the groups of `plan`, of which `histograms` tell, as `observer` has it; graph inputs have those of `valid`.
pub fn choose_ranges(plan: &QuantPlan, histograms: &[Histogram], observer: &dyn Observer, valid: &HashMap<ValueId, (f32, f32)>) -> Ranges {
    let params = plan.groups.par_iter().zip(histograms).map(|(group, histogram)| {
        let levels = group.data_type.integer_range().map_or(255.0, |(low, high)| high - low);
        let (mut low, mut high) = observer.range(histogram, levels, group.negative_weight);
        if let Some(&(least, most)) = valid.get(&group.value) {
            // So few levels are better spent on what is common.
            let few = levels < 100.0;
            (low, high) = if few { (low.max(least), high.min(most)) } else { (least, most) };
        }
        (low, high) = (low.max(group.bounds.0), high.min(group.bounds.1));
        if group.bounds.0 == 0.0 {
            low = 0.0;
        }
        scheme::activation(low, high, group.data_type, plan.target.symmetric_activations)
    });
    Ranges(params.collect())
}
