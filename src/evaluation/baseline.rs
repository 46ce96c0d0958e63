//! A comparison made earlier, read back from its report.

use std::path::Path;

use serde::Deserialize;

use super::gate::{Measured, Place, Verdict};
use super::report::SCHEMA;
use super::rule::Rule;
use crate::error::{Error, Result};

/// A report with more bytes is none of ours.
const MOST_BYTES: u64 = 64 << 20;

/// What matters of an earlier report of `zeroq compare`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Baseline {
    schema: u32,
    command: String,
    comparison: Earlier,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Earlier {
    engine: String,
    samples: usize,
    outputs: Vec<EarlierOutput>,
    accuracy: Option<EarlierAccuracy>,
    detection: Option<EarlierDetection>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct EarlierOutput {
    name: String,
    agreement_percent: Option<f64>,
    sqnr_db: f64,
    #[serde(default)]
    overlap: Option<EarlierOverlap>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct EarlierOverlap {
    mean_iou: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct EarlierDetection {
    matched_percent: Option<f64>,
    map_50_95: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct EarlierAccuracy {
    output: String,
    candidate_percent: f64,
}

impl Baseline {
    /// # Errors
    /// If the file is no report of `zeroq compare --format json`.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::metadata(path).map_err(|error| Error::file(path, error))?.len();
        if bytes > MOST_BYTES {
            return Err(Error::file(path, format!("has {bytes} bytes, too many for a report of `zeroq compare`")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        Baseline::parse(&text).map_err(|reason| Error::file(path, reason))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let baseline: Baseline =
            serde_json::from_str(text).map_err(|error| format!("is no report of `zeroq compare --format json`: {error}"))?;
        if baseline.command != "compare" || baseline.schema != SCHEMA {
            let Baseline { command, schema, .. } = baseline;
            return Err(format!("is a report of `zeroq {command}`, schema {schema}; one of `zeroq compare`, schema {SCHEMA}, is needed"));
        }
        Ok(baseline)
    }

    /// What makes the two comparisons unlike, in words.
    pub fn differences(&self, measured: &Measured<'_>) -> Vec<String> {
        let (earlier, now) = (&self.comparison, measured.comparison);
        let mut differences = Vec::new();
        if earlier.engine != now.engine {
            differences.push(format!("the baseline was measured in {}, this in {}", earlier.engine, now.engine));
        }
        if earlier.samples != now.samples {
            differences.push(format!("the baseline was measured on {} samples, this on {}", earlier.samples, now.samples));
        }
        differences
    }

    /// How much worse each figure is that both have, against `limit`.
    pub(super) fn regressions(&self, measured: &Measured<'_>, limit: f64) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for earlier in &self.comparison.outputs {
            let Some(now) = measured.comparison.outputs.iter().find(|output| output.name == earlier.name) else { continue };
            let output = || Place::Output(earlier.name.clone());
            if let (Some(before), Some(after)) = (earlier.agreement_percent, now.agreement_percent) {
                verdicts.push(regression(output(), "agreement", "%", (before, after), limit));
            }
            if let (Some(before), Some(after)) = (&earlier.overlap, &now.overlap) {
                let points = (100.0 * before.mean_iou, 100.0 * after.mean_iou);
                verdicts.push(regression(output(), "mean IoU", "points", points, limit));
            }
            verdicts.push(regression(output(), "SQNR", "dB", (earlier.sqnr_db, now.sqnr_db), limit));
        }
        let accuracies =
            self.comparison.accuracy.iter().zip(&measured.comparison.accuracy).filter(|(before, after)| before.output == after.output);
        verdicts.extend(accuracies.map(|(before, after)| {
            regression(
                Place::Output(before.output.clone()),
                "top-1 accuracy",
                "%",
                (before.candidate_percent, after.candidate_percent),
                limit,
            )
        }));
        for (before, after) in self.comparison.detection.iter().zip(&measured.comparison.detection) {
            if let (Some(before), Some(after)) = (before.matched_percent, after.matched_percent) {
                verdicts.push(regression(Place::Model, "boxes with a partner", "%", (before, after), limit));
            }
            if let (Some(before), Some(after)) = (before.map_50_95, after.map_50_95) {
                verdicts.push(regression(Place::Model, "mAP", "points", (100.0 * before, 100.0 * after), limit));
            }
        }
        verdicts
    }
}

fn regression(place: Place, figure: &str, unit: &str, (before, after): (f64, f64), limit: f64) -> Verdict {
    let message = format!("{place}: {figure} {after:.2} {unit}, {before:.2} {unit} in the baseline, at most {limit} less asked");
    Verdict { message, ..Verdict::new(Rule::Regression, place, before - after, limit) }
}

#[cfg(test)]
mod tests {
    use super::super::output::OutputComparison;
    use super::super::report::Comparison;
    use super::*;

    const REPORT: &str = r#"{"schema": 1, "command": "compare", "more": {}, "comparison": {"engine": "e", "samples": 4,
        "outputs": [{"name": "y", "agreement_percent": 99.0, "sqnr_db": 30.0}, {"name": "z", "agreement_percent": null, "sqnr_db": 9.0}]}}"#;

    #[test]
    fn figures_may_be_a_little_worse_than_in_the_baseline() {
        let baseline = Baseline::parse(REPORT).unwrap();
        let figures = OutputComparison { agreement_percent: Some(98.5), sqnr_db: 29.0, ..OutputComparison::default() };
        let outputs = vec![OutputComparison { name: "y".into(), ..figures }];
        let comparison = Comparison { engine: "e".into(), samples: 5, outputs, ..Comparison::default() };
        let measured = Measured { comparison: &comparison, layers: None, size: 1, latency: None };
        let passed = |limit: f64| baseline.regressions(&measured, limit).iter().map(|verdict| verdict.passed).collect::<Vec<_>>();
        assert_eq!((passed(1.0), passed(0.5), passed(0.1)), (vec![true, true], vec![true, false], vec![false, false]));
        assert_eq!(baseline.differences(&measured), ["the baseline was measured on 4 samples, this on 5"]);
    }

    #[test]
    fn other_files_are_no_baseline() {
        for (text, says) in [
            ("", "is no report"),
            ("{}", "is no report"),
            (&REPORT.replace("\"compare\"", "\"quantize\""), "zeroq quantize"),
            (&REPORT.replace("\"schema\": 1", "\"schema\": 99"), "schema 99"),
        ] {
            assert!(Baseline::parse(text).unwrap_err().contains(says), "{text}");
        }
    }
}
