//! `zeroq quantize`.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};

use super::arguments::{Flag, ImageArguments, InputShape, choice_parser, first_said};
use super::check::CheckArguments;
use super::corrections::CorrectionArguments;
use super::describe::describe_report;
use super::mixed::MixedArguments;
use super::output::{check_output, print, print_json, write_file, write_model};
use super::pictures::PictureArguments;
use super::report::{Evidence, ReportForm, render};
use super::resume::ResumeArguments;
use super::tuning::TuningArguments;
use super::{Context, Outcome, recipe, work};
use crate::calibration::{Framing, RangeSource, observers};
use crate::distillation::Corrections;
use crate::error::{Error, Result};
use crate::evaluation::{FileReport, QuantizeReport};
use crate::limits::Limits;
use crate::onnx::Encoded;
use crate::pipeline::{self, Checking, Mixed, Tuning};
use crate::progress::Progress;
use crate::quantization::{Objective, Width, Widths, targets};
use crate::synthesis::input_range::InputRange;
use crate::synthesis::method::Method;

const EXAMPLES: &str = "\
Examples:
  zeroq quantize model.onnx -o model_int8.onnx
  zeroq quantize model.onnx -o model_int8.onnx --input-range=-124,27 --seed 1
  zeroq quantize model.onnx -o model_int8.onnx --calibration pictures/ --input-range imagenet
  zeroq quantize model.onnx -o model_int8.onnx --exclude '/head/*' --json --report run.json
  zeroq quantize model.onnx -o model_int8.onnx --report run.html
  zeroq quantize model.onnx -o model_int8.onnx --autotune
  zeroq quantize model.onnx -o model_fp16.onnx --precision fp16
  zeroq quantize model.onnx -o model_w4a4.onnx --precision w4a4 --all-layers
  zeroq quantize model.onnx -o model_mixed.onnx --precision mixed --max-size 0.15x";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// 8-bit integers
    Int8,
    /// 4-bit weights, 8-bit activations; first and last layers stay 8-bit
    W4a8,
    /// 4-bit weights and activations; first and last layers stay 8-bit
    W4a4,
    /// 8-bit weights, 16-bit activations
    W8a16,
    /// Each layer 4, 8, 16 bits or float, as its measured sensitivity and --max-size or --min-sqnr want it
    Mixed,
    /// 16-bit floats; inputs and outputs stay 32-bit
    Fp16,
}

impl Precision {
    pub fn name(self) -> &'static str {
        match self {
            Precision::Int8 => "int8",
            Precision::W4a8 => "w4a8",
            Precision::W4a4 => "w4a4",
            Precision::W8a16 => "w8a16",
            Precision::Mixed => "mixed",
            Precision::Fp16 => "fp16",
        }
    }

    /// Widths of weights and activations, where they become integers.
    pub fn widths(self, all_layers: bool) -> Option<Widths> {
        let (weights, activations) = match self {
            Precision::Int8 => (Width::Eight, Width::Eight),
            Precision::W4a8 => (Width::Four, Width::Eight),
            Precision::W4a4 => (Width::Four, Width::Four),
            Precision::W8a16 => (Width::Eight, Width::Sixteen),
            Precision::Mixed => (Width::Four, Width::Eight),
            Precision::Fp16 => return None,
        };
        Some(Widths { weights, activations, all_layers: all_layers || self == Precision::Mixed })
    }
}

pub fn target_names() -> PossibleValuesParser {
    targets::all().into_iter().map(|target| PossibleValue::new(target.name).help(target.description)).into()
}

pub fn observer_names() -> PossibleValuesParser {
    observers::all().iter().map(|observer| observer.name()).into()
}

