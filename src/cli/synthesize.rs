//! `zeroq synthesize`.

use std::path::PathBuf;

use clap::Args;

use super::arguments::{ImageArguments, InputShape};
use super::output::{print, print_json};
use super::text::{escape_name, plural};
use super::{Context, Outcome, work};
use crate::calibration::{Existing, check_folder, write_set};
use crate::error::Result;
use crate::evaluation::SynthesizeReport;
use crate::progress::Progress;
use crate::synthesis::input_range::InputRange;

const EXAMPLES: &str = "\
Examples:
  zeroq synthesize model.onnx -o images/
  zeroq synthesize model.onnx -o images/ -n 256 --steps 1000 --seed 1
  zeroq quantize model.onnx -o model_int8.onnx --calibration images/";

/// Synthesize calibration images from a model's BatchNormalization statistics
///
/// The folder gets PNG pictures to look at and one exact file, set.safetensors, that `quantize --calibration` takes back.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SynthesizeArguments {
    /// The model, an .onnx file with its BatchNormalization nodes kept
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The folder that the images go to
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Replace the folder if it holds an earlier set
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    pub images: ImageArguments,
}

/// What to synthesize and how.
#[derive(Clone, Debug)]
pub struct SynthesizeRequest {
    pub model: PathBuf,
    pub input_range: InputRange,
    pub shapes: Vec<InputShape>,
    pub images: Option<usize>,
    pub steps: Option<usize>,
    pub seed: u64,
    pub execution: crate::execution::Config,
}

impl SynthesizeRequest {
    pub fn new(model: &std::path::Path, images: &ImageArguments, context: &Context) -> Self {
        SynthesizeRequest {
            model: model.to_path_buf(),
            input_range: images.input_range.clone(),
            shapes: images.shapes.clone(),
            images: images.images,
            steps: images.steps,
            seed: images.seed,
            execution: context.execution,
        }
    }
}

pub fn run(arguments: &SynthesizeArguments, context: &Context) -> Result<Outcome> {
    work::check_model(&arguments.model)?;
    let existing = if arguments.force { Existing::Replace } else { Existing::Refuse };
    check_folder(&arguments.output, existing)?;
    let request = SynthesizeRequest::new(&arguments.model, &arguments.images, context);
    let (set, bounds, mut report) = work::synthesize(&request, &context.terminal)?;
    context.terminal.check()?;
    write_set(&set, &bounds, &arguments.output, existing)?;
    report.folder = arguments.output.to_string_lossy().into_owned();
    if context.json {
        print_json(&report)?
    } else {
        print(&describe(&report))?
    }
    Ok(Outcome::Done)
}

fn describe(report: &SynthesizeReport) -> String {
    let loss = report.final_loss.map(|loss| format!(", final loss {loss:.4}")).unwrap_or_default();
    let (folder, images) = (escape_name(&report.folder), plural(report.images, "image"));
    format!("{folder}: {images}, input range {}{loss}, {:.1} s\n", report.input_range, report.cost.seconds)
}
