//! How sure the range of an input is.

use serde::Serialize;

use crate::synthesis::input_range::PixelRange;

/// Where a range comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The user said it.
    Given,
    /// It is that of the user's samples.
    Observed,
    /// The statistics of the first BatchNormalization leave no doubt.
    Found,
    /// They leave doubt between ranges.
    Unsure,
    /// No usual range explains them: mean and deviation of the input were estimated.
    Estimated,
    /// The first BatchNormalization lies behind something that is not linear, or behind several inputs.
    Deep,
    /// There are no statistics.
    Assumed,
}

impl Certainty {
    /// Whether nothing was guessed.
    pub fn is_sure(self) -> bool {
        matches!(self, Certainty::Given | Certainty::Observed | Certainty::Found)
    }
}

/// What was found out about the range of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub certainty: Certainty,
    /// Of the range, among all that were looked at; `None` where nothing was looked at.
    pub probability: Option<f64>,
    /// What fits next best, and how probable it is.
    pub runner_up: Option<(PixelRange, f64)>,
    /// Mean of the input over its channels, and its deviation, where statistics tell.
    pub spread: Option<(f64, f64)>,
}

impl Finding {
    /// Nothing but where the range comes from.
    pub fn plain(certainty: Certainty) -> Self {
        Finding { certainty, probability: None, runner_up: None, spread: None }
    }
}
