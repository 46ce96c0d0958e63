//! Two models beside each other: from the flags of `compare` to its report.

use std::collections::HashSet;
use std::path::Path;

use super::compare::CompareRequest;
use super::data::expected_inputs;
use super::synthesize::SynthesizeRequest;
use super::task::TaskArguments;
use super::work::{VERSION, file_report, load, open, read_again, synthesize_for};
use crate::calibration::{CalibrationSet, find_masks, read_boxes, read_labels, read_set, sample_pictures};
use crate::error::{Error, Result};
use crate::evaluation::{
    self, CompareReport, Cost, Gate, Measured, Ratio, Runtime, SCHEMA, Stopwatch, Subject, Truth, compare_layers, race,
};
use crate::onnx::Model;
use crate::pipeline::open_batch;
use crate::progress::Progress;

/// Samples to synthesize for a comparison where nothing is said.
const COMPARED_IMAGES: usize = 64;

/// Two models on the same samples.
///
/// # Errors
/// If one is no model, or no engine runs both.
pub fn compare(request: &CompareRequest, progress: &dyn Progress) -> Result<CompareReport> {
    let stopwatch = Stopwatch::new(progress);
    let mut reference = load(&request.reference.model, &request.reference.limits, &stopwatch)?;
    let mut candidate = load(&request.candidate, &request.reference.limits, &stopwatch)?;
    let gate = Gate { limits: request.gate.limits(reference.file_bytes), baseline: request.baseline.clone() };
    let execution = request.reference.execution;
    open(&mut reference.graph, &request.reference.shapes, &execution, &stopwatch)?;
    open_batch(&mut candidate.graph, &execution, &stopwatch)?;
    let (set, truth) = samples_for(&reference, request, &stopwatch)?;
    stopwatch.begin("compare", 0);
    let (comparison, latency) = run_both(&reference, &candidate, (&set, truth.as_ref()), request)?;
    stopwatch.end();
    let layers = request.layers.then(|| compare_layers(&reference.graph, &candidate.graph, &set, &execution, &stopwatch)).transpose()?;
    let measured = Measured { comparison: &comparison, layers: layers.as_deref(), size: candidate.file_bytes, latency };
    gate.baseline.iter().flat_map(|baseline| baseline.differences(&measured)).for_each(|difference| stopwatch.warn(&difference));
    let verdicts = gate.judge(&measured)?;
    Ok(CompareReport {
        schema: SCHEMA,
        command: "compare",
        version: VERSION,
        reference: file_report(&reference),
        candidate: file_report(&candidate),
        layers,
        latency,
        passed: verdicts.iter().all(|verdict| verdict.passed),
        verdicts,
        comparison,
        provenance: set.provenance,
        warnings: stopwatch.warnings(),
        cost: Cost::of(&stopwatch, &request.reference.execution),
    })
}

/// Samples to compare on, and what is right of each where it is known.
fn samples_for(model: &Model, request: &CompareRequest, progress: &dyn Progress) -> Result<(CalibrationSet, Option<Truth>)> {
    let SynthesizeRequest { images, input_range, execution, limits, .. } = &request.reference;
    let CompareRequest { framing, .. } = request;
    let Some(path) = &request.data else {
        let images = Some(images.unwrap_or(COMPARED_IMAGES));
        let (synthesis, _) = synthesize_for(model, &SynthesizeRequest { images, ..request.reference.clone() }, None, progress)?;
        return Ok((synthesis.set, None));
    };
    // Labels are looked at first: reading the samples may take long.
    let mut truth = truth_for(path, request)?;
    let set = read_set(path, &expected_inputs(model, path, input_range, framing, *execution, progress)?, limits, progress)?;
    let taken = images.unwrap_or(set.len()).min(set.len());
    if let Some(truth) = truth.as_ref().filter(|truth| truth.len() != set.len()) {
        return Err(Error::file(path, format!("has {} labels for {} samples", truth.len(), set.len())));
    }
    truth.iter_mut().for_each(|truth| truth.truncate(taken));
    if let (true, Some(Truth::Classes(labels))) = (taken < set.len(), &truth) {
        let classes = labels.iter().collect::<HashSet<_>>().len();
        progress.warn(&format!("-n {taken} takes the first of {} samples: accuracies are those of {classes} classes alone", set.len()));
    }
    Ok((set.slice(0..taken), truth))
}

fn truth_for(path: &Path, request: &CompareRequest) -> Result<Option<Truth>> {
    let limits = &request.reference.limits;
    let Some(labels) = &request.task.labels else {
        return Ok(read_labels(path, class_names(request)?.as_deref(), limits)?.map(Truth::Classes));
    };
    let Some(pictures) = sample_pictures(path)? else {
        return Err(Error::file(path, "is no folder of pictures, whose names --labels goes by"));
    };
    if labels.is_dir() {
        return Ok(Some(Truth::Masks(find_masks(labels, &pictures, &request.framing, limits)?)));
    }
    let names = class_names(request)?;
    Ok(Some(Truth::Boxes(read_boxes(labels, &pictures, names.as_deref(), &request.framing, limits)?)))
}

/// The lines of --classes.
fn class_names(request: &CompareRequest) -> Result<Option<Vec<String>>> {
    let Some(file) = &request.classes else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(|error| Error::file(file, error))?;
    Ok(Some(text.lines().map(|line| line.trim().to_string()).collect()))
}

/// What both models say of the samples, and where it is limited, how long they take.
fn run_both(
    reference: &Model,
    candidate: &Model,
    (set, truth): (&CalibrationSet, Option<&Truth>),
    request: &CompareRequest,
) -> Result<(evaluation::Comparison, Option<Ratio>)> {
    let (reference_bytes, candidate_bytes) = (read_again(reference)?, read_again(candidate)?);
    let reference = Subject { label: "reference", bytes: &reference_bytes, path: Some(&reference.path), graph: &reference.graph };
    let candidate = Subject { label: "candidate", bytes: &candidate_bytes, path: Some(&candidate.path), graph: &candidate.graph };
    let TaskArguments { task, decode, min_score, .. } = request.task;
    let options = evaluation::Options {
        execution: request.reference.execution,
        runtime: Runtime::Required,
        task: task.unwrap_or_default(),
        decoder: decode,
        least_score: min_score.map(|score| score as f32),
        truth,
    };
    let comparison = evaluation::compare(&reference, &candidate, set, &options)?;
    let latency = request.gate.max_latency.map(|_| race(&[reference, candidate], set)).transpose()?;
    Ok((comparison, latency.and_then(|ratios| ratios.get(1).copied())))
}
