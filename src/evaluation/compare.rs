//! Two models on the same samples.

use ndarray::ArrayD;

use super::batches::Batches;
use super::engine::{Engine, Subject};
use super::layout::{Layout, Unit};
use super::metrics::{agreement, measure, top1};
use super::onnx_runtime::{OnnxRuntime, library};
use super::own::Own;
use super::parts::parts;
use super::report::{Accuracy, Comparison, LeftOut, OutputComparison};
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::execution::Config;
use crate::graph::{Dim, Value};

/// What to do when the ONNX Runtime that the environment names fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Take another engine, and say so in the report.
    #[default]
    Preferred,
    /// Fail.
    Required,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    pub execution: Config,
    pub runtime: Runtime,
    /// The class of each sample, where they are known.
    pub labels: Option<&'a [u32]>,
}

/// The engine, and what each model gave.
type Outputs = (String, Vec<Option<ArrayD<f32>>>, Vec<Option<ArrayD<f32>>>);

/// Runs both models on `set` in one engine: ONNX Runtime where `ORT_DYLIB_PATH` names it, else tract where it runs both,
/// else our own executor.
///
/// # Errors
/// If no engine runs both, or their outputs cannot be compared.
pub fn compare(reference: &Subject<'_>, candidate: &Subject<'_>, set: &CalibrationSet, options: &Options<'_>) -> Result<Comparison> {
    if set.is_empty() {
        return Err(Error::Data("there are no samples to compare on".into()));
    }
    let mut reasons: Vec<String> = Vec::new();
    if library().is_none() {
        reasons.push("ORT_DYLIB_PATH is not set".into());
    } else {
        match with_onnx_runtime(reference, candidate, set) {
            Ok(outputs) => return conclude(reference, candidate, outputs, "ORT_DYLIB_PATH names it".into(), set, options),
            Err(error) if options.runtime == Runtime::Required || matches!(error, Error::Interrupted) => return Err(error),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    match with_tract(reference, candidate, set) {
        Ok(outputs) => return conclude(reference, candidate, outputs, reasons.join("; "), set, options),
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => reasons.push(error.to_string()),
    }
    let outputs = run(|subject| Ok(Own::new(subject, &options.execution)), reference, candidate, set)?;
    conclude(reference, candidate, outputs, reasons.join("; "), set, options)
}

fn with_onnx_runtime(reference: &Subject<'_>, candidate: &Subject<'_>, set: &CalibrationSet) -> Result<Outputs> {
    let open = if reference.graph.is_large() { OnnxRuntime::frugal } else { OnnxRuntime::new };
    run(open, reference, candidate, set)
}

#[cfg(feature = "tract")]
fn with_tract(reference: &Subject<'_>, candidate: &Subject<'_>, set: &CalibrationSet) -> Result<Outputs> {
    use super::tract::Tract;
    run(|subject| Tract::new(subject, set), reference, candidate, set)
}

#[cfg(not(feature = "tract"))]
fn with_tract(_: &Subject<'_>, _: &Subject<'_>, _: &CalibrationSet) -> Result<Outputs> {
    Err(Error::Engine { engine: "tract".into(), reason: "not in this build".into() })
}

/// One after the other: the weights of both need not be in memory at once.
fn run<'a, E: Engine>(
    open: impl Fn(&Subject<'a>) -> Result<E>,
    reference: &Subject<'a>,
    candidate: &Subject<'a>,
    set: &CalibrationSet,
) -> Result<Outputs> {
    let mut engine = open(reference)?;
    let (name, expected) = (engine.name().to_string(), outputs_of(&mut engine, reference, set)?);
    drop(engine);
    Ok((name, expected, outputs_of(&mut open(candidate)?, candidate, set)?))
}

/// The outputs of each sample, also where the file takes several at once.
fn outputs_of<E: Engine>(engine: &mut E, subject: &Subject<'_>, set: &CalibrationSet) -> Result<Vec<Option<ArrayD<f32>>>> {
    match Batches::of(engine, set)? {
        Some(batches) => batches.part(engine.outputs(&batches.join(set)?)?, subject.graph, set.len()),
        None => engine.outputs(set),
    }
}

fn conclude(
    reference: &Subject<'_>,
    candidate: &Subject<'_>,
    outputs: Outputs,
    engine_reason: String,
    set: &CalibrationSet,
    options: &Options<'_>,
) -> Result<Comparison> {
    let (engine, expected, actual) = outputs;
    let names = output_names(reference);
    if names.len() != expected.len() || output_names(candidate).len() != actual.len() {
        return Err(Error::Internal(format!("{engine} gave {} outputs where the reference has {}", expected.len(), names.len())));
    }
    let inputs: Vec<&[usize]> = set.inputs.iter().map(|input| input.shape.as_slice()).collect();
    let (mut pairs, mut outputs, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for ((id, expected), other) in reference.graph.outputs.iter().zip(&expected).zip(pair_outputs(&names, &output_names(candidate))?) {
        let (Value { name, shape, .. }, actual) = (reference.graph.value(*id), &actual[other]);
        match (reason_to_leave_out(shape.as_deref().unwrap_or_default(), expected.as_ref(), actual.as_ref()), expected, actual) {
            (None, Some(expected), Some(actual)) => {
                let layout = Layout::of(reference.graph, *id, &expected.shape()[1..], &inputs);
                let output = compare_as(name, expected, actual, layout)?;
                pairs.push((output.layout, name, expected, actual));
                outputs.push(output);
            }
            (reason, ..) => left_out.push(LeftOut { name: name.clone(), reason: reason.unwrap_or_default().to_string() }),
        }
    }
    if let (true, Some(LeftOut { name, reason })) = (outputs.is_empty(), left_out.first()) {
        return Err(Error::Data(format!("no output can be compared: of `{name}`, {reason}")));
    }
    let accuracy = options.labels.map(|labels| {
        let classes = pairs.iter().filter(|(layout, ..)| matches!(layout, Layout::Scores { unit: Unit::Samples, .. }));
        let found = classes.filter_map(|(_, name, expected, actual)| accuracy(name, expected, actual, labels)).next();
        found.ok_or_else(|| Error::Data("no output has a score for each class that the labels name".into()))
    });
    let samples = set.len();
    Ok(Comparison { engine, engine_reason, samples, outputs, left_out, accuracy: accuracy.transpose()? })
}

/// Why two outputs are not compared, `None` standing for one whose shape changes; sizes that are open in `declared` may be other
/// ones in each model.
fn reason_to_leave_out(declared: &[Dim], expected: Option<&ArrayD<f32>>, actual: Option<&ArrayD<f32>>) -> Option<&'static str> {
    let (Some(expected), Some(actual)) = (expected, actual) else {
        return Some("the shape changes from sample to sample, or is none of a sample");
    };
    if expected.is_empty() || actual.is_empty() {
        return Some("the samples have no elements");
    }
    let mut axes = (1..expected.ndim().min(actual.ndim())).filter(|axis| expected.shape()[*axis] != actual.shape()[*axis]).peekable();
    let differ = expected.ndim() == actual.ndim() && axes.peek().is_some();
    let open = |axis: usize| declared.get(axis - 1).is_none_or(|dim| dim.known().is_none());
    (differ && axes.all(open)).then_some("the shape is another in each model")
}

fn accuracy(output: &str, expected: &ArrayD<f32>, actual: &ArrayD<f32>, labels: &[u32]) -> Option<Accuracy> {
    let (reference_percent, candidate_percent) = (top1(expected, labels)?, top1(actual, labels)?);
    Some(Accuracy { output: output.to_string(), samples: labels.len(), reference_percent, candidate_percent })
}

/// One output of both, of which nothing but the shape is known.
pub(super) fn compare_output(name: &str, expected: &ArrayD<f32>, actual: &ArrayD<f32>) -> Result<OutputComparison> {
    compare_as(name, expected, actual, Layout::of_shape(expected.shape().get(1..).unwrap_or_default()))
}

fn compare_as(name: &str, expected: &ArrayD<f32>, actual: &ArrayD<f32>, layout: Layout) -> Result<OutputComparison> {
    let Some(metrics) = measure(expected, actual) else {
        let (expected, actual) = (&expected.shape()[1..], &actual.shape()[1..]);
        return Err(Error::Usage(format!(
            "output `{name}` cannot be compared: its shape is {expected:?} in one and {actual:?} in the other"
        )));
    };
    let parts = parts(expected, actual, layout != Layout::Numbers);
    // Numbers that are so unlike are no scores of classes, whatever their shape.
    let layout = if parts.is_empty() { layout } else { Layout::Numbers };
    Ok(OutputComparison {
        name: name.to_string(),
        shape: expected.shape()[1..].to_vec(),
        layout,
        agreement_percent: agreement(expected, actual, layout),
        agreement_of: layout.unit(),
        sqnr_db: metrics.sqnr,
        worst_decile_sqnr_db: metrics.worst_decile_sqnr,
        parts,
        cosine: metrics.cosine,
        max_abs_error: metrics.max_abs,
    })
}

fn output_names(subject: &Subject<'_>) -> Vec<String> {
    subject.graph.outputs.iter().map(|id| subject.graph.value(*id).name.clone()).collect()
}

/// Which output of the candidate answers each of the reference: the one of the same name, or of the same place where no
/// name is the same.
fn pair_outputs(reference: &[String], candidate: &[String]) -> Result<Vec<usize>> {
    let find = |name: &String| candidate.iter().position(|other| other == name);
    if let Some(pairing) = reference.iter().map(find).collect::<Option<Vec<usize>>>() {
        return Ok(pairing);
    }
    if reference.len() == candidate.len() && reference.iter().all(|name| find(name).is_none()) {
        return Ok((0..reference.len()).collect());
    }
    Err(Error::Usage(format!("the outputs differ: {} in one and {} in the other", reference.join(", "), candidate.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_differ_in_shape_are_left_out_where_that_is_their_nature() {
        let (two, three, none) = (ArrayD::zeros(vec![2, 2]), ArrayD::zeros(vec![2, 3]), ArrayD::zeros(vec![2, 0]));
        let reason = |declared: &[Dim], expected, actual| reason_to_leave_out(declared, expected, actual).unwrap_or_default();
        assert_eq!(reason(&[], Some(&two), Some(&two)), "");
        assert_eq!(reason(&[Dim::Known(2)], Some(&two), Some(&three)), "");
        assert_eq!(reason(&[Dim::Unknown], Some(&two), Some(&three)), "the shape is another in each model");
        assert_eq!(reason(&[], Some(&none), Some(&two)), "the samples have no elements");
        assert_eq!(reason(&[Dim::Known(2)], None, Some(&two)), "the shape changes from sample to sample, or is none of a sample");
    }

    #[test]
    fn outputs_are_paired_by_name_then_by_place() {
        let names = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
        assert_eq!(pair_outputs(&names("a b"), &names("b a")).unwrap(), [1, 0]);
        assert_eq!(pair_outputs(&names("a b"), &names("c d")).unwrap(), [0, 1]);
        assert!(pair_outputs(&names("a b"), &names("a c")).is_err());
        assert!(pair_outputs(&names("a b"), &names("c")).is_err());
    }
}
