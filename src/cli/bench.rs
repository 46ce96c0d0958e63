//! `zeroq bench`.

use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::arguments::{InputShape, count_parser};
use super::output::{print, print_json};
use super::text::{escape_name, plural, shape};
use super::{Context, Outcome, work};
use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::error::{Error, Result};
use crate::evaluation::{Bench, BenchReport, Cost, Plan, Ratio, SCHEMA, Speed, Stopwatch, Subject, bench, require_onnx_runtime};
use crate::graph::{Graph, ValueId};
use crate::memory;
use crate::onnx::Model;
use crate::passes::sample_shape;
use crate::progress::Progress;
use crate::random::Random;

const EXAMPLES: &str = "\
Examples:
  ORT_DYLIB_PATH=libonnxruntime.so zeroq bench model.onnx
  zeroq bench model.onnx model_int8.onnx --threads 1
  zeroq bench model.onnx model_int8.onnx --batch 8 --runs 500 --warmup 50 --json
  zeroq bench model.onnx --shape image=1x3x640x640";

/// Time one model in ONNX Runtime, or two in turn
///
/// Needs ORT_DYLIB_PATH, which names the shared library of onnxruntime. Two models take turns of up to 10 ms, so that what
/// disturbs the machine disturbs both; their ratio is the median of 25 blocks of such rounds, with its 95 % confidence
/// interval. What is within 1 % of each other is not told apart: two copies of one file differ by half of that. Inputs are
/// random numbers from 0 to 1.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BenchArguments {
    /// The model
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Another one to hold against it, with the same inputs
    #[arg(value_name = "OTHER")]
    pub other: Option<PathBuf>,
    /// Runs of each model that count [default: about three seconds of them, 20 to 5000]
    #[arg(long, value_name = "N", value_parser = count_parser(1, 1_000_000))]
    pub runs: Option<usize>,
    /// Runs before these that do not count [default: about half a second of them]
    #[arg(long, value_name = "N", value_parser = count_parser(0, 1_000_000))]
    pub warmup: Option<usize>,
    /// Samples in one run, where the model leaves that open [default: 1]
    #[arg(long, value_name = "N", value_parser = count_parser(1, 65_536))]
    pub batch: Option<usize>,
    /// Shape of an input whose sizes the model leaves open, as in --shape input=1x3x224x224; may be repeated
    #[arg(long = "shape", value_name = "NAME=SIZES", value_parser = InputShape::from_str)]
    pub shapes: Vec<InputShape>,
}

pub fn run(arguments: &BenchArguments, context: &Context) -> Result<Outcome> {
    let paths = || std::iter::once(&arguments.model).chain(&arguments.other);
    paths().try_for_each(|path| work::check_model(path))?;
    require_onnx_runtime()?;
    let stopwatch = Stopwatch::new(&context.terminal);
    let mut models = paths().map(|path| work::load(path, &context.limits, &stopwatch)).collect::<Result<Vec<_>>>()?;
    work::bind(&mut models[0].graph, &arguments.shapes, &stopwatch)?;
    let shapes = arguments.input_shapes(&models[0].graph)?;
    models.iter().skip(1).try_for_each(|other| check_inputs(&models[0], other))?;
    let set = random_sample(&shapes)?;
    let files: Vec<_> = models.iter().map(|model| (subject(model), work::file_report(model))).collect();
    let plan = Plan { warmup: arguments.warmup, runs: arguments.runs };
    let found = bench(&files, &set, plan, &stopwatch)?;
    let report = BenchReport {
        schema: SCHEMA,
        command: "bench",
        version: work::VERSION,
        engine: "ONNX Runtime",
        inputs: shapes,
        bench: found,
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, &context.execution),
    };
    context.terminal.check()?;
    if context.json {
        print_json(&report)?
    } else {
        print(&describe(&report))?
    }
    Ok(Outcome::Done)
}

fn subject(model: &Model) -> Subject<'_> {
    Subject { label: "model", bytes: &[], path: Some(&model.path), graph: &model.graph }
}

