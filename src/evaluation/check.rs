//! The student held against the original, layer by layer, on samples that nothing was made with.

use ndarray::ArrayD;
use serde::Serialize;

use super::metrics::decibels;
use super::output::OutputComparison;
use super::report::{Comparison, Thresholds};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::{Config, evaluate};
use crate::graph::{Graph, NodeId, ValueId, known_shape};
use crate::passes::single_sample;

/// What the self-check of a quantized model found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Where the samples come from.
    pub source: String,
    pub seed: Option<u64>,
    pub thresholds: Thresholds,
    /// Of the final model; outputs are logits where there is a Softmax.
    pub comparison: Comparison,
    /// In the order of execution.
    pub layers: Vec<LayerCheck>,
    /// What was made more precise, in the order in which that happened.
    pub raised: Vec<Raise>,
    /// Samples that do not share what was assumed when the others were made.
    pub witnesses: Vec<WitnessCheck>,
    /// Inputs and outputs that integers cut off, on the samples of the check.
    pub cut_off: Vec<CutOff>,
    /// One line for each threshold that is missed in the end.
    pub missed: Vec<String>,
    pub passed: bool,
    /// What the verdict rests on that is not certain.
    pub doubts: Vec<String>,
    /// `passed`, `passed, but …` or `failed`.
    pub verdict: String,
}

/// The same check on samples of another source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WitnessCheck {
    pub source: String,
    /// Whether these samples fail the check, or only add to its doubts.
    pub judged: bool,
    pub comparison: Comparison,
    pub cut_off: Vec<CutOff>,
}

/// An input or output whose integers do not hold all its values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CutOff {
    pub name: String,
    /// Of its elements, those more than one step beyond what the integers hold.
    pub percent: f64,
}

/// Decibels that samples unlike those of the training may have less: on dead leaves, networks of CIFAR at 8 bits that lose no
/// accuracy have 15 dB where they have 30 on samples that match their statistics.
const UNLIKE_DB: f64 = 6.0;
/// Percent of an output that may be cut off: the range of least error cuts a little.
const MOST_CUT_OFF: f64 = 1.0;

impl Check {
    /// Judges what was found.
    pub fn judge(&mut self) {
        self.missed = self.thresholds.missed(&self.comparison);
        self.missed.extend(self.bad_tails());
        self.missed
            .extend(self.cut_off.iter().filter(|cut| cut.percent > MOST_CUT_OFF).map(|cut| cut.describe("the samples of the check")));
        let thresholds = self.thresholds_of_witnesses();
        for WitnessCheck { source, judged, comparison, .. } in &self.witnesses {
            let missed = thresholds.missed(comparison).into_iter().map(|missed| format!("{missed}, on samples {source}"));
            if *judged { self.missed.extend(missed) } else { self.doubts.extend(missed) }
        }
        self.passed = self.missed.is_empty();
        self.verdict = match (self.passed, self.doubts.is_empty()) {
            (false, _) => "failed".to_string(),
            (true, true) => "passed".to_string(),
            (true, false) => format!("passed, but {}", self.doubts.join("; ")),
        };
    }

    /// Outputs that are well on most samples alone.
    fn bad_tails(&self) -> Vec<String> {
        let Some(least) = self.thresholds.sqnr_db.map(|sqnr| sqnr - UNLIKE_DB) else { return Vec::new() };
        let well = self.thresholds.sqnr_db.unwrap_or(f64::NEG_INFINITY);
        let outputs = self.comparison.outputs.iter().filter(|output| output.least_sqnr() >= well);
        let bad = outputs.filter(|output| output.worst_decile_sqnr_db < least);
        let tell = |output: &OutputComparison| {
            let (name, found) = (&output.name, output.worst_decile_sqnr_db);
            format!("output `{name}` has an SQNR of {found:.2} dB on the tenth of the samples that is the worst, less than {least} dB")
        };
        bad.map(tell).collect()
    }