/// Quantize a model; calibration images are synthesized unless they are given
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", recipe::listing()))]
pub struct QuantizeArguments {
    /// The model, an .onnx file with float weights
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Where the quantized model goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the output if it exists
    #[arg(short, long)]
    pub force: bool,
    /// What numbers become
    #[arg(long, default_value = "int8")]
    pub precision: Precision,
    /// The runtime whose rules decide what becomes integer
    #[arg(long, default_value = targets::all()[0].name, value_parser = target_names())]
    pub target: String,
    /// What to run on integers; weights are stored in 8 bits either way
    #[arg(long, default_value = Objective::ALL[0].name(), value_parser = choice_parser(&Objective::ALL, Objective::name, Objective::description))]
    pub objective: Objective,
    /// Time candidates in ONNX Runtime on this machine and keep the fastest; needs ORT_DYLIB_PATH. Another run may then write
    /// other bytes
    #[arg(long, conflicts_with = "objective")]
    pub autotune: bool,
    /// Images to calibrate on instead of synthesized ones: a folder of `zeroq synthesize`, a folder of PNG or JPEG pictures,
    /// a .safetensors, .npy or .npz
    #[arg(long, value_name = "PATH")]
    pub calibration: Option<PathBuf>,
    /// Do not bring channels to like ranges first, which leaves the float function as it is
    #[arg(hide_short_help = true, long)]
    pub no_equalize: bool,
    /// How ranges are found
    #[arg(hide_short_help = true, long, default_value = observers::all()[0].name(), value_parser = observer_names())]
    pub observer: String,
    /// Where ranges come from
    #[arg(hide_short_help = true, long, default_value = RangeSource::ALL[0].name(), value_parser = choice_parser(&RangeSource::ALL, RangeSource::name, RangeSource::description))]
    pub ranges: RangeSource,
    /// Keep the nodes float whose name matches this pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Make the first and last layers 4-bit too; with --precision w4a8 or w4a4
    #[arg(hide_short_help = true, long)]
    pub all_layers: bool,
    /// Make inputs and outputs 16-bit too; with --precision fp16
    #[arg(hide_short_help = true, long)]
    pub fp16_io: bool,
    /// Write large tensors into a file of their own beside the output, called as the output with part of its digest and .data
    /// behind it; done anyway where one file would have 2 GiB
    #[arg(hide_short_help = true, long)]
    pub external_data: bool,
    /// Accept a model that is quantized in parts already
    #[arg(hide_short_help = true, long)]
    pub requantize: bool,
    #[command(flatten)]
    pub resume: ResumeArguments,
    /// Write a report into this file too: one page to look at where its name ends in .html, all figures where it ends in .json
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub images: ImageArguments,
    #[command(flatten)]
    pub pictures: PictureArguments,
    #[command(flatten)]
    pub tuning: TuningArguments,
    #[command(flatten)]
    pub corrections: CorrectionArguments,
    #[command(flatten)]
    pub mixed: MixedArguments,
    #[command(flatten)]
    pub check: CheckArguments,
}

/// What to quantize and how: plain values, whatever the flags are called.
#[derive(Clone, Debug)]
pub struct QuantizeRequest {
    pub model: PathBuf,
    pub precision: Precision,
    /// For [`Precision::Mixed`].
    pub mixed: Mixed,
    pub check: Option<Checking>,
    pub target: String,
    pub objective: Objective,
    pub autotune: bool,
    pub calibration: Option<PathBuf>,
    pub stats_from: Option<PathBuf>,
    pub input_range: InputRange,
    pub framing: Framing,
    pub shapes: Vec<InputShape>,
    pub images: Option<usize>,
    pub steps: Option<usize>,
    pub tuning: Tuning,
    pub equalize: bool,
    pub corrections: Corrections,
    pub observer: String,
    pub ranges: RangeSource,
    pub exclude: Vec<String>,
    pub seed: u64,
    pub all_layers: bool,
    pub method: Method,
    pub fp16_io: bool,
    pub requantize: bool,
    pub resume: bool,
    pub require_bn: bool,
    pub external_data: bool,
    pub execution: crate::execution::Config,
    pub limits: Limits,
}

impl QuantizeRequest {
    /// # Errors
    /// If there is no such target.
    pub fn config(&self) -> Result<pipeline::Config> {
        let target = targets::find(&self.target).ok_or_else(|| Error::Usage(format!("there is no target `{}`", self.target)))?;
        Ok(pipeline::Config {
            target,
            widths: self.precision.widths(self.all_layers).unwrap_or(Widths::INT8),
            mixed: (self.precision == Precision::Mixed).then(|| self.mixed.clone()),
            check: self.check,
            objective: self.objective,
            autotune: self.autotune,
            observer: Some(self.observer.clone()),
            ranges: self.ranges,
            exclude: self.exclude.clone(),
            equalize: self.equalize,
            corrections: self.corrections,
            input_range: self.input_range.clone(),
            images: self.images,
            steps: self.steps,
            tuning: self.tuning,
            seed: self.seed,
            method: self.method.clone(),
            statistics_from: None,
            execution: self.execution,
        })
    }
}

/// A quantized model.
pub struct Quantization {
    /// As its files have it.
    pub encoded: Encoded,
    /// The files that the original has beside its own.
    pub inputs: Vec<PathBuf>,
    pub report: QuantizeReport,
    /// What a page shows; only where one is wanted.
    pub evidence: Option<Evidence>,
}

