//! More resolution for narrow layers, where runtimes have room for it.

use super::trial::ranges_of;
use super::{Config, Prepared};
use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::passes::{Seam, Strand, add_to_bias, find_strands, split_channels};
use crate::progress::{Progress, Silent};
use crate::quantization::{Assignment, QuantPlan, Width, costs};

/// Fills up blocks of channels that runtimes keep in memory anyway: layers with at most half of a block get their channels
/// several times, each copy with a bias of its own, spread over one step of the activation. Errors of rounding, which are
/// alike over flat parts of an image and so do not average out, cancel in the mean of the copies: n copies divide their
/// variance by up to n². Without the steps the function stays as it was. Where it was not measured what operators cost, layers
/// stay as they are.
///
/// # Errors
/// If a planned value cannot be computed.
pub(super) fn fill_narrow_layers(prepared: &mut Prepared, assignment: &Assignment, config: &Config, progress: &dyn Progress) -> Result<()> {
    if config.target.costs.is_none() {
        return Ok(());
    }
    let plan = assignment.plan(&prepared.teacher, &config.target, &config.exclude)?;
    let copies = |strand: &Strand| costs::BLOCK / strand.channels;
    let quantized = |strand: &Strand| strand.seams.iter().all(|seam| group_of(&plan, seam).is_some());
    let strands: Vec<Strand> =
        find_strands(&prepared.teacher).into_iter().filter(|strand| copies(strand) > 1 && quantized(strand)).collect();
    if strands.is_empty() {
        return Ok(());
    }
    split_channels(&mut prepared.teacher, strands.iter().map(|strand| (strand, copies(strand))))?;
    for strand in &strands {
        strand.seams.iter().for_each(|seam| prepared.moments.repeat(seam.made, copies(strand)));
    }
    let plan = assignment.plan(&prepared.teacher, &config.target, &config.exclude)?;
    let ranges = ranges_of(prepared, &plan, config, &Silent)?;
    for strand in &strands {
        for seam in &strand.seams {
            let step = group_of(&plan, seam).and_then(|group| ranges.0.get(group)?.scale.first()).map_or(0.0, |scale| f64::from(*scale));
            let mut offsets = spread(strand.channels, copies(strand), step);
            leave_empty(&prepared.teacher, seam, &mut offsets);
            add_to_bias(&mut prepared.teacher, seam.producer, &offsets);
        }
    }
    let count: usize = strands.iter().map(|strand| strand.channels * (copies(strand) - 1)).sum();
    progress.note(&format!("{count} channels of narrow layers were added that take the mean of several roundings"));
    Ok(())
}

/// The group of 8 bits or fewer that rounds what the producer of `seam` makes first.
fn group_of(plan: &QuantPlan, seam: &Seam) -> Option<usize> {
    let group = |value: ValueId| plan.activations.iter().find(|point| point.value == value).map(|point| point.group);
    let narrow = |group: &usize| matches!(Width::of(plan.groups[*group].data_type), Some(Width::Four | Width::Eight));
    group(seam.made).or_else(|| group(seam.value)).filter(narrow)
}

/// For each copy of each of `channels`: equal parts of `step` around 0.
fn spread(channels: usize, copies: usize, step: f64) -> Vec<f64> {
    let offset = |copy: usize| (copy as f64 - (copies - 1) as f64 / 2.0) / copies as f64 * step;
    (0..channels).flat_map(|_| (0..copies).map(offset)).collect()
}

/// Channels without weights hold the same everywhere, often 0: no errors of theirs would cancel.
fn leave_empty(graph: &Graph, seam: &Seam, offsets: &mut [f64]) {
    let weights = graph.node(seam.producer).input(1).and_then(|weight| graph.constant(weight)?.to_f32()).unwrap_or_default();
    let rows = weights.chunks((weights.len() / offsets.len().max(1)).max(1));
    for (offset, _) in offsets.iter_mut().zip(rows).filter(|(_, row)| row.iter().all(|w| *w == 0.0)) {
        *offset = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::evaluate;
    use crate::graph::sketch::{Sketch, noise};
    use crate::onnx::Model;
    use crate::ops::Attributes;
    use crate::pipeline::tests::config;
    use crate::pipeline::trial::Trial;
    use crate::quantization::{Widths, targets};

    #[test]
    fn copies_with_biases_of_their_own_lose_less_to_rounding() {
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 4), 3, 1).node("r", "LeakyRelu", "a", Attributes::default());
        let sketch = sketch.weights("w", &[4, 1, 3, 3], 0.4).node("d", "Conv", "r w", Attributes::default().int("group", 4));
        let sketch = sketch.plain("s", "Relu", "d").conv("c", "s", (4, 20), 1, 1);
        let graph = sketch.outputs("c");
        let widths = Widths::INT8;
        let config = Config { target: targets::find("ort-cpu").unwrap(), ..config(widths) };
        let mut prepared = Prepared::new(&Model::from_graph(graph.clone()), Some(noise(&graph, 64)), &config, &Silent).unwrap();
        let assignment = Assignment::uniform(&prepared.teacher, &widths);
        let computed = |graph: &Graph, prepared: &Prepared| {
            let found = evaluate(graph, &graph.outputs, &prepared.set, &config.execution).unwrap();
            found[0].iter().copied().collect::<Vec<f32>>()
        };
        let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let wanted = computed(&prepared.teacher, &prepared);
        let lost = |prepared: &Prepared| {
            // The result has headroom of its own, whose steps would hide the others.
            let plan = assignment.plan(&prepared.teacher, &config.target, &["c".to_string()]).unwrap();
            let ranges = ranges_of(prepared, &plan, &config, &Silent).unwrap();
            let trial = Trial::untuned(prepared, assignment.clone(), plan, ranges, &config).unwrap();
            distance(&computed(&trial.graph, prepared), &wanted)
        };
        let before = lost(&prepared);
        fill_narrow_layers(&mut prepared, &assignment, &config, &Silent).unwrap();
        let energy = distance(&wanted, &vec![0.0; wanted.len()]);
        assert!(distance(&computed(&prepared.teacher, &prepared), &wanted) < 1e-5 * energy);
        let after = lost(&prepared);
        assert!(after < 0.8 * before, "{before} {after}");
    }
}
