//! From flags to the library: the one place that knows both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::admission::{refuse_quantized, require_batch_normalization};
use super::arguments::InputShape;
use super::data::expected_inputs;
use super::quantize::{Precision, Quantization, QuantizeRequest};
use super::report::Evidence;
use super::resume::Run;
use super::synthesize::SynthesizeRequest;
use crate::calibration::{Bounds, CalibrationSet, read_set};
use crate::error::{Error, Result};
use crate::evaluation::{
    self, Cost, FileReport, FloatKernel, InputReport, InspectReport, KernelReport, QuantizeReport, Runtime, SCHEMA, SensitivityReport,
    Stopwatch, Subject, SynthesizeReport, dissect,
};
use crate::execution;
use crate::graph::Graph;
use crate::limits::Limits;
use crate::onnx::{self, Encoded, Model, Placement};
use crate::passes::{assumed_shapes, bind_shapes, infer_shapes, simplify, single_sample, widen_float16};
use crate::pipeline::{self, Budget, Quantized, Wishes};
use crate::progress::Progress;
use crate::quantization::{KernelForecast, targets};
use crate::synthesis::input::Input;
use crate::synthesis::sibling::{self, Sibling};
use crate::synthesis::{self, Assessment, Synthesis};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// # Errors
/// If there is no file at `path`: a check to make before anything else.
pub fn check_model(path: &Path) -> Result<()> {
    std::fs::metadata(path).map(drop).map_err(|error| Error::file(path, error))
}

/// Reads a model and tells what its reader has to say.
///
/// # Errors
/// If the file is no model.
pub fn load(path: &Path, limits: &Limits, progress: &dyn Progress) -> Result<Model> {
    let model = onnx::load(path, limits)?;
    tell(&model, progress);
    Ok(model)
}

fn tell(model: &Model, progress: &dyn Progress) {
    model.warnings.iter().for_each(|warning| progress.warn(warning));
    model.notes.iter().for_each(|note| progress.note(note));
}

/// What reports say of a model file.
pub fn file_report(model: &Model) -> FileReport {
    FileReport { path: model.path.to_string_lossy().into_owned(), bytes: model.file_bytes, sha256: model.sha256.clone() }
}

/// Quantizes; `output` is where the result will go, `looked_at` whether there will be a page.
///
/// # Errors
/// If the model cannot be quantized.
pub fn quantize(request: &QuantizeRequest, output: &Path, looked_at: bool, progress: &dyn Progress) -> Result<Quantization> {
    let stopwatch = Stopwatch::new(progress);
    let original = load_float(request, Some(output), &stopwatch)?;
    let mut config = request.config()?;
    config.statistics_from = sibling(request.stats_from.as_deref(), &original.graph, (&request.limits, &request.execution), &stopwatch)?;
    let given = given_samples(&original, request, &config, &stopwatch)?;
    let settings = QuantizeRequest { model: PathBuf::new(), calibration: None, stats_from: None, ..request.clone() };
    let run = Run { request: &settings, model: &original, sibling: config.statistics_from.as_ref(), given: given.as_ref() };
    let resumable = request.resume.then(|| run.open(output, &stopwatch)).transpose()?;
    let progress: &dyn Progress = resumable.as_ref().map_or(&stopwatch, |resumable| resumable);
    let mut work = match request.precision {
        Precision::Fp16 => pipeline::convert_to_float16(&original, given, !request.fp16_io, &config, progress)?,
        _ => pipeline::quantize(&original, given, &config, progress)?,
    };
    stopwatch.begin("write and compare", 0);
    let placement = if request.external_data { Placement::External } else { Placement::AsNeeded };
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let encoded = onnx::encode(&work.model, &name, placement)?;
    onnx::refuse_input(&original, &output.with_file_name(&encoded.data_name))?;
    encoded.hold(&mut work.model)?;
    let comparison = compare_result(&original, &work, &encoded, request, &stopwatch)?;
    stopwatch.end();
    let is_given = request.calibration.is_some();
    let evidence = looked_at.then(|| Evidence::gather(&original, &work, is_given, &config, &stopwatch)).transpose()?;
    let report = QuantizeReport {
        schema: SCHEMA,
        command: "quantize",
        version: VERSION,
        model: file_report(&original),
        output: FileReport::new(output, &encoded),
        precision: request.precision.name().into(),
        target: request.target.clone(),
        input_range: range_names(&work.inputs),
        inputs: work.inputs.iter().map(InputReport::of).collect(),
        seed: request.seed,
        kernels: kernel_report(work.kernels),
        autotune: work.trials,
        distillation: work.distillation,
        assessment: work.assessment,
        mixed: work.mixed,
        check: work.check,
        comparison,
        provenance: work.held_out.provenance,
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, &request.execution),
    };
    Ok(Quantization { encoded, inputs: original.external_files, report, evidence })
}

