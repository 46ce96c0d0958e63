//! From flags to the library: the one place that knows both.

use std::collections::BTreeMap;
use std::path::Path;

use super::arguments::InputShape;
use super::compare::CompareRequest;
use super::quantize::{Precision, QuantizeRequest};
use super::synthesize::SynthesizeRequest;
use crate::calibration::{Bounds, CalibrationSet, ExpectedInput, read_set};
use crate::error::{Error, Result};
use crate::evaluation::{
    self, CompareReport, Cost, FileReport, FloatKernel, InspectReport, KernelReport, QuantizeReport, Runtime, SCHEMA, Stopwatch, Subject,
    SynthesizeReport, dissect,
};
use crate::graph::{Graph, known_shape};
use crate::onnx::{self, Model};
use crate::passes::{bind_shapes, infer_shapes, simplify, single_sample};
use crate::pipeline::{self, Quantized};
use crate::progress::Progress;
use crate::quantization::KernelForecast;
use crate::synthesis::input_range::InputRange;
use crate::synthesis::{self, Synthesis};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Samples that `compare` runs on, and `synthesize` makes, where nothing is said.
const DEFAULT_IMAGES: usize = 64;
const DEFAULT_STEPS: usize = 300;
const BATCH: usize = 64;

/// # Errors
/// If there is no file at `path`: a check to make before anything else.
pub fn check_model(path: &Path) -> Result<()> {
    std::fs::metadata(path).map(drop).map_err(|error| Error::file(path, error))
}

/// Reads a model and tells what its reader has to say.
fn load(path: &Path, progress: &dyn Progress) -> Result<Model> {
    let model = onnx::load(path, &onnx::Limits::default())?;
    model.warnings.iter().for_each(|warning| progress.warn(warning));
    model.notes.iter().for_each(|note| progress.note(note));
    Ok(model)
}

fn file_report(model: &Model) -> FileReport {
    FileReport { path: model.path.to_string_lossy().into_owned(), bytes: model.file_bytes, sha256: model.sha256.clone() }
}

/// Returns the bytes of the quantized model; the report's `output` is filled by the caller.
///
/// # Errors
/// If the model cannot be quantized.
pub fn quantize(request: &QuantizeRequest, progress: &dyn Progress) -> Result<(Vec<u8>, QuantizeReport)> {
    let stopwatch = Stopwatch::new(progress);
    let mut model = load(&request.model, &stopwatch)?;
    let quantized = model.quantized_nodes();
    if !quantized.is_empty() && !request.requantize {
        let shown = quantized.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!(
            "the model is already quantized: {} nodes such as {shown}; start from the float model, or pass --requantize to quantize the rest",
            quantized.len()
        )));
    }
    model.graph = bound_graph(&model, &request.shapes)?;
    let config = request.config()?;
    let work = match request.precision {
        Precision::Int8 => {
            let given = request.calibration.as_ref().map(|path| read_given(path, &model, request)).transpose()?;
            pipeline::quantize(&model, given, &config, &stopwatch)?
        }
        Precision::Fp16 => pipeline::convert_to_float16(&model, !request.fp16_io, &config, &stopwatch)?,
    };
    let bytes = onnx::to_bytes(&work.model)?;
    stopwatch.begin("compare", 0);
    let comparison = compare_result(&model, &work, &bytes, request);
    stopwatch.end();
    let comparison =
        comparison.map_err(|error| stopwatch.warn(&format!("the result could not be compared with the original: {error}"))).ok();
    let report = QuantizeReport {
        schema: SCHEMA,
        command: "quantize",
        version: VERSION,
        model: file_report(&model),
        output: FileReport::new(Path::new(""), &bytes),
        precision: match request.precision {
            Precision::Int8 => "int8",
            Precision::Fp16 => "fp16",
        }
        .to_string(),
        target: config.target.name.to_string(),
        input_range: work.inputs.iter().map(|input| input.range.name.clone()).collect::<Vec<_>>().join("; "),
        seed: request.seed,
        kernels: kernel_report(&work.kernels),
        comparison,
        distillation: work.distillation,
        provenance: work.held_out.provenance.clone(),
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, request.execution.isa),
    };
    Ok((bytes, report))
}

