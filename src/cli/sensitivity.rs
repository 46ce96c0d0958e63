//! `zeroq sensitivity`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::arguments::ImageArguments;
use super::output::{check_output, print, print_json, write_file};
use super::pictures::PictureArguments;
use super::plot::plot;
use super::quantize::{Precision, QuantizeRequest, observer_names, target_names};
use super::text::{bytes, escape_name, plural};
use super::{Context, Outcome, recipe, work};
use crate::calibration::{RangeSource, observers};
use crate::distillation::{BiasCorrection, Corrections, Rounding};
use crate::error::Result;
use crate::evaluation::{LayerProfile, SensitivityReport};
use crate::pipeline::Tuning;
use crate::progress::Progress;
use crate::quantization::{Objective, targets};

const EXAMPLES: &str = "\
Examples:
  zeroq sensitivity model.onnx
  zeroq sensitivity model.onnx --plot model.svg
  zeroq sensitivity model.onnx --calibration images/ --json
  zeroq quantize model.onnx -o model_mixed.onnx --precision mixed --max-size 4.5bits";

/// Show how much the outputs mind each layer's precision, and what all layers can reach together
///
/// One layer at a time is quantized, its weights and what it reads, and nothing is tuned: a quantized model does better than
/// these numbers say. `quantize --precision mixed` chooses widths by them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", recipe::listing()))]
pub struct SensitivityArguments {
    /// The model, an .onnx file with float weights
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Draw it too, into this SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Replace the drawing if it exists
    #[arg(short, long)]
    pub force: bool,
    /// The runtime whose rules decide what may become integer
    #[arg(long, default_value = targets::all()[0].name, value_parser = target_names())]
    pub target: String,
    /// Images to measure on instead of synthesized ones: a folder of `zeroq synthesize`, a folder of PNG or JPEG pictures,
    /// a .safetensors, .npy or .npz
    #[arg(long, value_name = "PATH")]
    pub calibration: Option<PathBuf>,
    /// Do not bring channels to like ranges first
    #[arg(hide_short_help = true, long)]
    pub no_equalize: bool,
    /// How ranges are found
    #[arg(hide_short_help = true, long, default_value = observers::all()[0].name(), value_parser = observer_names())]
    pub observer: String,
    /// Leave out the nodes whose name matches this pattern; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    #[command(flatten)]
    pub images: ImageArguments,
    #[command(flatten)]
    pub pictures: PictureArguments,
}

impl SensitivityArguments {
    fn request(&self, context: &Context) -> Result<QuantizeRequest> {
        self.images.refuse_beside("--calibration", self.calibration.as_deref())?;
        self.pictures.refuse_without("--calibration", self.calibration.as_deref())?;
        let (images, recipe) = recipe::complete(&self.images)?;
        let input_range = images.ranges();
        Ok(QuantizeRequest {
            method: images.method.method(recipe)?,
            model: self.model.clone(),
            precision: Precision::Mixed,
            mixed: Default::default(),
            check: None,
            target: self.target.clone(),
            objective: Objective::ALL[0],
            autotune: false,
            stats_from: images.stats_from.clone(),
            corrections: Corrections { absorb_bias: false, rounding: Rounding::Nearest, bias: BiasCorrection::None },
            calibration: self.calibration.clone(),
            input_range,
            framing: self.pictures.framing(),
            shapes: images.shapes,
            images: images.images,
            steps: images.steps,
            tuning: Tuning::NONE,
            equalize: !self.no_equalize,
            observer: self.observer.clone(),
            ranges: RangeSource::Images,
            exclude: self.exclude.clone(),
            seed: images.seed.unwrap_or(0),
            all_layers: true,
            fp16_io: false,
            requantize: false,
            resume: false,
            require_bn: images.require_bn,
            external_data: false,
            execution: context.execution,
            limits: context.limits,
        })
    }
}

pub fn run(arguments: &SensitivityArguments, context: &Context) -> Result<Outcome> {
    work::check_model(&arguments.model)?;
    let inputs: Vec<&Path> = std::iter::once(arguments.model.as_path())
        .chain(arguments.calibration.as_deref())
        .chain(arguments.images.stats_from.as_deref())
        .collect();
    arguments.plot.as_ref().map_or(Ok(()), |path| check_output(path, &inputs, arguments.force))?;
    let report = work::sensitivity(&arguments.request(context)?, &context.terminal)?;
    context.terminal.check()?;
    if let Some(path) = &arguments.plot {
        write_file(path, plot(&report.profile).as_bytes(), arguments.force)?;
    }
    if context.json {
        print_json(&report)?
    } else {
        print(&describe(&report))?
    }
    Ok(Outcome::Done)
}

/// Bits for each weight that the frontier is printed at.
const BITS: [f64; 11] = [4.0, 4.25, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 12.0, 16.0, 32.0];

fn describe(report: &SensitivityReport) -> String {
    let profile = &report.profile;
    let mut text = format!("SQNR of the outputs with one layer quantized, on {}\n", plural(profile.samples, "sample"));
    let _ = writeln!(text, "{:>9} {:>9} {:>9} {:>10}  layer", "4 bits", "8 bits", "16 bits", "weights");
    for layer in &profile.layers {
        for width in layer.widths.iter().filter(|width| width.width != "float") {
            let _ = write!(text, "{:>6.1} dB ", width.sqnr_db);
        }
        let _ = writeln!(text, "{:>10}  {}", layer.weights, title(layer));
    }
    text += "best of all layers together, predicted for nothing tuned\n";
    let _ = writeln!(text, "{:>9} {:>13} {:>12}", "SQNR", "bits/weight", "weights");
    let mut told = 0.0;
    for bits in BITS {
        let point = profile.frontier.iter().rfind(|point| point.average_bits <= bits && point.average_bits > told);
        if let Some(point) = point {
            told = point.average_bits;
            let _ = writeln!(text, "{:>6.1} dB {:>13.2} {:>12}", point.sqnr_db, point.average_bits, bytes(point.weight_bytes));
        }
    }
    text
}

/// Operator and names of a layer.
pub fn title(layer: &LayerProfile) -> String {
    let nodes = layer.nodes.iter().map(|node| format!("`{}`", escape_name(node))).collect::<Vec<_>>().join(", ");
    format!("{} {nodes}", layer.operator)
}
