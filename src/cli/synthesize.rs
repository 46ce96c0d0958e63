//! `zeroq synthesize`.

use std::path::PathBuf;

use clap::Args;

use super::arguments::{ImageArguments, InputShape};
use super::output::{print, print_json};
use super::resume::ResumeArguments;
use super::text::{escape_name, plural};
use super::{Context, Outcome, recipe, work};
use crate::calibration::{Existing, check_folder, write_set};
use crate::error::Result;
use crate::evaluation::SynthesizeReport;
use crate::limits::Limits;
use crate::progress::Progress;
use crate::synthesis::input_range::InputRange;
use crate::synthesis::method::Method;
use crate::synthesis::{Assessment, Diversity};

const EXAMPLES: &str = "\
Examples:
  zeroq synthesize model.onnx -o images/
  zeroq synthesize model.onnx -o images/ -n 256 --steps 1000 --seed 1
  zeroq synthesize model.onnx -o images/ --recipe genie --steps 1000
  zeroq quantize model.onnx -o model_int8.onnx --calibration images/";

/// Synthesize calibration images from a model's BatchNormalization statistics
///
/// The folder gets PNG pictures to look at and one exact file, set.safetensors, that `quantize --calibration` takes back.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", recipe::listing()))]
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
    pub resume: ResumeArguments,
    #[command(flatten)]
    pub images: ImageArguments,
}

/// What to synthesize and how.
#[derive(Clone, Debug)]
pub struct SynthesizeRequest {
    pub model: PathBuf,
    pub stats_from: Option<PathBuf>,
    pub input_range: InputRange,
    pub shapes: Vec<InputShape>,
    pub images: Option<usize>,
    pub steps: Option<usize>,
    pub seed: u64,
    pub method: Method,
    pub require_bn: bool,
    pub execution: crate::execution::Config,
    pub limits: Limits,
}

impl SynthesizeRequest {
    /// # Errors
    /// If there is no such recipe.
    pub fn new(model: &std::path::Path, images: &ImageArguments, context: &Context) -> Result<Self> {
        let (images, recipe) = recipe::complete(images)?;
        let input_range = images.ranges();
        Ok(SynthesizeRequest {
            model: model.to_path_buf(),
            stats_from: images.stats_from,
            method: images.method.method(recipe)?,
            input_range,
            shapes: images.shapes,
            images: images.images,
            steps: images.steps,
            seed: images.seed.unwrap_or(0),
            require_bn: images.require_bn,
            execution: context.execution,
            limits: context.limits,
        })
    }
}

pub fn run(arguments: &SynthesizeArguments, context: &Context) -> Result<Outcome> {
    work::check_model(&arguments.model)?;
    let existing = if arguments.force { Existing::Replace } else { Existing::Refuse };
    check_folder(&arguments.output, existing)?;
    let request = SynthesizeRequest::new(&arguments.model, &arguments.images, context)?;
    let beside = arguments.resume.resume.then_some(arguments.output.as_path());
    let work = work::synthesize(&request, beside, &context.terminal);
    let (set, bounds, mut report) = arguments.resume.explain(work, &arguments.output, context)?;
    context.terminal.check()?;
    write_set(&set, &bounds, &arguments.output, existing)?;
    arguments.resume.finish(&arguments.output)?;
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
    let text = format!("{folder}: {images}, input range {}{loss}, {:.1} s\n", report.input_range, report.cost.seconds);
    text + &describe_assessment(&report.assessment)
}

/// One line, or none where there is nothing to say.
pub fn describe_assessment(assessment: &Assessment) -> String {
    let distance = assessment.distance.map(|distance| format!("BN distance {distance:.4}"));
    let diversity = assessment.diversity.as_ref().map(|diversity| {
        let Diversity { classes, classes_found, evenness, similarity } = diversity;
        format!("{classes_found} of {classes} classes, evenness {evenness:.2}, similarity {similarity:.2}")
    });
    let parts: Vec<String> = distance.into_iter().chain(diversity).collect();
    if parts.is_empty() { String::new() } else { format!("images: {}\n", parts.join(", ")) }
}