fn read_given(path: &Path, model: &Model, request: &QuantizeRequest) -> Result<CalibrationSet> {
    let mut set = read_set(path, &expected_inputs(&model.graph, &request.input_range)?)?;
    if set.provenance.source.is_empty() {
        set.provenance.source = "files".to_string();
    }
    Ok(set)
}

fn kernel_report(kernels: &[KernelForecast]) -> KernelReport {
    let float = |kernel: &&KernelForecast| !kernel.integer;
    let node = |kernel: &KernelForecast| FloatKernel {
        node: kernel.node.clone(),
        operator: kernel.operator.clone(),
        reason: kernel.reason.clone().unwrap_or_default(),
    };
    let float_nodes: Vec<FloatKernel> = kernels.iter().filter(float).map(node).collect();
    KernelReport { integer: kernels.len() - float_nodes.len(), float: float_nodes.len(), float_nodes }
}

fn compare_result(model: &Model, work: &Quantized, bytes: &[u8], request: &QuantizeRequest) -> Result<evaluation::Comparison> {
    let original = read_again(model)?;
    let reference = Subject { label: "original", bytes: &original, path: Some(&model.path), graph: &model.graph };
    let candidate = Subject { label: "quantized", bytes, path: None, graph: &work.model.graph };
    let options = evaluation::Options { execution: request.execution, runtime: Runtime::Preferred };
    evaluation::compare(&reference, &candidate, &work.held_out, &options)
}

/// Images for a model, with what pixels 0 and 255 stand for in each input.
///
/// # Errors
/// If no images can be made for the model.
pub fn synthesize(request: &SynthesizeRequest, progress: &dyn Progress) -> Result<(CalibrationSet, Vec<Option<Bounds>>, SynthesizeReport)> {
    let stopwatch = Stopwatch::new(progress);
    let model = load(&request.model, &stopwatch)?;
    let synthesis = synthesize_for(&model, request, &stopwatch)?;
    let bounds = synthesis.inputs.iter().map(|input| Some(input.range.channels.clone())).collect();
    let report = SynthesizeReport {
        schema: SCHEMA,
        command: "synthesize",
        version: VERSION,
        model: file_report(&model),
        folder: String::new(),
        images: synthesis.set.len(),
        input_range: synthesis.inputs.iter().map(|input| input.range.name.clone()).collect::<Vec<_>>().join("; "),
        seed: request.seed,
        final_loss: synthesis.loss.map(|(_, last)| last),
        provenance: synthesis.set.provenance.clone(),
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, request.execution.isa),
    };
    Ok((synthesis.set, bounds, report))
}

fn synthesize_for(model: &Model, request: &SynthesizeRequest, progress: &dyn Progress) -> Result<Synthesis> {
    let mut graph = bound_graph(model, &request.shapes)?;
    simplify(&mut graph)?;
    let samples = request.images.unwrap_or(DEFAULT_IMAGES);
    let config = synthesis::Config {
        samples,
        batch: samples.min(BATCH),
        steps: request.steps.unwrap_or(DEFAULT_STEPS),
        seed: request.seed,
        input_range: request.input_range.clone(),
        execution: request.execution,
    };
    let mut synthesis = synthesis::synthesize(&graph, &config, progress)?;
    synthesis.set.provenance.model_sha256 = Some(model.sha256.clone());
    Ok(synthesis)
}

fn bound_graph(model: &Model, shapes: &[InputShape]) -> Result<Graph> {
    let mut graph = model.graph.clone();
    let shapes: BTreeMap<String, Vec<usize>> = shapes.iter().map(|input| (input.name.clone(), input.shape.clone())).collect();
    bind_shapes(&mut graph, &shapes)?;
    Ok(graph)
}