impl QuantizeArguments {
    fn request(&self, context: &Context) -> Result<QuantizeRequest> {
        self.check()?;
        let (images, recipe) = recipe::complete(&self.images)?;
        let input_range = images.ranges();
        Ok(QuantizeRequest {
            method: images.method.method(recipe)?,
            model: self.model.clone(),
            precision: self.precision,
            mixed: self.mixed.mixed(),
            check: self.check.checking(),
            target: self.target.clone(),
            objective: self.objective,
            autotune: self.autotune,
            calibration: self.calibration.clone(),
            stats_from: images.stats_from,
            input_range,
            framing: self.pictures.framing(),
            shapes: images.shapes,
            images: images.images,
            steps: images.steps,
            tuning: self.tuning.tuning(),
            equalize: !self.no_equalize,
            corrections: self.corrections.corrections(),
            observer: self.observer.clone(),
            ranges: self.ranges,
            exclude: self.exclude.clone(),
            all_layers: self.all_layers,
            seed: images.seed.unwrap_or(0),
            fp16_io: self.fp16_io,
            requantize: self.requantize,
            resume: self.resume.resume,
            require_bn: images.require_bn,
            external_data: self.external_data,
            execution: context.execution,
            limits: context.limits,
        })
    }

    /// The flags that are for integers.
    fn integer_flags(&self) -> impl Iterator<Item = Flag> {
        let own = [
            ("--exclude", !self.exclude.is_empty()),
            ("--target", self.target != targets::all()[0].name),
            ("--objective", self.objective != Objective::ALL[0]),
            ("--observer", self.observer != observers::all()[0].name()),
            ("--ranges", self.ranges != RangeSource::ALL[0]),
            ("--no-equalize", self.no_equalize),
        ];
        own.into_iter().chain(self.tuning.flags()).chain(self.corrections.flags()).chain(self.check.flags())
    }

    fn check(&self) -> Result<()> {
        if self.fp16_io && self.precision != Precision::Fp16 {
            return Err(Error::Usage("--fp16-io needs --precision fp16".into()));
        }
        if let (Some(flag), Precision::Fp16) = (first_said(self.integer_flags()), self.precision) {
            return Err(Error::Usage(format!("{flag} is for integers, not for --precision fp16")));
        }
        let on_cpu = targets::find(&self.target).is_some_and(|target| target.timed_on.is_some());
        if on_cpu && self.objective == Objective::Latency && self.precision != Precision::Int8 {
            return Err(Error::Usage(
                "--objective latency needs --precision int8: integers of other sizes run no faster than float".into(),
            ));
        }
        if self.autotune && self.precision != Precision::Int8 {
            return Err(Error::Usage("--autotune needs --precision int8: integers of other sizes run no faster than float".into()));
        }
        if self.autotune && self.resume.resume {
            return Err(Error::Usage("--resume cannot go on from what --autotune measured: it would measure something else".into()));
        }
        if self.all_layers && !matches!(self.precision, Precision::W4a8 | Precision::W4a4) {
            return Err(Error::Usage("--all-layers needs --precision w4a8 or w4a4".into()));
        }
        if self.precision == Precision::Mixed && self.check.check_budget.is_some() {
            return Err(Error::Usage("--check-budget is not for --precision mixed, whose size is its budget: it is only checked".into()));
        }
        self.mixed.check(self.precision)?;
        self.images.refuse_beside("--calibration", self.calibration.as_deref())?;
        self.pictures.refuse_without("--calibration", self.calibration.as_deref())?;
        let inputs = [Some(self.model.as_path()), self.calibration.as_deref(), self.images.stats_from.as_deref()];
        let inputs: Vec<&Path> = inputs.into_iter().flatten().collect();
        check_output(&self.output, &inputs, self.force)?;
        match &self.report {
            Some(report) if *report == self.output => Err(Error::Usage("--report and --output name the same file".into())),
            Some(report) => ReportForm::of(report).and_then(|_| check_output(report, &inputs, self.force)),
            None => Ok(()),
        }
    }
}

/// Whether the self-check failed, or a range was guessed.
fn is_doubtful(report: &QuantizeReport) -> bool {
    report.check.as_ref().is_some_and(|check| !check.passed) || report.inputs.iter().any(|input| !input.certainty.is_sure())
}

pub fn run(arguments: &QuantizeArguments, context: &Context) -> Result<Outcome> {
    work::check_model(&arguments.model)?;
    let request = arguments.request(context)?;
    let form = arguments.report.as_deref().map(ReportForm::of).transpose()?;
    let work = work::quantize(&request, &arguments.output, form == Some(ReportForm::Html), &context.terminal);
    let Quantization { encoded, inputs, mut report, evidence } = arguments.resume.explain(work, &arguments.output, context)?;
    context.terminal.check()?;
    report.output = FileReport::new(&arguments.output, &encoded);
    let told = arguments.report.as_deref().map(|path| Ok((path, render(&report, evidence.as_ref())?))).transpose()?;
    write_model(&arguments.output, &encoded, &inputs, arguments.force)?;
    if let Some((path, text)) = told {
        write_file(path, text.as_bytes(), arguments.force)?;
    }
    arguments.resume.finish(&arguments.output)?;
    if context.json {
        print_json(&report)?
    } else {
        print(&describe_report(&report))?
    }
    Ok(if arguments.check.strict && is_doubtful(&report) { Outcome::ThresholdMissed } else { Outcome::Done })
}