impl BenchArguments {
    /// Names and shapes of the inputs of `graph`.
    fn input_shapes(&self, graph: &Graph) -> Result<Vec<(String, Vec<usize>)>> {
        let open = |value: &ValueId| graph.value(*value).shape.iter().flatten().next().is_some_and(|size| size.known().is_none());
        if let Some(batch) = self.batch
            && !graph.inputs.iter().any(open)
        {
            return Err(Error::Usage(format!("--batch {batch}: the model leaves no batch open, `zeroq inspect` shows its inputs")));
        }
        let shape = |value: &ValueId| {
            let (name, mut shape) = (graph.value(*value).name.clone(), sample_shape(graph, *value)?);
            let said = self.shapes.iter().find(|input| input.name == name).and_then(|input| input.shape.first());
            if let (true, Some(first)) = (open(value), shape.first_mut()) {
                *first = self.batch.or(said.copied()).unwrap_or(1);
            }
            Ok((name, shape))
        };
        graph.inputs.iter().map(shape).collect()
    }
}

/// # Errors
/// If `other` takes inputs that `model` does not.
fn check_inputs(model: &Model, other: &Model) -> Result<()> {
    let names = |model: &Model| model.graph.inputs.iter().map(|value| model.graph.value(*value).name.clone()).collect::<Vec<_>>();
    let (own, theirs) = (names(model), names(other));
    match theirs.iter().find(|name| !own.contains(name)) {
        Some(name) => Err(Error::Usage(format!(
            "{} has an input `{name}`, {} has only `{}`: both must take the same inputs",
            other.path.display(),
            model.path.display(),
            own.join("`, `")
        ))),
        None => Ok(()),
    }
}

/// The same numbers every time.
fn random_sample(shapes: &[(String, Vec<usize>)]) -> Result<CalibrationSet> {
    let samples = |(index, (name, shape)): (usize, &(String, Vec<usize>))| {
        let count = shape.iter().try_fold(1u64, |count, size| count.checked_mul(*size as u64)).unwrap_or(u64::MAX);
        memory::require(count.saturating_mul(3 * size_of::<f32>() as u64), &format!("input `{name}`"))?;
        let mut random = Random::new(0, index as u64);
        Samples::new(name, shape.clone(), (0..count).map(|_| random.uniform()).collect())
    };
    let inputs = shapes.iter().enumerate().map(samples).collect::<Result<Vec<_>>>()?;
    Ok(CalibrationSet { inputs, provenance: Provenance::default() })
}

fn describe(report: &BenchReport) -> String {
    let inputs: Vec<String> = report.inputs.iter().map(|(name, sizes)| format!("{} {}", escape_name(name), shape(sizes))).collect();
    let Bench { warmup, files, ratio } = &report.bench;
    let mut text = format!("{}, {}, {}, {warmup} rounds before\n", report.engine, plural(report.cost.threads, "thread"), inputs.join(", "));
    let _ = writeln!(text, "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}  ms", "min", "p50", "p90", "p99", "mean", "±", "runs");
    for file in files {
        for time in [file.min_ms, file.p50_ms, file.p90_ms, file.p99_ms, file.mean_ms, file.deviation_ms] {
            let _ = write!(text, "{time:>9.4} ");
        }
        let outliers = if file.outliers == 0 { String::new() } else { format!(", {} outliers", file.outliers) };
        let _ = writeln!(text, "{:>6}  {}{outliers}", file.runs, escape_name(&file.model.path));
    }
    if let (Some(ratio), [first, second]) = (ratio, files.as_slice()) {
        text += &describe_ratio(ratio, &escape_name(&first.model.path), &escape_name(&second.model.path));
    }
    text
}

fn describe_ratio(ratio: &Ratio, first: &str, second: &str) -> String {
    let verdict = match ratio.verdict {
        Speed::Faster => format!("{:.2} times as fast", 1.0 / ratio.median),
        Speed::Slower => "slower".to_string(),
        Speed::NotToldApart => "no difference that these runs can tell".to_string(),
    };
    format!("{second} takes {ratio} of the time of {first}: {verdict}\n")
}
