//! Two models on the same samples.

use ndarray::ArrayD;

use super::batches::Batches;
use super::decoder::Decoder;
use super::engine::{Engine, Stacked, Subject};
use super::judgement::conclude;
use super::onnx_runtime::{OnnxRuntime, library};
use super::own::Own;
use super::report::Comparison;
use super::task::Task;
use super::truth::Truth;
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::execution::Config;

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
    /// What the outputs are for.
    pub task: Task,
    /// How boxes are read, where the outputs do not say.
    pub decoder: Option<Decoder>,
    /// Score from which a box counts [default: 0.25].
    pub least_score: Option<f32>,
    /// What is right of each sample, where that is known.
    pub truth: Option<&'a Truth>,
}

/// The engine, and what each model gave.
pub(super) type Outputs = (String, Vec<Stacked>, Vec<Stacked>);

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
fn outputs_of<E: Engine>(engine: &mut E, subject: &Subject<'_>, set: &CalibrationSet) -> Result<Vec<Stacked>> {
    let Some(batches) = Batches::of(engine, set)? else { return engine.outputs(set) };
    let joined = engine.outputs(&batches.join(set)?)?.iter().map(|output| output.whole().cloned()).collect();
    let without_parts = || Stacked::Ragged(vec![ArrayD::zeros(vec![0]); set.len()]);
    Ok(batches
        .part(joined, subject.graph, set.len())?
        .into_iter()
        .map(|output| output.map_or_else(without_parts, Stacked::Whole))
        .collect())
}
