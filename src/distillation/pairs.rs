//! Which values of the student are held against which values of the teacher.

use std::collections::HashSet;

use super::measure::Measure;
use crate::calibration::CalibrationSet;
use crate::emit::Student;
use crate::error::Result;
use crate::execution;
use crate::execution::observe;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::{LeakyRelu, LogSoftmax, Softmax};
use crate::tensor::DataType;

/// A student value and what it should be.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub student: ValueId,
    pub teacher: ValueId,
    /// Share in the loss; the shares of all pairs add up to 1.
    pub share: f64,
    pub measure: Measure,
}

/// What is held against the teacher, and how much of it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses {
    pub outputs: OutputMeasure,
    pub layers: LayerShares,
}

impl Losses {
    pub const USUAL: Losses = Losses { outputs: OutputMeasure::Noise, layers: LayerShares::Even };
}

/// How outputs are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputMeasure {
    /// By their noise-to-signal ratio.
    Noise,
    /// Scores of classes by their Kullback-Leibler divergence; other outputs as above.
    Divergence,
}

impl OutputMeasure {
    pub const ALL: [OutputMeasure; 2] = [OutputMeasure::Noise, OutputMeasure::Divergence];

    pub fn name(self) -> &'static str {
        match self {
            OutputMeasure::Noise => "noise",
            OutputMeasure::Divergence => "divergence",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            OutputMeasure::Noise => "Noise-to-signal ratio",
            OutputMeasure::Divergence => "Kullback-Leibler divergence of scores of classes; the noise-to-signal ratio of other outputs",
        }
    }
}

impl LayerShares {
    pub const ALL: [LayerShares; 2] = [LayerShares::Even, LayerShares::Depth];

    pub fn name(self) -> &'static str {
        match self {
            LayerShares::Even => "even",
            LayerShares::Depth => "depth",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            LayerShares::Even => "All the same",
            LayerShares::Depth => "The more, the later they come",
        }
    }
}

/// What share the layers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerShares {
    Even,
    /// The k-th of n counts 2k / (n + 1) times the mean.
    ///
    /// Paper: Haroush et al. 2020 (The Knowledge Within), arXiv:1912.01274, and its code.
    Depth,
}

impl Pair {
    /// Its energy is still to be measured.
    fn noise(student: ValueId, teacher: ValueId, share: f64) -> Self {
        Pair { student, teacher, share, measure: Measure::Noise { energy: 0.0 } }
    }
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
    losses: Losses,
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
    let count = layers.len() as f64;
    let share = |index: usize| match losses.layers {
        LayerShares::Even => layer_share,
        LayerShares::Depth => layer_share * 2.0 * (index as f64 + 1.0) / (count + 1.0),
    };
    let mut pairs: Vec<Pair> = ends.into_iter().map(|(student, teacher)| Pair::noise(student, teacher, end_share)).collect();
    for pair in pairs.iter_mut().filter(|pair| losses.outputs == OutputMeasure::Divergence && holds_scores(teacher, pair.teacher)) {
        pair.measure = Measure::Divergence;
    }
    pairs.extend(layers.into_iter().enumerate().map(|(index, value)| Pair::noise(value, value, share(index))));
    measured(teacher, pairs, set, config)
}

/// Whether a value is `[N, C]`: a score for each of C > 1 classes.
fn holds_scores(graph: &Graph, value: ValueId) -> bool {
    let shape = graph.value(value).shape.as_deref().unwrap_or_default();
    shape.len() == 2 && shape[1].known().is_some_and(|classes| classes > 1)
}