    /// What samples must reach that are unlike those of the training: less SQNR, and no agreement, since they are of no class.
    fn thresholds_of_witnesses(&self) -> Thresholds {
        Thresholds { agreement_percent: None, sqnr_db: self.thresholds.sqnr_db.map(|sqnr| sqnr - UNLIKE_DB) }
    }

    /// How much is missed: decibels, percent of agreement by halves, and percent that are cut off.
    pub fn deficit(&self) -> f64 {
        let decibels = |wanted: Option<f64>, comparison: &Comparison| match (wanted, comparison.least_sqnr()) {
            (Some(wanted), Some(found)) => (wanted - found).max(0.0),
            _ => 0.0,
        };
        let of_witnesses = self.thresholds_of_witnesses().sqnr_db;
        let agreement = match (self.thresholds.agreement_percent, self.comparison.least_agreement()) {
            (Some(wanted), Some(found)) => (wanted - found).max(0.0) / 2.0,
            _ => 0.0,
        };
        let cut: f64 = self.cut_off.iter().map(|cut| (cut.percent - MOST_CUT_OFF).max(0.0)).sum();
        let witnesses = self.witnesses.iter().filter(|witness| witness.judged);
        let witnesses: f64 = witnesses.map(|witness| decibels(of_witnesses, &witness.comparison)).sum();
        let tails = self.comparison.outputs.iter().zip(of_witnesses);
        let tails: f64 = tails.map(|(output, wanted)| (wanted - output.worst_decile_sqnr_db).max(0.0)).sum();
        decibels(self.thresholds.sqnr_db, &self.comparison) + agreement + witnesses + tails + cut
    }
}

impl CutOff {
    fn describe(&self, samples: &str) -> String {
        format!("`{}`: {:.1} % of its values on {samples} lie beyond what its integers hold", self.name, self.percent)
    }
}

/// A matrix product of the quantized model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerCheck {
    pub node: String,
    pub operator: String,
    /// Type of the weights in the file, and of what the product reads.
    pub weights: String,
    pub input: String,
    /// Of its output against that of the original, with all that comes before quantized too.
    pub sqnr_db: f64,
}

/// A layer that got more precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Raise {
    /// The matrix products that changed.
    pub nodes: Vec<String>,
    pub from: String,
    pub to: String,
    pub reason: String,
}

/// Elements that are held at a time, of both graphs together.
const HELD: usize = 1 << 26;

/// SQNR in decibels of the outputs of `products` in `graph`, a copy of `teacher` with QDQ pairs.
///
/// # Errors
/// If either graph cannot be computed.
pub fn examine(teacher: &Graph, graph: &Graph, products: &[NodeId], set: &CalibrationSet, config: &Config) -> Result<Vec<f64>> {
    let outputs = |graph: &Graph| products.iter().filter_map(|id| graph.node(*id).output(0)).collect::<Vec<ValueId>>();
    let (expected, found) = (outputs(teacher), outputs(graph));
    let sample = single_sample(teacher)?;
    let elements = |value: &ValueId| sample.value(*value).shape.as_deref().and_then(known_shape).map_or(0, |shape| shape.iter().product());
    let one: usize = expected.iter().map(elements).sum::<usize>().max(1);
    let mut sums = vec![(0.0, 0.0); products.len()];
    let mut first = 0;
    while first < set.len() {
        let last = (first + (HELD / 2 / one).max(1)).min(set.len());
        let part = set.slice(first..last);
        let (expected, found) = (evaluate(teacher, &expected, &part, config)?, evaluate(graph, &found, &part, config)?);
        sums.iter_mut().zip(expected.iter().zip(&found)).for_each(|(sums, (expected, found))| add_up(sums, expected, found));
        first = last;
    }
    Ok(sums.into_iter().map(|(signal, noise)| decibels(signal, noise)).collect())
}

fn add_up(sums: &mut (f64, f64), expected: &ArrayD<f32>, found: &ArrayD<f32>) {
    for (expected, found) in expected.iter().zip(found) {
        sums.0 += f64::from(*expected).powi(2);
        sums.1 += (f64::from(*expected) - f64::from(*found)).powi(2);
    }
}
