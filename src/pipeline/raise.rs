//! More precision where the noise comes from.

use std::collections::{BTreeMap, BTreeSet};

use super::suspects::{Part, Suspect, suspects};
use super::{Config, Prepared, Trial};
use crate::error::Result;
use crate::evaluation::{Check, Raise};
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::progress::Progress;
use crate::quantization::{Assignment, Layer, LayerWidths, Objective, Placement, QuantPlan, Width};

/// Part of the noise that may stay where the outputs miss something else than their SQNR.
const HALF: f64 = 0.5;

/// An assignment with more precision for the parts that make the most noise, so many that the rest should pass `check`, of
/// at most `budget` matrix products: 4 bits become 8, and more becomes float. Nothing becomes float where the objective is
/// integers, or the target has no floats.
///
/// # Errors
/// If a part of the plan cannot be tried.
pub(super) fn raise(
    prepared: &Prepared,
    trial: &Trial,
    check: &Check,
    budget: usize,
    config: &Config,
    progress: &dyn Progress,
) -> Result<(Assignment, Vec<Raise>)> {
    let suspects = suspects(prepared, trial, config, progress)?;
    let total: f64 = suspects.iter().map(|suspect| suspect.noise).sum();
    let wanted =
        check.thresholds.sqnr_db.zip(check.comparison.least_sqnr()).map_or(1.0, |(wanted, found)| 10f64.powf((found - wanted) / 10.0));
    let may_stay = total * wanted.min(HALF);
    let (mut remaining, mut left) = (total, budget);
    let (mut assignment, mut raised) = (trial.assignment.clone(), Vec::new());
    for suspect in &suspects {
        if remaining <= may_stay || left == 0 {
            break;
        }
        let step = Step::of(&prepared.teacher, &trial.plan, &assignment, &suspect.part);
        if step.products.is_empty() || step.products.len() > left || (!may_float(config) && !step.float.is_empty()) {
            continue;
        }
        left -= step.products.len();
        remaining -= suspect.noise;
        raised.push(step.describe(&prepared.teacher, &trial.plan, suspect, total));
        step.take(&mut assignment);
    }
    Ok((assignment, raised))
}

/// Whether layers may be raised to float.
pub(super) fn may_float(config: &Config) -> bool {
    config.objective != Objective::Integer && config.target.placement != Placement::AllValues
}

/// One part's way up.
struct Step {
    /// The matrix products that change.
    products: BTreeSet<NodeId>,
    layers: BTreeMap<NodeId, LayerWidths>,
    /// All nodes that are kept from integers.
    float: BTreeSet<NodeId>,
    from: String,
    to: &'static str,
}

impl Step {
    fn of(graph: &Graph, plan: &QuantPlan, assignment: &Assignment, part: &Part) -> Step {
        match part {
            Part::Weights(layer) => Step::of_weights(assignment, layer),
            Part::Group(group) => Step::of_group(graph, plan, assignment, *group),
        }
    }

    fn of_weights(assignment: &Assignment, layer: &Layer) -> Step {
        let products: BTreeSet<NodeId> = layer.products.iter().copied().collect();
        let width = products.iter().filter_map(|id| assignment.of(*id).weights).max().unwrap_or(Width::Eight);
        let (weights, float, to) = match width {
            Width::Four => (Some(Width::Eight), BTreeSet::new(), "8 bits"),
            _ => (None, products.clone(), "float"),
        };
        // ONNX Runtime refuses 8-bit weights with 4-bit values.
        let wider = |id: &NodeId| LayerWidths { weights, input: assignment.of(*id).input.max(Width::Eight) };
        let layers = products.iter().map(|id| (*id, wider(id))).collect();
        Step { products, layers, float, from: format!("{width} bits"), to }
    }

    fn of_group(graph: &Graph, plan: &QuantPlan, assignment: &Assignment, group: usize) -> Step {
        let values: BTreeSet<ValueId> = plan.activations.iter().filter(|point| point.group == group).map(|point| point.value).collect();
        let width = Width::of(plan.groups[group].data_type).unwrap_or(Width::Eight);
        let around = nodes_around(graph, plan, &values);
        let products: BTreeSet<NodeId> = around.iter().copied().filter(|id| is_product(graph, *id)).collect();
        let readers: BTreeSet<NodeId> =
            products.iter().copied().filter(|id| graph.node(*id).input(0).is_some_and(|x| values.contains(&x))).collect();
        let from = format!("{width} bits");
        if width == Width::Four && !readers.is_empty() {
            let layers = readers.iter().map(|id| (*id, LayerWidths { input: Width::Eight, ..assignment.of(*id) })).collect();
            return Step { products: readers, layers, float: BTreeSet::new(), from, to: "8 bits" };
        }
        let products = products.into_iter().filter(|id| !assignment.float.contains_key(id)).collect();
        Step { products, layers: BTreeMap::new(), float: around, from, to: "float" }
    }

    fn describe(&self, graph: &Graph, plan: &QuantPlan, suspect: &Suspect, total: f64) -> Raise {
        let what = match &suspect.part {
            Part::Weights(layer) => format!("the weights `{}`", graph.value(layer.weights).name),
            Part::Group(group) => format!("the values `{}`", graph.value(plan.groups[*group].value).name),
        };
        let (share, alone) = (100.0 * suspect.noise / total, -10.0 * suspect.noise.log10());
        let reason = format!("{what} make {share:.0} % of the noise, and alone leave an SQNR of {alone:.1} dB");
        let nodes = self.products.iter().map(|id| graph.node(*id).name.clone()).collect();
        Raise { nodes, from: self.from.clone(), to: self.to.to_string(), reason }
    }

    fn take(self, assignment: &mut Assignment) {
        assignment.layers.extend(self.layers);
        for id in self.float {
            assignment.float.entry(id).or_insert_with(|| "raised by the self-check".to_string());
        }
    }
}

/// The nodes that must run in float so that none of `values` is quantized: their readers, and, where outputs are quantized,
/// their producers with the activations that are fused into these.
fn nodes_around(graph: &Graph, plan: &QuantPlan, values: &BTreeSet<ValueId>) -> BTreeSet<NodeId> {
    let reads = |node: &crate::graph::Node| node.inputs.iter().flatten().any(|input| values.contains(input));
    let mut around: BTreeSet<NodeId> = graph.nodes().filter(|(_, node)| reads(node)).map(|(id, _)| id).collect();
    if plan.target.placement.is_at_inputs() {
        return around;
    }
    for value in values {
        let mut producer = graph.producer(*value);
        while let Some((id, node)) = producer {
            around.insert(id);
            let fused = node.operator.quantization_role() == QuantizationRole::Activation;
            producer = node.input(0).filter(|_| fused).and_then(|value| graph.producer(value));
        }
    }
    around
}

fn is_product(graph: &Graph, id: NodeId) -> bool {
    graph.node(id).operator.quantization_role() == QuantizationRole::Weighted
}
