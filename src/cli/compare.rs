//! `zeroq compare`.

use std::path::PathBuf;

use clap::Args;

use super::arguments::{ImageArguments, number_parser};
use super::describe::describe_comparison;
use super::output::{print, print_json};
use super::synthesize::SynthesizeRequest;
use super::{Context, Outcome, work};
use crate::error::Result;
use crate::evaluation::Thresholds;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  zeroq compare model.onnx model_int8.onnx
  zeroq compare model.onnx model_int8.onnx --data pictures/ --input-range imagenet
  zeroq compare model.onnx model_int8.onnx --data x.npy --min-agreement 99 --min-sqnr 20 --json
  ORT_DYLIB_PATH=libonnxruntime.so zeroq compare model.onnx model_int8.onnx";

/// Compare the outputs of two models, on given data or on images synthesized from the first
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompareArguments {
    /// The model that is right
    #[arg(value_name = "REFERENCE")]
    pub reference: PathBuf,
    /// The model that is measured
    #[arg(value_name = "CANDIDATE")]
    pub candidate: PathBuf,
    /// What to run both on: a folder of pictures or of `zeroq synthesize`, a .safetensors, .npy or .npz
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Exit with 1 if fewer percent of the samples have the same greatest output
    #[arg(long, value_name = "PERCENT", value_parser = number_parser(0.0, 100.0))]
    pub min_agreement: Option<f64>,
    /// Exit with 1 if the signal-to-noise ratio of an output is lower, in decibels
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = number_parser(-120.0, 120.0))]
    pub min_sqnr: Option<f64>,
    #[command(flatten)]
    pub images: ImageArguments,
}

/// What to compare, and on what.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// The reference, and how to synthesize from it where there is no data.
    pub reference: SynthesizeRequest,
    pub candidate: PathBuf,
    pub data: Option<PathBuf>,
    pub thresholds: Thresholds,
}

pub fn run(arguments: &CompareArguments, context: &Context) -> Result<Outcome> {
    work::check_model(&arguments.reference)?;
    work::check_model(&arguments.candidate)?;
    arguments.images.refuse_beside("--data", arguments.data.as_deref())?;
    let request = CompareRequest {
        reference: SynthesizeRequest::new(&arguments.reference, &arguments.images, context)?,
        candidate: arguments.candidate.clone(),
        data: arguments.data.clone(),
        thresholds: Thresholds { agreement_percent: arguments.min_agreement, sqnr_db: arguments.min_sqnr },
    };
    let report = work::compare(&request, &context.terminal)?;
    if context.json {
        print_json(&report)?
    } else {
        print(&describe_comparison(&report.comparison))?
    }
    for missed in request.thresholds.missed(&report.comparison) {
        context.terminal.warn(&missed);
    }
    Ok(if report.passed { Outcome::Done } else { Outcome::ThresholdMissed })
}