/// Reads a model to quantize, with the shapes that the user names.
fn load_float(request: &QuantizeRequest, output: Option<&Path>, progress: &dyn Progress) -> Result<Model> {
    let mut original = onnx::load(&request.model, &request.limits)?;
    refuse_quantized(&original, request)?;
    tell(&original, progress);
    if let Some(output) = output {
        onnx::check_output(&original, output, true)?;
    }
    if request.require_bn && request.stats_from.is_none() {
        require_batch_normalization(&original.graph)?;
    }
    widen(&mut original.graph, progress)?;
    original.fixed_batch = open(&mut original.graph, &request.shapes, &request.execution, progress)?;
    Ok(original)
}

/// Takes a model in float16 for one in float32.
///
/// # Errors
/// If layers have other floats.
fn widen(graph: &mut Graph, progress: &dyn Progress) -> Result<()> {
    if widen_float16(graph)? {
        progress.note("the model computes in float16: it is taken for the same model in float32, and what stays float is written so");
    }
    Ok(())
}

/// How much a model's outputs mind the precision of each layer.
///
/// # Errors
/// If the model cannot be quantized.
pub fn sensitivity(request: &QuantizeRequest, progress: &dyn Progress) -> Result<SensitivityReport> {
    let stopwatch = Stopwatch::new(progress);
    let original = load_float(request, None, &stopwatch)?;
    let mut config = request.config()?;
    config.statistics_from = sibling(request.stats_from.as_deref(), &original.graph, (&request.limits, &request.execution), &stopwatch)?;
    let given = given_samples(&original, request, &config, &stopwatch)?;
    let profile = pipeline::profile(&original, given, &config, &stopwatch)?;
    Ok(SensitivityReport {
        schema: SCHEMA,
        command: "sensitivity",
        version: VERSION,
        model: file_report(&original),
        target: request.target.clone(),
        seed: request.seed,
        profile,
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, &request.execution),
    })
}

fn given_samples(
    original: &Model,
    request: &QuantizeRequest,
    config: &pipeline::Config,
    progress: &dyn Progress,
) -> Result<Option<CalibrationSet>> {
    let Some(path) = &request.calibration else { return Ok(None) };
    let expected = expected_inputs(original, path, &request.input_range, &request.framing, config.execution, progress)?;
    read_set(path, &expected, &request.limits, progress).map(Some)
}

/// A result that no engine can compare is still a result.
fn compare_result(
    original: &Model,
    work: &Quantized,
    encoded: &Encoded,
    request: &QuantizeRequest,
    progress: &dyn Progress,
) -> Result<Option<evaluation::Comparison>> {
    // Runtimes open large originals by their path, and results in memory: those of two files only where one could hold them.
    let original_bytes = if original.graph.is_large() { Vec::new() } else { read_again(original)? };
    let reference = Subject { label: "original", bytes: &original_bytes, path: Some(&original.path), graph: &original.graph };
    let whole = encoded.has_data().then(|| onnx::to_bytes(&work.model)).transpose();
    let whole =
        whole.inspect_err(|error| progress.note(&format!("the result is compared in our own executor: {error}"))).unwrap_or_default();
    let bytes = whole.as_deref().unwrap_or(if encoded.has_data() { &[] } else { &encoded.model });
    let candidate = Subject { label: "result", bytes, path: None, graph: &work.model.graph };
    let options = evaluation::Options { execution: request.execution, runtime: Runtime::Preferred, ..evaluation::Options::default() };
    match evaluation::compare(&reference, &candidate, &work.held_out, &options) {
        Ok(comparison) => Ok(Some(comparison)),
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => {
            progress.warn(&format!("the result could not be compared with the original: {error}"));
            Ok(None)
        }
    }
}

