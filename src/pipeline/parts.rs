//! A scale for each part of a result that holds unlike things.

use super::trial::{coverage_of, ranges_of};
use super::{Config, Prepared};
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::{Conv, Relu};
use crate::passes::level_channels;
use crate::progress::{Progress, Silent};
use crate::quantization::{Assignment, Placement, QuantPlan, Standing};

/// Times that one channel needs more room than another before the two are unlike: two bits.
const UNLIKE: f64 = 4.0;
/// Largest factor: more would be lost in float32.
const MOST: f64 = 65536.0;

/// Brings the channels of every integer result to like ranges where they are not, and back again behind it: scores beside
/// offsets, or one score that comes far beside others that do not. A product cannot have a scale for each output channel in
/// integers, but its weights can; what scales back stands among the floats.
///
/// # Errors
/// If a planned value cannot be computed.
pub(super) fn level_results(prepared: &mut Prepared, assignment: &Assignment, config: &Config, progress: &dyn Progress) -> Result<()> {
    if config.target.placement != Placement::Everywhere {
        return Ok(());
    }
    let plan = assignment.plan(&prepared.teacher, &config.target, &config.exclude)?;
    let results = results(&prepared.teacher, &plan);
    if results.is_empty() {
        return Ok(());
    }
    let ranges = ranges_of(prepared, &plan, config, &Silent)?;
    let coverage = coverage_of(prepared, &plan, config)?;
    let mut leveled = Vec::new();
    for (id, value) in results {
        let node = prepared.teacher.node(id).clone();
        let rooms = coverage.rooms_of_channels(&prepared.teacher, (&plan, &ranges), (&node, value), &prepared.taught, &config.execution)?;
        let Some(factors) = rooms.and_then(|rooms| factors(&rooms)) else { continue };
        level_channels(&mut prepared.teacher, id, value, &factors)?;
        leveled.push(format!("`{}`", node.name));
    }
    if !leveled.is_empty() {
        progress.note(&format!("channels that hold unlike things have scales of their own in the results of {}", leveled.join(", ")));
    }
    Ok(())
}

/// Integer convolutions whose results leave the network as integers, and what carries these.
fn results(graph: &Graph, plan: &QuantPlan) -> Vec<(NodeId, ValueId)> {
    let integer = plan.weights.iter().filter(|point| point.integer && graph.readers(point.value).len() == 1);
    let convolutions = integer.map(|point| (point.node, graph.node(point.node))).filter(|(_, node)| node.is::<Conv>().is_some());
    convolutions.filter_map(|(id, node)| Some((id, carried(graph, node).filter(|value| leaves(plan, *value))?))).collect()
}

/// Behind a Relu that is fused into a convolution.
fn carried(graph: &Graph, node: &Node) -> Option<ValueId> {
    let output = node.output(0)?;
    match graph.readers(output) {
        [(id, _)] if !graph.is_output(output) && graph.node(*id).is::<Relu>().is_some() => graph.node(*id).output(0),
        _ => Some(output),
    }
}

/// Whether `value` has a scale of its own and is a result.
fn leaves(plan: &QuantPlan, value: ValueId) -> bool {
    let point = plan.activations.iter().find(|point| point.value == value);
    point.is_some_and(|point| {
        let alone = plan.activations.iter().filter(|other| other.group == point.group).count() == 1;
        alone && plan.groups[point.group].standing == Standing::Leaving
    })
}

/// Powers of two that bring all to the largest room; `None` where they are alike.
fn factors(rooms: &[(f64, f64)]) -> Option<Vec<f32>> {
    let widths: Vec<f64> = rooms.iter().map(|room| room.1.max(-room.0)).collect();
    let largest = widths.iter().copied().fold(0.0, f64::max);
    let factor = |width: &f64| if *width > 0.0 { (largest / width).min(MOST).log2().floor().exp2() } else { 1.0 };
    let factors: Vec<f64> = widths.iter().map(factor).collect();
    factors.iter().any(|factor| *factor >= UNLIKE).then(|| factors.into_iter().map(|factor| factor as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::onnx::Model;
    use crate::pipeline::tests::config;
    use crate::pipeline::trial::Trial;
    use crate::quantization::{Objective, Widths, targets};
    use crate::tensor::TensorData;

    #[test]
    fn unlike_channels_of_one_result_keep_their_bits() {
        // Offsets of ±80 beside scores of ±0.3.
        let head: Vec<f32> = (0..32).map(|i| if i < 16 { 20.0 } else { 0.08 } * [1.0, -0.7, 0.4, -1.2][i % 4]).collect();
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).plain("r", "Relu", "a");
        let sketch = sketch.constant("w", TensorData::new(&[4, 8, 1, 1], head));
        let graph = sketch.plain("y", "Conv", "r w").outputs("y");
        let config = Config { target: targets::find("ort-cpu").unwrap(), objective: Objective::Integer, ..config(Widths::INT8) };
        let model = Model::from_graph(graph);
        let mut prepared = Prepared::new(&model, None, &config, &Silent).unwrap();
        let assignment = Assignment::uniform(&prepared.teacher, &config.widths);
        let noise_of_scores = |prepared: &Prepared| {
            let trial = Trial::new(prepared, assignment.clone(), &config, &Silent).unwrap();
            let run =
                |graph: &Graph| crate::execution::evaluate(graph, &graph.outputs, &prepared.held_out, &config.execution).unwrap().remove(0);
            let (wanted, found) = (run(&prepared.teacher), run(&trial.graph));
            let of_scores = |index: usize| index / 64 % 4 >= 2;
            let parts = wanted.iter().zip(&found).enumerate().filter(|(index, _)| of_scores(*index));
            let (noise, signal) = parts.fold((0.0, 0.0), |(noise, signal), (_, (a, b))| (noise + (a - b).powi(2), signal + a * a));
            noise / signal
        };
        let before = noise_of_scores(&prepared);
        level_results(&mut prepared, &assignment, &config, &Silent).unwrap();
        let after = noise_of_scores(&prepared);
        assert!(before > 0.1 && after < 0.001, "{before} {after}");
    }
}
