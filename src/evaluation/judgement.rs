//! From the outputs of two models to what is said of them.

use ndarray::ArrayD;

use super::compare::{Options, Outputs};
use super::detection::{Boxes, Detection, LEAST_SCORE};
use super::detector::choose;
use super::engine::{Stacked, Subject};
use super::labelled::{accuracy, overlap};
use super::layout::Output;
use super::output::{OutputComparison, compare_as};
use super::pairing::{output_names, pair_outputs, reason_to_leave_out};
use super::report::{Comparison, LeftOut};
use super::task::Task;
use super::truth::Truth;
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::graph::Value;

/// An output that can be compared number by number.
pub(super) struct Pair<'a> {
    pub figures: OutputComparison,
    pub expected: &'a ArrayD<f32>,
    pub actual: &'a ArrayD<f32>,
}

/// # Errors
/// If nothing can be compared, or not as it was asked for.
pub(super) fn conclude(
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
    let partners = pair_outputs(&names, &output_names(candidate))?;
    let both: Vec<(&Stacked, &Stacked)> = expected.iter().zip(partners.iter().map(|other| &actual[*other])).collect();
    let boxes = find_boxes(reference, &expected, &both, set, options)?;
    let task = if boxes.is_some() { Task::Detect } else { options.task };
    let (pairs, left_out) = measure_outputs(reference, &both, set, task)?;
    if let (true, None, Some(LeftOut { name, reason })) = (pairs.is_empty(), &boxes, left_out.first()) {
        return Err(Error::Data(format!("no output can be compared: of `{name}`, {reason}")));
    }
    refuse_other_tasks(&pairs, task)?;
    let (accuracy, labelled) = match (options.truth, &boxes) {
        (None, _) => (None, Vec::new()),
        (Some(Truth::Classes(labels)), _) => (Some(accuracy(&pairs, labels)?), Vec::new()),
        (Some(Truth::Masks(masks)), _) => (None, vec![overlap(&pairs, masks)?]),
        (Some(Truth::Boxes(truth)), Some((boxes, _))) => (None, boxes.against(truth)?),
        (Some(Truth::Boxes(_)), None) => return Err(Error::Data(NO_DETECTOR.into())),
    };
    let outputs = pairs.into_iter().map(|pair| pair.figures).collect();
    let detection = boxes.map(|(_, detection)| detection);
    Ok(Comparison { engine, engine_reason, samples: set.len(), outputs, left_out, detection, accuracy, labelled })
}

const NO_DETECTOR: &str = "the labels are boxes, and nothing says how boxes are read from the outputs; --decode does";

/// The figures of every output that can be compared number by number, and why others cannot.
fn measure_outputs<'a>(
    reference: &Subject<'_>,
    both: &[(&'a Stacked, &'a Stacked)],
    set: &CalibrationSet,
    task: Task,
) -> Result<(Vec<Pair<'a>>, Vec<LeftOut>)> {
    let inputs: Vec<&[usize]> = set.inputs.iter().map(|input| input.shape.as_slice()).collect();
    let (mut pairs, mut left_out) = (Vec::new(), Vec::new());
    for (id, (expected, actual)) in reference.graph.outputs.iter().zip(both) {
        let Value { name, shape, .. } = reference.graph.value(*id);
        let (expected, actual) = (expected.whole(), actual.whole());
        match (reason_to_leave_out(shape.as_deref().unwrap_or_default(), expected, actual), expected, actual) {
            (None, Some(expected), Some(actual)) => {
                let output = Output { graph: reference.graph, value: *id, samples: expected, inputs: &inputs };
                let figures = compare_as(name, expected, actual, output.meaning(task))?;
                pairs.push(Pair { figures, expected, actual });
            }
            (reason, ..) => left_out.push(LeftOut { name: name.clone(), reason: reason.unwrap_or_default().to_string() }),
        }
    }
    Ok((pairs, left_out))
}

/// The boxes of both, if the reference is a detector, and what there is to say of them. Outputs that look like boxes and hold
/// other numbers are none, unless they were said to be.
///
/// # Errors
/// If boxes were asked for and cannot be read.
fn find_boxes(
    reference: &Subject<'_>,
    expected: &[Stacked],
    both: &[(&Stacked, &Stacked)],
    set: &CalibrationSet,
    options: &Options<'_>,
) -> Result<Option<(Boxes, Detection)>> {
    let Some(choice) = choose(reference, expected, set, options.task, options.decoder)? else { return Ok(None) };
    let boxes = match Boxes::read(&choice, both, set.len(), options.least_score.unwrap_or(LEAST_SCORE)) {
        Err(_) if options.task == Task::Auto && options.decoder.is_none() => return Ok(None),
        boxes => boxes?,
    };
    let detection = boxes.compare(choice.decoder, choice.reason);
    Ok(Some((boxes, detection)))
}

/// # Errors
/// If no output is for `task`.
fn refuse_other_tasks(pairs: &[Pair<'_>], task: Task) -> Result<()> {
    if matches!(task, Task::Auto | Task::Detect) || pairs.iter().any(|pair| pair.figures.task == task) {
        return Ok(());
    }
    let shapes: Vec<String> = pairs.iter().map(|pair| format!("`{}` is {:?}", pair.figures.name, pair.figures.shape)).collect();
    Err(Error::Usage(format!("--task {}: no output has the shape for it: {}", task.name(), shapes.join(", "))))
}
