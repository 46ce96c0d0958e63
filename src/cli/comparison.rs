//! Two models beside each other: from the flags of `compare` to its report.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::compare::CompareRequest;
use super::data::expected_inputs;
use super::synthesize::SynthesizeRequest;
use super::work::{VERSION, file_report, load, open, read_again, synthesize_for};
use crate::calibration::{CalibrationSet, read_labels, read_set};
use crate::error::{Error, Result};
use crate::evaluation::{self, CompareReport, Cost, Gate, Measured, Ratio, Runtime, SCHEMA, Stopwatch, Subject, compare_layers, race};
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
    let (set, labels) = samples_for(&reference, request, &stopwatch)?;
    stopwatch.begin("compare", 0);
    let (comparison, latency) = run_both(&reference, &candidate, (&set, labels.as_deref()), request)?;
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

/// Samples to compare on, and the class of each where it is known.
fn samples_for(model: &Model, request: &CompareRequest, progress: &dyn Progress) -> Result<(CalibrationSet, Option<Vec<u32>>)> {
    let SynthesizeRequest { images, input_range, execution, limits, .. } = &request.reference;
    let CompareRequest { framing, .. } = request;
    let Some(path) = &request.data else {
        let images = Some(images.unwrap_or(COMPARED_IMAGES));
        let (synthesis, _) = synthesize_for(model, &SynthesizeRequest { images, ..request.reference.clone() }, None, progress)?;
        return Ok((synthesis.set, None));
    };
    let set = read_set(path, &expected_inputs(model, path, input_range, framing, *execution, progress)?, limits, progress)?;
    let taken = images.unwrap_or(set.len()).min(set.len());
    let Some(mut labels) = labels_for(path, request)? else { return Ok((set.slice(0..taken), None)) };
    if labels.len() != set.len() {
        return Err(Error::file(path, format!("has {} labels for {} samples", labels.len(), set.len())));
    }
    labels.truncate(taken);
    if taken < set.len() {
        let classes = labels.iter().collect::<HashSet<_>>().len();
        progress.warn(&format!("-n {taken} takes the first of {} samples: accuracies are those of {classes} classes alone", set.len()));
    }
    Ok((set.slice(0..taken), Some(labels)))
}

fn labels_for(path: &Path, request: &CompareRequest) -> Result<Option<Vec<u32>>> {
    let read = |file: &PathBuf| std::fs::read_to_string(file).map_err(|error| Error::file(file, error));
    let names = request.classes.as_ref().map(read).transpose()?;
    let names: Option<Vec<String>> = names.map(|text| text.lines().map(|line| line.trim().to_string()).collect());
    read_labels(path, names.as_deref(), &request.reference.limits)
}

/// What both models say of the samples, and where it is limited, how long they take.
fn run_both(
    reference: &Model,
    candidate: &Model,
    (set, labels): (&CalibrationSet, Option<&[u32]>),
    request: &CompareRequest,
) -> Result<(evaluation::Comparison, Option<Ratio>)> {
    let (reference_bytes, candidate_bytes) = (read_again(reference)?, read_again(candidate)?);
    let reference = Subject { label: "reference", bytes: &reference_bytes, path: Some(&reference.path), graph: &reference.graph };
    let candidate = Subject { label: "candidate", bytes: &candidate_bytes, path: Some(&candidate.path), graph: &candidate.graph };
    let options = evaluation::Options { execution: request.reference.execution, runtime: Runtime::Required, labels };
    let comparison = evaluation::compare(&reference, &candidate, set, &options)?;
    let latency = request.gate.max_latency.map(|_| race(&[reference, candidate], set)).transpose()?;
    Ok((comparison, latency.and_then(|ratios| ratios.get(1).copied())))
}
