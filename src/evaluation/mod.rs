//! How far two models are apart, told by an engine that is not ours where there is one.

mod baseline;
mod batches;
mod bench;
mod check;
mod compare;
mod curve;
mod engine;
mod gate;
mod input_report;
mod inspection;
mod latency;
mod layers;
mod layout;
mod metrics;
mod onnx_runtime;
mod own;
mod parts;
mod profile;
mod ranking;
mod reference;
mod report;
mod stopwatch;
#[cfg(feature = "tract")]
mod tract;

pub use baseline::Baseline;
pub use bench::{Bench, BenchReport, Plan, bench, require_library as require_onnx_runtime};
pub use check::{Check, CutOff, LayerCheck, Raise, WitnessCheck, examine};
pub use compare::{Options, Runtime, compare};
pub use curve::Curve;
pub use engine::{Engine, Subject};
pub use gate::{Gate, Measured, Place, Rule, Verdict};
pub use input_report::InputReport;
pub use inspection::*;
pub use latency::{Ratio, Speed, Trial, race};
pub use layers::{LayerComparison, compare_layers};
pub use layout::{Layout, Unit};
pub use metrics::{Metrics, agreement, measure};
pub use onnx_runtime::{OnnxRuntime, library as onnx_runtime_library};
pub use own::Own;
pub use parts::Part;
pub use profile::*;
pub use ranking::{ClassFolder, Found, RankedSet, SimilarityReport, rank};
pub use reference::Reference;
pub use report::*;
pub use stopwatch::Stopwatch;
#[cfg(feature = "tract")]
pub use tract::Tract;