fn kernel_report(kernels: Vec<KernelForecast>) -> KernelReport {
    let count = kernels.len();
    let float = kernels.into_iter().filter(|kernel| !kernel.integer);
    let float_nodes: Vec<FloatKernel> = float
        .map(|kernel| FloatKernel { node: kernel.node, operator: kernel.operator, reason: kernel.reason.unwrap_or_default() })
        .collect();
    KernelReport { integer: count - float_nodes.len(), float: float_nodes.len(), float_nodes }
}

/// What pixels become, for each input.
pub fn range_names(inputs: &[Input]) -> String {
    inputs.iter().map(|input| input.range.name.clone()).collect::<Vec<_>>().join("; ")
}

/// Images for a model, with what pixels 0 and 255 stand for in each input. What is reached is kept beside `output`, if given.
///
/// # Errors
/// If no images can be made for the model.
pub fn synthesize(
    request: &SynthesizeRequest,
    output: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(CalibrationSet, Vec<Option<Bounds>>, SynthesizeReport)> {
    let stopwatch = Stopwatch::new(progress);
    let model = load(&request.model, &request.limits, &stopwatch)?;
    let (synthesis, assessment) = synthesize_for(&model, request, output, &stopwatch)?;
    let bounds = synthesis.inputs.iter().map(|input| Some(input.range.channels.clone())).collect();
    let report = SynthesizeReport {
        schema: SCHEMA,
        command: "synthesize",
        version: VERSION,
        model: file_report(&model),
        folder: String::new(),
        images: synthesis.set.len(),
        input_range: range_names(&synthesis.inputs),
        inputs: synthesis.inputs.iter().map(InputReport::of).collect(),
        seed: request.seed,
        final_loss: synthesis.loss.map(|(_, last)| last),
        assessment,
        provenance: synthesis.set.provenance.clone(),
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, &request.execution),
    };
    Ok((synthesis.set, bounds, report))
}

/// Images, and what the model says of them.
///
/// # Errors
/// As [`synthesize`].
pub fn synthesize_for(
    model: &Model,
    request: &SynthesizeRequest,
    output: Option<&Path>,
    progress: &dyn Progress,
) -> Result<(Synthesis, Assessment)> {
    let mut graph = model.graph.clone();
    if request.require_bn && request.stats_from.is_none() {
        require_batch_normalization(&graph)?;
    }
    open(&mut graph, &request.shapes, &request.execution, progress)?;
    simplify(&mut graph)?;
    let wishes = Wishes { samples: request.images, steps: request.steps };
    let config = synthesis::Config {
        seed: request.seed,
        input_range: request.input_range.clone(),
        execution: request.execution,
        ..Budget::of(&single_sample(&graph)?).synthesis(wishes, &request.method)
    };
    let sibling = sibling(request.stats_from.as_deref(), &graph, (&request.limits, &request.execution), progress)?;
    let source = sibling.as_ref().map_or(&graph, |sibling| &sibling.graph);
    let settings = SynthesizeRequest { model: PathBuf::new(), stats_from: None, ..request.clone() };
    let run = Run { request: &settings, model, sibling: sibling.as_ref(), given: None };
    let resumable = output.map(|output| run.open(output, progress)).transpose()?;
    let kept: &dyn Progress = resumable.as_ref().map_or(progress, |resumable| resumable);
    let mut synthesis = sibling::synthesize_for(&graph, sibling.as_ref(), &config, kept)?;
    synthesis.set.provenance.model_sha256 = Some(model.sha256.clone());
    let assessment = synthesis::assess(source, &synthesis.set, &request.execution)?;
    Ok((synthesis, assessment))
}