/// `values` of student and teacher with equal shares, their energies measured on `set`.
pub fn equal_pairs(teacher: &Graph, values: &[(ValueId, ValueId)], set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Pair>> {
    let share = 1.0 / values.len().max(1) as f64;
    let pairs = values.iter().map(|(student, teacher)| Pair::noise(*student, *teacher, share));
    measured(teacher, pairs.collect(), set, config)
}

fn measured(teacher: &Graph, mut pairs: Vec<Pair>, set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Pair>> {
    measure_energies(teacher, &mut pairs, set, config)?;
    pairs.retain(|pair| !matches!(pair.measure, Measure::Noise { energy } if energy <= 0.0 || !energy.is_finite()));
    Ok(pairs)
}

/// The outputs of student and teacher that can be tuned, logits where the output is a Softmax; what flows into an output that cannot
/// stands for it.
pub fn ends(teacher: &Graph, graph: &Graph) -> Vec<(ValueId, ValueId)> {
    find_ends(teacher, graph, carries_gradient)
}

/// The outputs of student and teacher that can be compared, logits where the output is a Softmax; what flows into an output that cannot
/// stands for it. Other than [`ends`], whatever lies on the way.
pub fn comparable_ends(teacher: &Graph, graph: &Graph) -> Vec<(ValueId, ValueId)> {
    find_ends(teacher, graph, is_comparable)
}

fn find_ends(teacher: &Graph, graph: &Graph, fits: fn(&Graph, ValueId) -> bool) -> Vec<(ValueId, ValueId)> {
    let mut ends: Vec<(ValueId, ValueId)> = Vec::new();
    for (student_output, teacher_output) in graph.outputs.iter().zip(&teacher.outputs) {
        let (from, to) = logits(graph, teacher, *student_output, *teacher_output);
        let found = if fits(teacher, to) { vec![(from, to)] } else { before_unknown(graph, teacher, to, fits) };
        for (from, to) in found {
            if ends.iter().all(|(known, _)| *known != from) {
                ends.push((from, to));
            }
        }
    }
    ends
}

/// The inputs of a final Softmax, else the values themselves.
fn logits(graph: &Graph, teacher: &Graph, student_output: ValueId, teacher_output: ValueId) -> (ValueId, ValueId) {
    let softmax = teacher.producer(teacher_output).filter(|(_, node)| node.is::<Softmax>().is_some() || node.is::<LogSoftmax>().is_some());
    let inputs = softmax.and_then(|(id, node)| Some((student_input(graph, id, 0)?, node.input(0)?)));
    inputs.unwrap_or((student_output, teacher_output))
}

fn student_input(graph: &Graph, id: NodeId, index: usize) -> Option<ValueId> {
    graph.nodes().find(|(other, _)| *other == id).and_then(|(_, node)| node.input(index))
}

/// The last values before `output` that fit: what flows into nodes that zeroq does not know or that choose, as
/// ArgMax does, or past them.
fn before_unknown(graph: &Graph, teacher: &Graph, output: ValueId, fits: fn(&Graph, ValueId) -> bool) -> Vec<(ValueId, ValueId)> {
    let (mut found, mut open, mut seen) = (Vec::new(), vec![output], HashSet::from([output]));
    while let Some(value) = open.pop() {
        let Some((id, node)) = teacher.producer(value) else { continue };
        for (index, input) in node.inputs.iter().enumerate() {
            let Some(input) = input.filter(|input| seen.insert(*input)) else { continue };
            if !fits(teacher, input) {
                open.push(input);
            } else if teacher.producer(input).is_some() {
                found.extend(student_input(graph, id, index).map(|student| (student, input)));
            }
        }
    }
    found
}

/// Operators whose result does not change with small changes of what they read.
const FLAT: [&str; 4] = ["Ceil", "Floor", "Round", "Sign"];

/// Whether `value` can be computed and is a float32 number.
fn is_comparable(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).data_type == Some(DataType::F32) && is_computable(graph, value)
}

/// Whether `value` can be computed and is a float32 number that changes with an input of `graph`, past no operator of [`FLAT`] and
/// by no way that leads from float32 numbers to integers and back.
fn carries_gradient(graph: &Graph, value: ValueId) -> bool {
    let is_real = |value: ValueId| graph.value(value).data_type.is_some_and(DataType::is_float);
    let (mut open, mut seen) = (vec![value], HashSet::new());
    if !is_comparable(graph, value) {
        return false;
    }
    while let Some(value) = open.pop() {
        let Some((_, node)) = graph.producer(value).filter(|(_, node)| !FLAT.contains(&node.operator.name())) else {
            if graph.is_input(value) {
                return true;
            }
            continue;
        };
        let before = node.inputs.iter().flatten().copied().filter(|input| is_real(value) || !is_real(*input));
        open.extend(before.filter(|input| seen.insert(*input)));
    }
    false
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
        if let Measure::Noise { energy } = &mut pair.measure {
            *energy = (squares - sum * sum / count) / set.len() as f64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{calibrate, observers};
    use crate::emit::insert;
    use crate::graph::sketch::{Sketch, noise};
    use crate::progress::Silent;
    use crate::quantization::{plan, targets};

    #[test]
    fn depth_counts_more_and_scores_are_told_by_their_shape() {
        let window = crate::ops::Attributes::default();
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 4), 3, 1).plain("r", "Relu", "a").conv("b", "r", (4, 5), 3, 1);
        let teacher = sketch.node("p", "GlobalAveragePool", "b", window.clone()).node("y", "Flatten", "p", window).outputs("y b");
        let plan = plan(&teacher, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
        let (set, config) = (noise(&teacher, 4), execution::Config::default());
        let ranges = calibrate(&teacher, &plan, &set, observers::find("min-max").unwrap().as_ref(), &config, &Silent).unwrap();
        let mut graph = teacher.clone();
        let student = insert(&mut graph, &plan, &ranges).unwrap();
        let pairs = |losses| find_pairs(&teacher, &graph, &student, &set, losses, &config).unwrap();
        let even = pairs(Losses::USUAL);
        assert!((even.iter().map(|pair| pair.share).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(even.iter().all(|pair| matches!(pair.measure, Measure::Noise { .. })));
        let deep = pairs(Losses { outputs: OutputMeasure::Divergence, layers: LayerShares::Depth });
        let measures: Vec<bool> = deep[..2].iter().map(|pair| pair.measure == Measure::Divergence).collect();
        assert_eq!(measures, [true, false]);
        assert!(deep[2..].windows(2).all(|pair| pair[0].share < pair[1].share));
        let layers = |pairs: &[Pair]| pairs[2..].iter().map(|pair| pair.share).sum::<f64>();
        assert!((layers(&deep) - layers(&even)).abs() < 1e-9);
    }

    #[test]
    fn what_flows_into_an_unknown_operator_stands_for_its_output() {
        let sketch = Sketch::new(&[0, 3, 4, 4]).conv("a", "x", (3, 4), 3, 1).plain("r", "Relu", "a").plain("u", "Neg", "r");
        let mut graph = sketch.plain("s", "Add", "u a").plain("y", "Neg", "s").outputs("y");
        let id = |graph: &Graph, name: &str| graph.find_value(name).unwrap();
        let (unknown, _) = graph.producer(id(&graph, "u")).unwrap();
        let foreign = crate::ops::Foreign {
            op_type: "Odd".into(),
            domain: String::new(),
            attributes: crate::ops::Attributes::default(),
            own_inputs: 1,
            inner: Default::default(),
            reason: "unknown".into(),
        };
        graph.set_operator(unknown, std::sync::Arc::new(foreign));
        let (a, r) = (id(&graph, "a"), id(&graph, "r"));
        assert_eq!(ends(&graph, &graph), [(a, a), (r, r)]);
    }

    #[test]
    fn what_a_choice_is_made_of_stands_for_the_choice() {
        let sketch = Sketch::new(&[0, 3, 4, 4]).conv("a", "x", (3, 4), 3, 1).plain("r", "Relu", "a");
        let axis = crate::ops::Attributes::default().int("axis", 1);
        let sketch = sketch.node("best", "ArgMax", "r", axis).node("f", "Cast", "best", crate::ops::Attributes::default().int("to", 1));
        let mut graph = sketch.plain("s", "Floor", "a").plain("y", "Mul", "f s").plain("z", "Mul", "f r").outputs("best f y z");
        crate::passes::infer_shapes(&mut graph).unwrap();
        let id = |name: &str| graph.find_value(name).unwrap();
        let (a, r, z) = (id("a"), id("r"), id("z"));
        assert_eq!(ends(&graph, &graph), [(r, r), (a, a), (z, z)]);
    }
}
