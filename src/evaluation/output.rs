//! One output of two models, measured.

use ndarray::ArrayD;
use serde::Serialize;

use super::confusion::{Confusion, Overlap};
use super::layout::{Layout, Meaning, Unit};
use super::metrics::measure;
use super::numbers::{Cosines, Errors, rank1};
use super::parts::{Part, parts};
use super::task::Task;
use crate::error::{Error, Result};

/// One output of two models.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutputComparison {
    pub name: String,
    /// Shape for one sample.
    pub shape: Vec<usize>,
    #[serde(skip)]
    pub layout: Layout,
    /// What it is for.
    #[cfg_attr(test, schemars(with = "String"))]
    pub task: Task,
    /// Why it is taken for that.
    pub task_reason: String,
    /// Percent of what both models take for the same class; `null` for outputs that are no scores of classes.
    pub agreement_percent: Option<f64>,
    /// What has a class of its own.
    pub agreement_of: Option<Unit>,
    /// Of classes of pixels, and of decisions; `null` elsewhere.
    pub overlap: Option<Overlap>,
    /// Over all samples and elements.
    pub sqnr_db: f64,
    /// Over the tenth of the samples that is the worst.
    pub worst_decile_sqnr_db: f64,
    /// Channels whose numbers are of another size than the others; empty where all are alike.
    pub parts: Vec<Part>,
    /// Of outputs for `regress`; `null` elsewhere.
    pub errors: Option<Errors>,
    /// Of samples, of outputs for `regress`; `null` elsewhere.
    pub cosines: Option<Cosines>,
    /// Percent of the samples whose vector is nearer to the reference's of the same sample than to those of others; `null` for
    /// outputs that are no vectors for `regress`.
    pub rank1_percent: Option<f64>,
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub cosine: f64,
    /// `null` in JSON where it is infinite.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub max_abs_error: f64,
}

impl OutputComparison {
    /// The part whose SQNR is below that of the whole, the worst.
    pub fn worst_part(&self) -> Option<&Part> {
        let below = self.parts.iter().filter(|part| part.sqnr_db < self.sqnr_db);
        below.min_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db))
    }

    /// SQNR of the worst part in decibels, of the whole where there are no parts.
    pub fn least_sqnr(&self) -> f64 {
        self.worst_part().map_or(self.sqnr_db, |part| part.sqnr_db)
    }

    /// `output y`, or `output y, channels 4..7` where a part is the worst.
    pub fn worst_place(&self) -> String {
        let part = self.worst_part().map(|part| format!(", {part}")).unwrap_or_default();
        format!("output `{}`{part}", self.name)
    }
}

/// One output of both, of which nothing is known but what they hold.
///
/// # Errors
/// If their shapes differ.
pub(super) fn compare_output(name: &str, expected: &ArrayD<f32>, actual: &ArrayD<f32>) -> Result<OutputComparison> {
    compare_as(name, expected, actual, Meaning::of_samples(expected))
}

/// One output of both that is taken for what it is said to mean.
///
/// # Errors
/// If their shapes differ.
pub(super) fn compare_as(name: &str, expected: &ArrayD<f32>, actual: &ArrayD<f32>, meaning: Meaning) -> Result<OutputComparison> {
    let Some(metrics) = measure(expected, actual) else {
        let (expected, actual) = (&expected.shape()[1..], &actual.shape()[1..]);
        return Err(Error::Usage(format!(
            "output `{name}` cannot be compared: its shape is {expected:?} in one and {actual:?} in the other"
        )));
    };
    let parts = parts(expected, actual, meaning.layout != Layout::Numbers);
    // Numbers that are so unlike are no scores of classes, whatever their shape.
    let unlike = Meaning::of(Layout::Numbers, "its channels are too unlike for scores of classes");
    let is_unlike = meaning.layout != Layout::Numbers && !parts.is_empty();
    let Meaning { layout, task, reason } = if is_unlike { unlike } else { meaning };
    let confusion = Confusion::of(expected, actual, layout);
    let regresses = task == Task::Regress;
    let overlaps = matches!(layout.unit(), Some(Unit::Pixels | Unit::Decisions));
    Ok(OutputComparison {
        name: name.to_string(),
        shape: expected.shape()[1..].to_vec(),
        layout,
        task,
        task_reason: reason.to_string(),
        agreement_percent: confusion.as_ref().map(Confusion::agreement_percent),
        agreement_of: layout.unit(),
        overlap: confusion.filter(|_| overlaps).and_then(|confusion| confusion.overlap()),
        sqnr_db: metrics.sqnr,
        worst_decile_sqnr_db: metrics.worst_decile_sqnr,
        parts,
        errors: regresses.then(|| Errors::of(expected, actual)).flatten(),
        cosines: regresses.then(|| Cosines::of(expected, actual)),
        rank1_percent: regresses.then(|| rank1(expected, actual)).flatten(),
        cosine: metrics.cosine,
        max_abs_error: metrics.max_abs,
    })
}
