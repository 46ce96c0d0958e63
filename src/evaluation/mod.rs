//! How far two models are apart, told by an engine that is not ours where there is one.

mod bench;
mod check;
mod compare;
mod engine;
mod inspection;
mod latency;
mod metrics;
mod onnx_runtime;
mod own;
mod profile;
mod ranking;
mod reference;
mod report;
mod stopwatch;
#[cfg(feature = "tract")]
mod tract;

pub use bench::{Bench, BenchReport, Plan, Ratio as BenchRatio, Verdict, bench, require_library as require_onnx_runtime};
pub use check::{Check, LayerCheck, Raise, examine};
pub use compare::{Options, Runtime, compare};
pub use engine::{Engine, Subject};
pub use inspection::*;
pub use latency::{Ratio, Trial, race};
pub use metrics::{Metrics, measure};
pub use onnx_runtime::{OnnxRuntime, library as onnx_runtime_library};
pub use own::Own;
pub use profile::*;
pub use ranking::{ClassFolder, Found, RankedSet, SimilarityReport, rank};
pub use reference::Reference;
pub use report::*;
pub use stopwatch::Stopwatch;
#[cfg(feature = "tract")]
pub use tract::Tract;