/// The network at `path` as one to take statistics from for `model`, whose input sizes are known as far as they will be.
fn sibling(
    path: Option<&Path>,
    model: &Graph,
    (limits, execution): (&Limits, &execution::Config),
    progress: &dyn Progress,
) -> Result<Option<Sibling>> {
    let Some(path) = path else { return Ok(None) };
    let mut other = load(path, limits, progress)?;
    pipeline::open_batch(&mut other.graph, execution, progress)?;
    Sibling::new(other.graph, other.sha256, model).map(Some)
}

/// As [`bind`], for work on one sample at a time: a batch that the file fixes is opened. Returns how many samples it had.
///
/// # Errors
/// If a shape does not fit, or the graph is not sound.
pub fn open(graph: &mut Graph, shapes: &[InputShape], execution: &execution::Config, progress: &dyn Progress) -> Result<Option<usize>> {
    bind_shapes(graph, &by_name(shapes))?;
    let size = pipeline::open_batch(graph, execution, progress)?;
    if let (Some(size), Some(first)) = (size, graph.inputs.first()) {
        let name = &graph.value(*first).name;
        progress.note(&format!("input `{name}` takes {size} samples at once: they are worked on one by one, and files keep their {size}"));
    }
    warn_of_assumptions(graph, progress)?;
    Ok(size)
}

/// Gives inputs the shapes that the user names, and says what is assumed of those still open.
///
/// # Errors
/// If a shape does not fit.
pub fn bind(graph: &mut Graph, shapes: &[InputShape], progress: &dyn Progress) -> Result<()> {
    bind_shapes(graph, &by_name(shapes))?;
    warn_of_assumptions(graph, progress)
}

fn warn_of_assumptions(graph: &Graph, progress: &dyn Progress) -> Result<()> {
    for (name, shape) in assumed_shapes(graph)? {
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        progress.warn(&format!("input `{name}` has open sizes: {shape} is ASSUMED while images are made; if that is unusual for it, pass --shape {name}={shape}"));
    }
    Ok(())
}

fn by_name(shapes: &[InputShape]) -> BTreeMap<String, Vec<usize>> {
    shapes.iter().map(|input| (input.name.clone(), input.shape.clone())).collect()
}

/// What a model is made of.
///
/// # Errors
/// If the file is no model.
pub fn inspect(path: &Path, limits: &Limits, progress: &dyn Progress) -> Result<InspectReport> {
    let stopwatch = Stopwatch::new(progress);
    let model = load(path, limits, &stopwatch)?;
    let [usual, ..] = targets::all();
    let target = model.metadata("zeroq.target").and_then(targets::find).unwrap_or(usual);
    let shaped = shaped(&model.graph, &stopwatch);
    Ok(InspectReport {
        schema: SCHEMA,
        command: "inspect",
        version: VERSION,
        model: file_report(&model),
        opset: model.opset,
        ir_version: model.ir_version,
        producer: model.producer(),
        provenance: model.metadata_of("zeroq."),
        anatomy: dissect(&model.graph, &shaped, &target),
        warnings: stopwatch.warnings(),
    })
}

/// A copy as `quantize` sees it, with all shapes that can be told.
fn shaped(graph: &Graph, progress: &dyn Progress) -> Graph {
    let mut copy = graph.clone();
    let seen = widen(&mut copy, progress).and_then(|_| simplify(&mut copy)).and_then(|_| single_sample(&copy));
    seen.unwrap_or_else(|error| {
        progress.warn(&format!("not all shapes can be told, and the model cannot be quantized as it is: {error}"));
        let mut copy = graph.clone();
        // What could be told before the node that refuses stays.
        let _ = infer_shapes(&mut copy);
        copy
    })
}

/// The bytes of the model's file.
///
/// # Errors
/// If it cannot be read any more.
pub fn read_again(model: &Model) -> Result<Vec<u8>> {
    std::fs::read(&model.path).map_err(|error| Error::file(&model.path, error))
}
