//! A comparison in the forms that people and machines read.

mod github;
mod junit;
mod markdown;
mod sarif;
mod text;

use std::path::PathBuf;
use std::str::FromStr;

use super::output::to_json;
use crate::error::Result;
use crate::evaluation::CompareReport;

pub use github::annotations;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Junit,
    Sarif,
    Github,
    Markdown,
}

impl Format {
    pub const ALL: [Format; 6] = [Format::Text, Format::Json, Format::Junit, Format::Sarif, Format::Github, Format::Markdown];

    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Junit => "junit",
            Format::Sarif => "sarif",
            Format::Github => "github",
            Format::Markdown => "markdown",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Format::Text => "for people",
            Format::Json => "all that is known; its schema is schemas/compare.schema.json",
            Format::Junit => "JUnit XML: a test case for each limit and what it is for",
            Format::Sarif => "SARIF 2.1.0: a result for each limit that is missed",
            Format::Github => "annotations of GitHub Actions for limits that are missed",
            Format::Markdown => "tables for a job summary or a comment",
        }
    }

    /// # Errors
    /// If the report cannot be put into words.
    pub fn render(self, report: &CompareReport) -> Result<String> {
        match self {
            Format::Text => Ok(text::text(report)),
            Format::Json => to_json(report),
            Format::Junit => junit::junit(report),
            Format::Sarif => to_json(&sarif::sarif(report)),
            Format::Github => Ok(annotations(report)),
            Format::Markdown => Ok(markdown::markdown(report)),
        }
    }
}

/// A format, and the file that it goes to: `junit=report.xml`.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatFile {
    pub format: Format,
    pub file: PathBuf,
}

impl FromStr for FormatFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Format::ALL.map(Format::name).join(", ");
        let wrong = || format!("expected FORMAT=FILE, where FORMAT is one of {}", names());
        let (name, file) = text.split_once('=').filter(|(_, file)| !file.is_empty()).ok_or_else(wrong)?;
        let format = Format::ALL.into_iter().find(|format| format.name() == name).ok_or_else(wrong)?;
        Ok(FormatFile { format, file: PathBuf::from(file) })
    }
}

/// Example reports for the tests of all formats.
#[cfg(test)]
mod samples {
    use crate::evaluation::{
        Accuracy, CompareReport, Comparison, Cosines, Cost, Detection, Errors, FileReport, Labelled, LayerComparison, LeftOut,
        OutputComparison, Part, Place, Ratio, Rule, SCHEMA, Speed, Task, Unit, Verdict,
    };

    /// A report with a name that tries everything.
    pub fn report(name: &str, passed: bool) -> CompareReport {
        let output = OutputComparison {
            name: name.into(),
            shape: vec![1, 10],
            task: Task::Classify,
            task_reason: "its shape".into(),
            agreement_percent: Some(98.5),
            agreement_of: Some(Unit::Samples),
            sqnr_db: 30.25,
            worst_decile_sqnr_db: 27.0,
            parts: vec![Part { axis: 1, channels: vec![(4, 7)], peak: 0.5, sqnr_db: 12.5 }],
            cosine: 0.999,
            max_abs_error: 0.125,
            errors: Some(Errors { median: 0.001, p99: 0.02, ..Errors::default() }),
            cosines: Some(Cosines { mean: 0.99, worst_decile: 0.9 }),
            rank1_percent: Some(97.0),
            ..OutputComparison::default()
        };
        let accuracy = Accuracy { output: name.into(), samples: 4, reference_percent: 90.0, candidate_percent: 89.5 };
        let detection = Detection { decoder: "boxes".into(), reason: name.into(), reference_boxes: 3, ..Detection::default() };
        let labelled = Labelled { measure: "mean IoU".into(), output: Some(name.into()), samples: 4, reference: 0.75, candidate: 0.7 };
        let file = |path: &str| FileReport { path: path.into(), bytes: 1000, sha256: "00".into() };
        let verdict = |rule: Rule, found: f64, passed: bool| Verdict {
            rule,
            place: Place::Output(name.into()),
            found,
            limit: 99.0,
            passed,
            message: format!("output `{name}`: {found} found, 99 asked"),
        };
        CompareReport {
            schema: SCHEMA,
            command: "compare",
            version: "0",
            reference: file("a.onnx"),
            candidate: file("b & c.onnx"),
            comparison: Comparison {
                engine: "tract".into(),
                engine_reason: String::new(),
                samples: 4,
                outputs: vec![output],
                left_out: vec![LeftOut { name: name.into(), reason: "the shape changes".into() }],
                detection: Some(detection),
                accuracy: Some(accuracy),
                labelled: vec![labelled],
            },
            layers: Some(vec![LayerComparison { name: name.into(), operator: "Conv".into(), sqnr_db: 20.0 }]),
            latency: Some(Ratio { median: 0.5, interval: Some((0.48, 0.53)), verdict: Speed::Faster }),
            verdicts: vec![verdict(Rule::Sqnr, 100.0, true), verdict(Rule::Agreement, 98.5, passed)],
            passed,
            provenance: Default::default(),
            warnings: vec!["a warning".into()],
            cost: Cost::default(),
        }
    }

    pub const HOSTILE: &str = "y\"<script>\u{1}]]>|`\r\n::error::%0A\u{202e}";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_format_is_named_by_both() {
        let parsed = "junit=a=b.xml".parse::<FormatFile>().unwrap();
        assert_eq!((parsed.format, parsed.file), (Format::Junit, PathBuf::from("a=b.xml")));
        for text in ["", "junit", "junit=", "pdf=x", "=x"] {
            assert!(text.parse::<FormatFile>().unwrap_err().contains("sarif"), "{text}");
        }
    }

    #[test]
    fn every_format_tells_what_was_missed() {
        let report = samples::report("logits", false);
        for format in Format::ALL {
            let text = format.render(&report).unwrap();
            assert!(text.contains("logits") && text.contains("98.5") && text.ends_with('\n'), "{}: {text}", format.name());
        }
    }
}
