//! What is held valid for an input, and how sure that is.

use serde::Serialize;

use crate::synthesis::input::Input;
use crate::synthesis::ranges::{Certainty, doubt};

/// An input and its range.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputReport {
    pub name: String,
    /// Of one sample.
    pub shape: Vec<usize>,
    /// What pixels 0 and 255 are: a name, or numbers.
    pub range: String,
    /// Lowest and highest number that is held valid.
    pub low: f64,
    pub high: f64,
    pub certainty: Certainty,
    /// Of the range, among all that were looked at.
    pub probability: Option<f64>,
    /// The range that fits next best.
    pub runner_up: Option<String>,
    pub runner_up_probability: Option<f64>,
    /// By the statistics, over all channels.
    pub mean: Option<f64>,
    pub deviation: Option<f64>,
    /// What is not certain, and what to do; `None` where nothing is.
    pub doubt: Option<String>,
}

impl InputReport {
    pub fn of(input: &Input) -> Self {
        let finding = &input.finding;
        let (low, high) = input.range.hull();
        InputReport {
            name: input.name.clone(),
            shape: input.shape.clone(),
            range: input.range.name.clone(),
            low: low.into(),
            high: high.into(),
            certainty: finding.certainty,
            probability: finding.probability,
            runner_up: finding.runner_up.as_ref().map(|(range, _)| range.name.clone()),
            runner_up_probability: finding.runner_up.as_ref().map(|(_, probability)| *probability),
            mean: finding.spread.map(|(mean, _)| mean),
            deviation: finding.spread.map(|(_, deviation)| deviation),
            doubt: doubt(input),
        }
    }
}
