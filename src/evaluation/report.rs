//! What a run tells, for people and for scripts. Field names are stable within a `schema`.

use std::path::Path;

use serde::Serialize;

use super::detection::Detection;
use super::gate::Verdict;
use super::input_report::InputReport;
use super::latency::{Ratio, Trial};
use super::layers::LayerComparison;
use super::layout::Unit;
use super::output::OutputComparison;
use crate::calibration::Provenance;
use crate::memory;
use crate::onnx::{Encoded, hexadecimal};
use crate::synthesis::Assessment;

/// Version of the JSON values: raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// A model file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileReport {
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

impl FileReport {
    /// Bytes count in both files, the digest is that of the first.
    pub fn new(path: &Path, files: &Encoded) -> Self {
        FileReport { path: path.to_string_lossy().into_owned(), bytes: files.len(), sha256: sha256(&files.model) }
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hexadecimal(&sha2::Sha256::digest(bytes))
}

/// Top-1 accuracy on labelled samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Accuracy {
    /// The output with a score for each class.
    pub output: String,
    pub samples: usize,
    pub reference_percent: f64,
    pub candidate_percent: f64,
}

/// A figure of both models on labelled samples, 1 at most.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Labelled {
    /// `mean IoU` and the like.
    pub measure: String,
    /// The output that it is of; `null` where several belong together.
    pub output: Option<String>,
    pub samples: usize,
    pub reference: f64,
    pub candidate: f64,
}

impl Labelled {
    /// Hundredths that the candidate has lost.
    pub fn drop_points(&self) -> f64 {
        100.0 * (self.reference - self.candidate)
    }
}

/// An output that has nothing to compare number by number, such as boxes that a threshold let through.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LeftOut {
    pub name: String,
    pub reason: String,
}

/// Two models on the same samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// What ran both.
    pub engine: String,
    /// Why it was this engine.
    pub engine_reason: String,
    pub samples: usize,
    pub outputs: Vec<OutputComparison>,
    pub left_out: Vec<LeftOut>,
    /// Of detectors.
    pub detection: Option<Detection>,
    /// `None` where the samples have no classes as labels.
    pub accuracy: Option<Accuracy>,
    /// Figures on samples with other labels.
    pub labelled: Vec<Labelled>,
}

impl Comparison {
    /// Percent of the worst output.
    pub fn least_agreement(&self) -> Option<f64> {
        self.outputs.iter().filter_map(|output| output.agreement_percent).min_by(f64::total_cmp)
    }

    /// Decibels of the worst part of the worst output.
    pub fn least_sqnr(&self) -> Option<f64> {
        self.outputs.iter().map(OutputComparison::least_sqnr).min_by(f64::total_cmp)
    }
}

/// A matrix product that stays float.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FloatKernel {
    pub node: String,
    pub operator: String,
    pub reason: String,
}

/// How many of Conv, ConvTranspose, Gemm and MatMul run as integers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KernelReport {
    pub integer: usize,
    pub float: usize,
    pub float_nodes: Vec<FloatKernel>,
}

/// One stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StageReport {
    pub name: String,
    pub seconds: f64,
    pub steps: usize,
    pub steps_per_second: Option<f64>,
}

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    pub seconds: f64,
    pub stages: Vec<StageReport>,
    pub threads: usize,
    pub isa: String,
    /// Where images were synthesized and networks tuned: cpu, cuda:0 and so on, or metal.
    pub device: String,
    /// Most memory that the process held, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

impl Cost {
    pub fn of(stopwatch: &super::Stopwatch<'_>, execution: &crate::execution::Config) -> Self {
        Cost {
            seconds: stopwatch.seconds(),
            stages: stopwatch.stages(),
            threads: rayon::current_num_threads(),
            isa: execution.isa.name().to_string(),
            device: execution.device.to_string(),
            peak_memory_bytes: memory::peak(),
        }
    }
}

