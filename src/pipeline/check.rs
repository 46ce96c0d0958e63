//! The self-check: the student on samples of another seed, and more precision for the layers that spoil it.

use super::raise::{may_float, raise};
use super::witnesses::{Witness, witnesses};
use super::{Checking, Config, Prepared, Trial, cut_off};
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::evaluation::{Check, Comparison, CutOff, LayerCheck, Raise, Reference, WitnessCheck, examine};
use crate::graph::{Graph, NodeId, ValueId};
use crate::progress::{Progress, abridged};
use crate::quantization::Assignment;

/// Decibels, over all that is missed, from which a raise that does not suffice counts as a gain.
const LEAST_GAIN: f64 = 0.5;
/// Times that layers are raised where the user does not say how many: each takes as long as the first trial.
const ROUNDS: usize = 2;

/// Tries `assignment`; as long as the check fails and its budget lasts, the layers that make most of the noise get more
/// precision. Only our own executor has a say in what reaches the file.
///
/// # Errors
/// Those of [`Trial::new`].
pub(super) fn hold(
    prepared: &Prepared,
    assignment: Assignment,
    config: &Config,
    progress: &dyn Progress,
) -> Result<(Trial, Option<Check>)> {
    let mut trial = Trial::new(prepared, assignment, config, progress)?;
    let Some(mut check) = report(prepared, &trial, config, progress)? else { return Ok((trial, None)) };
    let layers = trial.plan.layers(&prepared.teacher).len();
    let mut budget = config.check.and_then(|checking| checking.budget).unwrap_or(layers.div_ceil(4).max(2));
    let mut rounds = if config.check.is_some_and(|checking| checking.budget.is_some()) { usize::MAX } else { ROUNDS };
    while !check.passed && budget > 0 && rounds > 0 {
        rounds -= 1;
        let (assignment, raised) = raise(prepared, &trial, &check, budget, config, progress)?;
        if raised.is_empty() {
            break;
        }
        let told = |Raise { nodes, from, to, reason }: &Raise| format!("`{}` from {from} to {to}: {reason}", nodes.join("`, `"));
        abridged(raised.iter().map(told)).for_each(|line| progress.note(&format!("self-check: {line}")));
        let next = Trial::new(prepared, assignment, config, progress)?;
        let Some(found) = report(prepared, &next, config, progress)? else { break };
        if !found.passed && found.deficit() > check.deficit() - LEAST_GAIN {
            progress.note("self-check: that did not help, and is taken back");
            break;
        }
        budget = budget.saturating_sub(raised.iter().map(|raise| raise.nodes.len()).sum());
        let raised = [std::mem::take(&mut check.raised), raised].concat();
        (trial, check) = (next, Check { raised, ..found });
    }
    for missed in &check.missed {
        progress.warn(&format!("self-check: {missed}{}", consequence(&check, budget, config)));
    }
    Ok((trial, Some(check)))
}

/// Why nothing more was done about a miss.
fn consequence(check: &Check, budget: usize, config: &Config) -> &'static str {
    match (may_float(config), budget, check.raised.is_empty()) {
        (_, 0, _) => "; --check-budget is spent",
        (false, _, _) => "; layers that could be raised would run in float, which --objective integer or the target rules out",
        (_, _, false) => "; more precision for further layers did not help",
        (_, _, true) => "; more precision for the layers that make most of the noise did not help",
    }
}

/// What the check finds; `None` where none is wanted or possible.
///
/// # Errors
/// If the work was interrupted.
pub(super) fn report(prepared: &Prepared, trial: &Trial, config: &Config, progress: &dyn Progress) -> Result<Option<Check>> {
    let (Some(checking), Some(unseen)) = (config.check, &prepared.unseen) else { return Ok(None) };
    match examine_all(prepared, unseen, trial, checking, config) {
        Ok(check) => {
            if checking.thresholds.agreement_percent.is_some() && check.comparison.least_agreement().is_none() {
                progress.note("self-check: agreement was not judged: no output has a score for each class, or the samples are too few");
            }
            Ok(Some(check))
        }
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => {
            progress.warn(&format!("the result could not be checked: {error}"));
            Ok(None)
        }
    }
}

fn examine_all(prepared: &Prepared, unseen: &CalibrationSet, trial: &Trial, checking: Checking, config: &Config) -> Result<Check> {
    let (comparison, cut_off) = compare(prepared, unseen, trial, config)?;
    let witness = |Witness { source, judged, set }: Witness| {
        let (comparison, cut_off) = compare(prepared, &set, trial, config)?;
        Ok(WitnessCheck { source, judged, comparison, cut_off })
    };
    let mut check = Check {
        source: unseen.provenance.source.clone(),
        seed: unseen.provenance.seed,
        thresholds: checking.thresholds,
        comparison,
        layers: check_layers(prepared, unseen, trial, config)?,
        raised: Vec::new(),
        witnesses: witnesses(prepared, config)?.into_iter().map(witness).collect::<Result<_>>()?,
        cut_off,
        missed: Vec::new(),
        passed: false,
        doubts: doubts(prepared),
        verdict: String::new(),
    };
    check.judge();
    Ok(check)
}

/// What is not certain of the inputs.
fn doubts(prepared: &Prepared) -> Vec<String> {
    let guessed = prepared.inputs.iter().filter(|input| !input.finding.certainty.is_sure());
    guessed.map(|input| format!("the range of input `{}` was guessed (--input-range)", input.name)).collect()
}

fn compare(prepared: &Prepared, set: &CalibrationSet, trial: &Trial, config: &Config) -> Result<(Comparison, Vec<CutOff>)> {
    let reference = Reference::new(&prepared.teacher, set, config.execution)?;
    let mut cut = cut_off::at_inputs(prepared, trial, set)?;
    cut.extend(cut_off::at_outputs(trial, &reference));
    Ok((reference.compare(&trial.graph)?, cut))
}

fn check_layers(prepared: &Prepared, unseen: &CalibrationSet, trial: &Trial, config: &Config) -> Result<Vec<LayerCheck>> {
    let teacher = &prepared.teacher;
    let products: Vec<NodeId> = trial.plan.weights.iter().map(|point| point.node).collect();
    let sqnr = examine(teacher, &trial.graph, &products, unseen, &config.execution)?;
    let layer = |(id, sqnr_db): (&NodeId, f64)| {
        let node = teacher.node(*id);
        let (input, weights) = (type_of(&trial.graph, *id, 0), type_of(&trial.graph, *id, 1));
        LayerCheck { node: node.name.clone(), operator: node.operator.name().to_string(), weights, input, sqnr_db }
    };
    Ok(products.iter().zip(sqnr).map(layer).collect())
}

/// What stands before the DequantizeLinear at an input of a product.
fn type_of(graph: &Graph, product: NodeId, input: usize) -> String {
    let integers = |value: ValueId| {
        let (_, dequantizer) = graph.producer(value).filter(|(_, node)| node.operator.name() == "DequantizeLinear")?;
        graph.value(dequantizer.input(0)?).data_type
    };
    let found = graph.node(product).input(input).and_then(integers);
    found.map_or_else(|| "float32".to_string(), |data_type| data_type.to_string())
}