/// What a model is made of.
///
/// # Errors
/// If the file is no model.
pub fn inspect(path: &Path, progress: &dyn Progress) -> Result<InspectReport> {
    let stopwatch = Stopwatch::new(progress);
    let model = load(path, &stopwatch)?;
    Ok(InspectReport {
        schema: SCHEMA,
        command: "inspect",
        version: VERSION,
        model: file_report(&model),
        opset: model.opset,
        ir_version: model.ir_version,
        producer: model.producer(),
        anatomy: dissect(&model.graph, &shaped(&model.graph)),
        warnings: stopwatch.warnings(),
    })
}

/// A copy with all shapes that can be told.
fn shaped(graph: &Graph) -> Graph {
    single_sample(graph).unwrap_or_else(|_| {
        let mut copy = graph.clone();
        // What could be told before the node that refuses stays.
        let _ = infer_shapes(&mut copy);
        copy
    })
}

/// Two models on the same samples.
///
/// # Errors
/// If one is no model, or no engine runs both.
pub fn compare(request: &CompareRequest, progress: &dyn Progress) -> Result<CompareReport> {
    let stopwatch = Stopwatch::new(progress);
    let reference = load(&request.reference.model, &stopwatch)?;
    let candidate = load(&request.candidate, &stopwatch)?;
    let set = match &request.data {
        Some(path) => read_data(path, &reference, &request.reference)?,
        None => synthesize_for(&reference, &request.reference, &stopwatch)?.set,
    };
    stopwatch.begin("compare", 0);
    let comparison = compare_models((&reference, "reference"), (&candidate, "candidate"), &set, &request.reference)?;
    stopwatch.end();
    let passed = request.thresholds.missed(&comparison).is_empty();
    Ok(CompareReport {
        schema: SCHEMA,
        command: "compare",
        version: VERSION,
        reference: file_report(&reference),
        candidate: file_report(&candidate),
        comparison,
        thresholds: request.thresholds,
        passed,
        provenance: set.provenance,
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, request.reference.execution.isa),
    })
}

fn read_data(path: &Path, model: &Model, request: &SynthesizeRequest) -> Result<CalibrationSet> {
    let set = read_set(path, &expected_inputs(&bound_graph(model, &request.shapes)?, &request.input_range)?)?;
    let count = request.images.unwrap_or(set.len()).min(set.len());
    Ok(set.slice(0..count))
}

fn expected_inputs(graph: &Graph, range: &InputRange) -> Result<Vec<ExpectedInput>> {
    let graph = single_sample(graph)?;
    let bounds = match range {
        InputRange::Auto => None,
        InputRange::Given(range) => Some(range.channels.clone()),
    };
    let expect = |value: &crate::graph::Value| {
        let shape = value.shape.as_deref().and_then(known_shape).unwrap_or_default();
        ExpectedInput { name: value.name.clone(), shape, bounds: bounds.clone() }
    };
    Ok(graph.inputs.iter().map(|id| expect(graph.value(*id))).collect())
}

type Labelled<'a> = (&'a Model, &'a str);

fn compare_models(
    (reference, one): Labelled<'_>,
    (candidate, other): Labelled<'_>,
    set: &CalibrationSet,
    request: &SynthesizeRequest,
) -> Result<evaluation::Comparison> {
    let (reference_bytes, candidate_bytes) = (read_again(reference)?, read_again(candidate)?);
    let reference = Subject { label: one, bytes: &reference_bytes, path: Some(&reference.path), graph: &reference.graph };
    let candidate = Subject { label: other, bytes: &candidate_bytes, path: Some(&candidate.path), graph: &candidate.graph };
    let options = evaluation::Options { execution: request.execution, runtime: Runtime::Required };
    evaluation::compare(&reference, &candidate, set, &options)
}

fn read_again(model: &Model) -> Result<Vec<u8>> {
    std::fs::read(&model.path).map_err(|error| Error::file(&model.path, error))
}
