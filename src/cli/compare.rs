//! `zeroq compare`: what a pipeline asks before it ships a model.

use std::path::{Path, PathBuf};

use clap::Args;

use super::arguments::{ImageArguments, choice_parser};
use super::formats::{Format, FormatFile, annotations};
use super::gate::GateArguments;
use super::output::{check_output, print, write_file};
use super::pictures::PictureArguments;
use super::synthesize::SynthesizeRequest;
use super::task::TaskArguments;
use super::terminal::print_line;
use super::{Context, Outcome, comparison, work};
use crate::calibration::Framing;
use crate::error::{Error, Result};
use crate::evaluation::{Baseline, CompareReport};
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  zeroq compare model.onnx model_int8.onnx
  zeroq compare model.onnx model_int8.onnx --min-agreement 99 --min-sqnr 20 --max-size 0.4x
  zeroq compare model.onnx model_int8.onnx --data validation/ --max-top1-drop 0.5 --format junit > zeroq.xml
  zeroq compare unet.onnx unet_int8.onnx --data pictures/ --labels masks/ --min-iou 0.95 --max-iou-drop 1
  zeroq compare yolo.onnx yolo_int8.onnx --data pictures/ --labels instances.json --min-matched 95 --max-map-drop 1
  zeroq compare model.onnx model_int8.onnx --baseline released.json --max-regression 0.5 --write json=report.json
  ORT_DYLIB_PATH=libonnxruntime.so zeroq compare model.onnx model_int8.onnx --max-latency 1";

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
    /// What to run both on: a folder of pictures, of a folder for each class, or of `zeroq synthesize`, a .safetensors, .npy
    /// or .npz; an array `labels` in a .npz names the classes
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Names of the classes in the order of the scores, one a line, where --data has a folder for each or --labels boxes
    /// [default: the names of the folders, sorted, numbers taken as such; categories by their numbers]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub classes: Option<PathBuf>,
    /// Compare values within the networks too, where the names are the same in both
    #[arg(long)]
    pub layers: bool,
    /// How the result is printed [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = choice_parser(&Format::ALL, Format::name, Format::description))]
    pub format: Option<Format>,
    /// Write the result to a file too, as in --write junit=report.xml; may be repeated
    #[arg(long, value_name = "FORMAT=FILE")]
    pub write: Vec<FormatFile>,
    /// Replace files of --write that exist
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    pub task: TaskArguments,
    #[command(flatten)]
    pub gate: GateArguments,
    #[command(flatten)]
    pub images: ImageArguments,
    #[command(flatten)]
    pub pictures: PictureArguments,
}

/// What to compare, and on what.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// The reference, and how to synthesize from it where there is no data.
    pub reference: SynthesizeRequest,
    pub candidate: PathBuf,
    pub data: Option<PathBuf>,
    pub classes: Option<PathBuf>,
    pub framing: Framing,
    pub layers: bool,
    pub task: TaskArguments,
    pub gate: GateArguments,
    pub baseline: Option<Baseline>,
}

pub fn run(arguments: &CompareArguments, context: &Context) -> Result<Outcome> {
    let CompareArguments { reference, candidate, data, gate, images, .. } = arguments;
    work::check_model(reference)?;
    work::check_model(candidate)?;
    images.refuse_beside("--data", data.as_deref())?;
    arguments.pictures.refuse_without("--data", data.as_deref())?;
    gate.check()?;
    arguments.task.check()?;
    let format = format(arguments, context)?;
    let inputs: Vec<&Path> =
        [Some(reference), Some(candidate), gate.baseline.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    arguments.write.iter().try_for_each(|to| check_output(&to.file, &inputs, arguments.force))?;
    let request = CompareRequest {
        reference: SynthesizeRequest::new(reference, images, context)?,
        candidate: candidate.clone(),
        data: data.clone(),
        classes: arguments.classes.clone(),
        framing: arguments.pictures.framing(),
        layers: arguments.layers || gate.min_layer_sqnr.is_some(),
        task: arguments.task.clone(),
        gate: gate.clone(),
        baseline: gate.baseline.as_deref().map(Baseline::read).transpose()?,
    };
    let report = comparison::compare(&request, &context.terminal)?;
    tell(&report, format, arguments, context)?;
    Ok(if report.passed || gate.exit_zero { Outcome::Done } else { Outcome::ThresholdMissed })
}

fn tell(report: &CompareReport, format: Format, arguments: &CompareArguments, context: &Context) -> Result<()> {
    for FormatFile { format, file } in &arguments.write {
        write_file(file, format.render(report)?.as_bytes(), arguments.force)?;
    }
    print(&format.render(report)?)?;
    if format != Format::Text {
        report.verdicts.iter().filter(|verdict| !verdict.passed).for_each(|verdict| context.terminal.warn(&verdict.message));
    }
    // Runners of GitHub Actions find annotations in either stream.
    if format != Format::Github && std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        annotations(report).lines().for_each(print_line);
    }
    Ok(())
}

fn format(arguments: &CompareArguments, context: &Context) -> Result<Format> {
    match (arguments.format, context.json) {
        (Some(format), true) if format != Format::Json => {
            Err(Error::Usage(format!("--json and --format {} name two formats for stdout: use --write for one of them", format.name())))
        }
        (_, true) => Ok(Format::Json),
        (format, false) => Ok(format.unwrap_or(Format::Text)),
    }
}
