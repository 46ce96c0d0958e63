//! Which values of the student are held against which values of the teacher.

use std::collections::HashSet;

use crate::calibration::CalibrationSet;
use crate::emit::Student;
use crate::error::Result;
use crate::execution;
use crate::execution::observe;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::{LeakyRelu, LogSoftmax, Softmax};

/// A student value and what it should be.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub student: ValueId,
    pub teacher: ValueId,
    /// Share in the loss; the shares of all pairs add up to 1.
    pub share: f64,
    /// Mean over the samples of Σ (teacher − its mean)²: what makes errors of different values comparable.
    pub energy: f64,
}

/// How much of the loss is the outputs'; the rest is spread over the layers.
const OUTPUT_SHARE: f64 = 0.5;

/// Pairs of all quantized layer outputs and of the graph outputs (logits where the output is a Softmax), with energies
/// measured on `set`. Values that cannot be computed in either graph are left out.
pub fn find_pairs(
    teacher: &Graph,
    graph: &Graph,
    student: &Student,
    set: &CalibrationSet,
    config: &execution::Config,
) -> Result<Vec<Pair>> {
    let ends = ends(teacher, graph);
    let mut seen: HashSet<ValueId> = ends.iter().map(|(from, _)| *from).collect();
    // What only a LeakyRelu reads is judged behind it, where it counts.
    let consumers = teacher.consumers();
    let judged_behind = |value: &ValueId| {
        let readers = &consumers[value.0 as usize];
        !readers.is_empty() && readers.iter().all(|(id, _)| teacher.node(*id).is::<LeakyRelu>().is_some())
    };
    let judged = |value: &ValueId| teacher.value(*value).producer.is_some() && !teacher.is_output(*value) && !judged_behind(value);
    let layers = student.activations.iter().map(|activation| activation.original).filter(judged);
    let layers: Vec<ValueId> = layers.filter(|value| is_computable(teacher, *value) && seen.insert(*value)).collect();
    let (end_share, layer_share) = match (ends.len(), layers.len()) {
        (0, layers) => (0.0, 1.0 / layers.max(1) as f64),
        (ends, 0) => (1.0 / ends as f64, 0.0),
        (ends, layers) => (OUTPUT_SHARE / ends as f64, (1.0 - OUTPUT_SHARE) / layers as f64),
    };
    let pair = |(student, teacher): (ValueId, ValueId), share| Pair { student, teacher, share, energy: 0.0 };
    let mut pairs: Vec<Pair> = ends.into_iter().map(|ends| pair(ends, end_share)).collect();
    pairs.extend(layers.into_iter().map(|value| pair((value, value), layer_share)));
    measured(teacher, pairs, set, config)
}

/// `values` of student and teacher with equal shares, their energies measured on `set`.
pub fn equal_pairs(teacher: &Graph, values: &[(ValueId, ValueId)], set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Pair>> {
    let share = 1.0 / values.len().max(1) as f64;
    let pairs = values.iter().map(|(student, teacher)| Pair { student: *student, teacher: *teacher, share, energy: 0.0 });
    measured(teacher, pairs.collect(), set, config)
}

fn measured(teacher: &Graph, mut pairs: Vec<Pair>, set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Pair>> {
    measure_energies(teacher, &mut pairs, set, config)?;
    pairs.retain(|pair| pair.energy > 0.0 && pair.energy.is_finite());
    Ok(pairs)
}

/// The outputs of student and teacher that can be computed, logits where the output is a Softmax.
pub fn ends(teacher: &Graph, graph: &Graph) -> Vec<(ValueId, ValueId)> {
    let mut ends: Vec<(ValueId, ValueId)> = Vec::new();
    for (student_output, teacher_output) in graph.outputs.iter().zip(&teacher.outputs) {
        let (from, to) = logits(graph, teacher, *student_output, *teacher_output);
        if is_computable(teacher, to) && ends.iter().all(|(known, _)| *known != from) {
            ends.push((from, to));
        }
    }
    ends
}

/// The inputs of a final Softmax, else the values themselves.
fn logits(graph: &Graph, teacher: &Graph, student_output: ValueId, teacher_output: ValueId) -> (ValueId, ValueId) {
    let softmax = teacher.producer(teacher_output).filter(|(_, node)| node.is::<Softmax>().is_some() || node.is::<LogSoftmax>().is_some());
    let inputs = softmax.and_then(|(id, node)| Some((student_input(graph, id)?, node.input(0)?)));
    inputs.unwrap_or((student_output, teacher_output))
}

fn student_input(graph: &Graph, id: NodeId) -> Option<ValueId> {
    graph.nodes().find(|(other, _)| *other == id).and_then(|(_, node)| node.input(0))
}

fn is_computable(graph: &Graph, value: ValueId) -> bool {
    let mut open = vec![value];
    let mut seen = HashSet::new();
    while let Some(value) = open.pop() {
        let Some((_, node)) = graph.producer(value) else { continue };
        if node.is::<crate::ops::Foreign>().is_some() {
            return false;
        }
        open.extend(node.inputs.iter().flatten().filter(|value| seen.insert(**value)));
    }
    true
}

fn measure_energies(teacher: &Graph, pairs: &mut [Pair], set: &CalibrationSet, config: &execution::Config) -> Result<()> {
    let values: Vec<ValueId> = pairs.iter().map(|pair| pair.teacher).collect();
    let mut sums = vec![(0.0f64, 0.0f64, 0.0f64); pairs.len()];
    observe(teacher, &values, set, config, &mut |_, elements| {
        for (sums, elements) in sums.iter_mut().zip(elements) {
            sums.0 += elements.len() as f64;
            sums.1 += elements.iter().map(|x| f64::from(*x)).sum::<f64>();
            sums.2 += elements.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        }
    })?;
    for (pair, (count, sum, squares)) in pairs.iter_mut().zip(sums) {
        pair.energy = (squares - sum * sum / count) / set.len() as f64;
    }
    Ok(())
}