/// What `zeroq quantize` did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantizeReport {
    pub schema: u32,
    pub command: &'static str,
    pub version: &'static str,
    pub model: FileReport,
    pub output: FileReport,
    pub precision: String,
    pub target: String,
    pub input_range: String,
    /// What is held valid for each input, and how sure that is.
    pub inputs: Vec<InputReport>,
    pub seed: u64,
    pub kernels: KernelReport,
    /// Candidates that were timed, where measurements decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub autotune: Vec<Trial>,
    /// `None` where nothing was tuned.
    pub distillation: Option<crate::distillation::Summary>,
    /// What the original says of the images that the result was made on.
    pub assessment: Assessment,
    /// What each layer became, with `--precision mixed`.
    pub mixed: Option<super::MixedChoice>,
    /// The result on samples of another seed, layer by layer; `None` where nothing was checked.
    pub check: Option<super::Check>,
    /// Original against result, on images that were not used for tuning.
    pub comparison: Option<Comparison>,
    pub provenance: Provenance,
    pub warnings: Vec<String>,
    #[serde(flatten)]
    pub cost: Cost,
}

/// What `zeroq synthesize` did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SynthesizeReport {
    pub schema: u32,
    pub command: &'static str,
    pub version: &'static str,
    pub model: FileReport,
    pub folder: String,
    pub images: usize,
    pub input_range: String,
    /// What is held valid for each input, and how sure that is.
    pub inputs: Vec<InputReport>,
    pub seed: u64,
    pub final_loss: Option<f64>,
    pub assessment: Assessment,
    pub provenance: Provenance,
    pub warnings: Vec<String>,
    #[serde(flatten)]
    pub cost: Cost,
}

/// What `zeroq sensitivity` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SensitivityReport {
    pub schema: u32,
    pub command: &'static str,
    pub version: &'static str,
    pub model: FileReport,
    pub target: String,
    pub seed: u64,
    #[serde(flatten)]
    pub profile: super::Profile,
    pub warnings: Vec<String>,
    #[serde(flatten)]
    pub cost: Cost,
}

/// What `zeroq compare` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CompareReport {
    pub schema: u32,
    pub command: &'static str,
    pub version: &'static str,
    pub reference: FileReport,
    pub candidate: FileReport,
    pub comparison: Comparison,
    /// Values within the networks, where they were wanted.
    pub layers: Option<Vec<LayerComparison>>,
    /// Time of one sample in ONNX Runtime, where it was wanted.
    pub latency: Option<Ratio>,
    /// One for each limit and each figure that it is for.
    pub verdicts: Vec<Verdict>,
    /// Whether every limit is met.
    pub passed: bool,
    pub provenance: Provenance,
    pub warnings: Vec<String>,
    #[serde(flatten)]
    pub cost: Cost,
}

/// What a comparison must reach at least, on every output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Thresholds {
    pub agreement_percent: Option<f64>,
    pub sqnr_db: Option<f64>,
}

impl Thresholds {
    /// One line for each threshold that `comparison` misses.
    pub fn missed(&self, comparison: &Comparison) -> Vec<String> {
        let mut missed = Vec::new();
        for output in &comparison.outputs {
            if let (Some(least), Some(found)) = (self.agreement_percent, output.agreement_percent)
                && found < least
            {
                let of = output.agreement_of.map_or("samples", Unit::name);
                missed.push(format!("output `{}` agrees on {found:.2} % of the {of}, less than {least} %", output.name));
            }
            let sqnr = output.least_sqnr();
            if let Some(least) = self.sqnr_db.filter(|least| sqnr < *least) {
                missed.push(format!("{} has an SQNR of {sqnr:.2} dB, less than {least} dB", output.worst_place()));
            }
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renewed by `ZEROQ_RENEW=1 cargo test --lib the_schema`.
    #[test]
    fn the_schema_in_the_repository_is_that_of_the_report() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/compare.schema.json");
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(CompareReport)).unwrap() + "\n";
        if std::env::var_os("ZEROQ_RENEW").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), schema, "renew it: ZEROQ_RENEW=1 cargo test --lib the_schema");
    }

    fn comparison(agreement_percent: Option<f64>, sqnr_db: f64) -> Comparison {
        let output = OutputComparison { name: "y".into(), agreement_percent, sqnr_db, ..OutputComparison::default() };
        Comparison { samples: 1, outputs: vec![output], ..Comparison::default() }
    }

    #[test]
    fn a_missed_threshold_is_named() {
        let thresholds = Thresholds { agreement_percent: Some(99.0), sqnr_db: Some(20.0) };
        assert!(thresholds.missed(&comparison(Some(99.0), 20.0)).is_empty());
        assert!(thresholds.missed(&comparison(None, 25.0)).is_empty());
        assert_eq!(thresholds.missed(&comparison(Some(98.0), 19.0)).len(), 2);
        assert!(Thresholds::default().missed(&comparison(Some(0.0), -120.0)).is_empty());
    }
}
