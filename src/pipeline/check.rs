//! The self-check: the student on samples of another seed, and more precision for the layers that spoil it.

use super::raise::{may_float, raise};
use super::{Checking, Config, Prepared, Trial};
use crate::error::{Error, Result};
use crate::evaluation::{Check, Comparison, LayerCheck, Raise, Reference, examine};
use crate::graph::{Graph, NodeId, ValueId};
use crate::progress::{Progress, abridged};
use crate::quantization::Assignment;

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
    while !check.passed && budget > 0 {
        let (assignment, raised) = raise(prepared, &trial, &check, budget, config, progress)?;
        if raised.is_empty() {
            break;
        }
        let told = |Raise { nodes, from, to, reason }: &Raise| format!("`{}` from {from} to {to}: {reason}", nodes.join("`, `"));
        abridged(raised.iter().map(told)).for_each(|line| progress.note(&format!("self-check: {line}")));
        let next = Trial::new(prepared, assignment, config, progress)?;
        let Some(found) = report(prepared, &next, config, progress)? else { break };
        if !found.passed && found.comparison.least_sqnr() <= check.comparison.least_sqnr() {
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
    let (Some(checking), Some(_)) = (config.check, &prepared.unseen) else { return Ok(None) };
    match compare(prepared, trial, config) {
        Ok((comparison, layers)) => {
            if checking.thresholds.agreement_percent.is_some() && comparison.least_agreement().is_none() {
                progress.note("self-check: agreement was not judged: no output has a score for each class, or the samples are too few");
            }
            Ok(Some(conclude(prepared, checking, comparison, layers)))
        }
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => {
            progress.warn(&format!("the result could not be checked: {error}"));
            Ok(None)
        }
    }
}

fn compare(prepared: &Prepared, trial: &Trial, config: &Config) -> Result<(Comparison, Vec<LayerCheck>)> {
    let Prepared { teacher, unseen, set, .. } = prepared;
    let unseen = unseen.as_ref().unwrap_or(set);
    let comparison = Reference::new(teacher, unseen, config.execution)?.compare(&trial.graph)?;
    let products: Vec<NodeId> = trial.plan.weights.iter().map(|point| point.node).collect();
    let sqnr = examine(teacher, &trial.graph, &products, unseen, &config.execution)?;
    let layer = |(id, sqnr_db): (&NodeId, f64)| {
        let node = teacher.node(*id);
        let (input, weights) = (type_of(&trial.graph, *id, 0), type_of(&trial.graph, *id, 1));
        LayerCheck { node: node.name.clone(), operator: node.operator.name().to_string(), weights, input, sqnr_db }
    };
    Ok((comparison, products.iter().zip(sqnr).map(layer).collect()))
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

fn conclude(prepared: &Prepared, checking: Checking, comparison: Comparison, layers: Vec<LayerCheck>) -> Check {
    let provenance = &prepared.unseen.as_ref().unwrap_or(&prepared.set).provenance;
    let missed = checking.thresholds.missed(&comparison);
    Check {
        source: provenance.source.clone(),
        seed: provenance.seed,
        thresholds: checking.thresholds,
        passed: missed.is_empty(),
        comparison,
        layers,
        raised: Vec::new(),
        missed,
    }
}
