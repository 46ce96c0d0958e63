//! Images on which outputs are active: a detector's boxes, a segmenter's regions and a tagger's labels are rare, and images that
//! match statistics, or real ones that happen to show nothing, leave the integers in front of them without any.

use std::sync::Arc;

use super::goal::{Goal, Scores};
use super::input::Input;
use super::loss::OutputLoss;
use super::matching::{Image, Sample};
use super::method::Method;
use super::passes::Setup;
use super::source::Setting;
use super::{read_batch, settle, write_batch};
use crate::calibration::{CalibrationSet, Elements, Provenance, Samples};
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::execution::{self, evaluate};
use crate::graph::{Graph, Node, NodeId, ValueId, check, known_shape};
use crate::ops::{Concat, Conv, Gather, LeakyRelu, Mul, Relu, Reshape};
use crate::passes::{infer_shapes, single_sample};
use crate::progress::Progress;
use crate::quantization::Standings;
use crate::random::Random;
use crate::tensor::{DataType, TensorData};

/// [`Provenance::source`] of samples on which outputs were made active.
pub const ACTIVE: &str = "active";

/// How much is excited, and how far.
#[derive(Clone, Debug)]
pub struct Excitement {
    /// Number of images, about.
    pub samples: usize,
    pub steps: usize,
    /// Images that move together.
    pub batch: usize,
    pub seed: u64,
    pub execution: execution::Config,
}

/// Slope of a Relu below zero while images move: a unit that is at rest could not be woken otherwise.
const LEAK: f32 = 0.1;
/// Largest step of a pixel, as a part of its range.
const RATE: f32 = 0.035;
/// Images on which outputs are looked at for what is usual.
const USUAL: usize = 16;
/// Part of the mean deviation of all that is excited that a single one counts as at least.
const LEAST_DEVIATION: f64 = 0.1;
/// Of so many numbers one is lowered, the others are raised.
const LOWERED: usize = 4;

/// Minus the number at the label, or the number itself for every [`LOWERED`]th: output stretching, one end at a time.
#[derive(Debug)]
struct Excite;

impl OutputLoss for Excite {
    fn name(&self) -> &'static str {
        "excite"
    }

    fn distance(&self, scores: &[f32], label: usize, gradient: &mut [f32]) -> f64 {
        let sign = if label % LOWERED == LOWERED - 1 { 1.0 } else { -1.0 };
        gradient.fill(0.0);
        gradient[label] = sign;
        f64::from(sign * scores[label])
    }
}

/// Results of products in front of outputs that are no scores of one class for each image. `graph` takes one sample.
pub fn excitable(graph: &Graph) -> Vec<ValueId> {
    let made = Standings::before_rare(graph).made(graph).into_iter();
    made.filter(|value| graph.value(*value).shape.as_deref().and_then(known_shape).is_some_and(|shape| shape.iter().product::<usize>() > 0))
        .collect()
}

/// Images of `set`, moved until single numbers that outputs are made of are as large, or as small, as a few steps make them;
/// `None` where `graph` has no output of this kind. The same seed makes the same images.
///
/// Paper: Ilan et al. 2023, arXiv:2310.05613, section 3.3, output distribution stretching, for single places and channels; and
/// after Erhan et al. 2009, "Visualizing Higher-Layer Features of a Deep Network", activation maximization.
///
/// # Errors
/// If something before these outputs cannot be computed, or samples cannot be read or stored.
pub fn excite(
    graph: &Graph,
    set: &CalibrationSet,
    inputs: &[Input],
    config: &Excitement,
    progress: &dyn Progress,
) -> Result<Option<CalibrationSet>> {
    let mut graph = single_sample(graph)?;
    let made = excitable(&graph);
    if made.is_empty() || set.is_empty() || config.samples == 0 || config.steps == 0 {
        return Ok(None);
    }
    let mut random = Random::new(config.seed, 5 << 32);
    let (value, count) = gather_places(&mut graph, &made, config.samples, &mut random)?;
    let value = standardize(&mut graph, value, count, set, &config.execution)?;
    leak(&mut graph)?;
    let blank = |(input, samples): (&Input, &Samples)| {
        Ok(Samples { name: samples.name.clone(), shape: samples.shape.clone(), elements: Elements::zeros(input.len(), count)? })
    };
    let mut samples = inputs.iter().zip(&set.inputs).map(blank).collect::<Result<Vec<Samples>>>()?;
    let method =
        Method { recipe: ACTIVE.to_string(), statistics: None, output_losses: vec![(&Excite, 1.0)], rate: RATE, ..Method::default() };
    let goal = Goal::on_scores(&method, Scores { value, classes: count });
    let batch = config.batch.clamp(1, count);
    let mut passes =
        Setup { graph: &graph, goal: &goal, swings: &[], inputs, samples: batch, execution: config.execution }.open(progress)?;
    progress.begin("excite", count.div_ceil(batch) * config.steps);
    for (index, first) in (0..count).step_by(batch).enumerate() {
        let labels = first..(first + batch).min(count);
        let start: Vec<Image> = labels.clone().map(|label| read_one(set, label * set.len() / count)).collect::<Result<_>>()?;
        let setting =
            Setting { inputs, samples: start.len(), rate: RATE, seed: config.seed, batch: index as u64, isa: config.execution.isa };
        passes.begin(start, &setting)?;
        let mut excited: Vec<Sample> = labels.clone().map(|label| Sample::of_scores(label, count)).collect();
        for step in 0..config.steps {
            passes.see_through(Default::default())?;
            passes.forward(&mut excited, &goal, progress)?;
            passes.backward(&excited, &goal, &[], progress)?;
            passes.descend(Moment { step, of: config.steps }, progress)?;
            progress.step("");
            progress.check()?;
        }
        write_batch(&mut samples, labels, &passes.finish(progress)?)?;
    }
    progress.end();
    let provenance =
        Provenance { source: ACTIVE.to_string(), seed: Some(config.seed), steps: Some(config.steps), ..set.provenance.clone() };
    settle(inputs, &mut samples)?;
    Ok(Some(CalibrationSet { inputs: samples, provenance }))
}

fn read_one(set: &CalibrationSet, index: usize) -> Result<Image> {
    Ok(read_batch(&set.inputs, index..index + 1)?.into_iter().next().unwrap_or_default())
}

/// Adds a value `[1, n]` that holds about `wanted` places of `made`, as many of each, and returns it with n.
fn gather_places(graph: &mut Graph, made: &[ValueId], wanted: usize, random: &mut Random) -> Result<(ValueId, usize)> {
    let made: Vec<ValueId> = made.iter().copied().step_by(made.len().div_ceil(wanted)).collect();
    let of_each = wanted.div_ceil(made.len());
    let mut parts = Vec::new();
    for value in &made {
        let places = places(graph, *value, of_each, random);
        let flat = add_constant(graph, "excited_shape", TensorData::vector(vec![1i64, -1]));
        let indices = add_constant(graph, "excited_places", TensorData::vector(places));
        let flat = add(graph, Arc::new(Reshape { allow_zero: false }), vec![*value, flat]);
        parts.push(add(graph, Arc::new(Gather { axis: 1 }), vec![flat, indices]));
    }
    let value = add(graph, Arc::new(Concat { axis: 1 }), parts);
    graph.outputs = vec![value];
    graph.sort()?;
    infer_shapes(graph)?;
    Ok((value, of_each * made.len()))
}

/// Places in row-major order, of all channels of a convolution in turn.
fn places(graph: &Graph, value: ValueId, count: usize, random: &mut Random) -> Vec<i64> {
    let shape = graph.value(value).shape.as_deref().and_then(known_shape).unwrap_or_default();
    let all: usize = shape.iter().product();
    let is_convolution = graph.producer(value).is_some_and(|(_, node)| node.is::<Conv>().is_some());
    let channels = if is_convolution { shape[1] } else { 1 };
    let order = random.permutation(channels);
    let inner = all / channels;
    (0..count).map(|index| (order[index % channels] * inner + random.below(inner)) as i64).collect()
}

/// Divides each number of `value` by its deviation on some images of `set`, so that none outweighs the others.
fn standardize(graph: &mut Graph, value: ValueId, count: usize, set: &CalibrationSet, config: &execution::Config) -> Result<ValueId> {
    let some = set.slice(0..set.len().min(USUAL));
    let found = evaluate(graph, &[value], &some, config)?;
    let numbers: Vec<f64> = found.iter().flat_map(|array| array.iter().map(|x| f64::from(*x))).collect();
    let deviation = |index: usize| {
        let of_one = || numbers.iter().skip(index).step_by(count);
        let mean = of_one().sum::<f64>() / some.len() as f64;
        (of_one().map(|x| (x - mean).powi(2)).sum::<f64>() / some.len() as f64).sqrt()
    };
    let deviations: Vec<f64> = (0..count).map(deviation).collect();
    let least = LEAST_DEVIATION * deviations.iter().sum::<f64>() / count as f64;
    let factors = deviations.iter().map(|deviation| (1.0 / deviation.max(least).max(1e-6)) as f32).collect();
    let factors = add_constant(graph, "excited_factors", TensorData::new(&[1, count], factors));
    let value = add(graph, Arc::new(Mul), vec![value, factors]);
    graph.outputs = vec![value];
    infer_shapes(graph)?;
    check(graph)?;
    Ok(value)
}

/// Lets every Relu pass some of what it holds back.
fn leak(graph: &mut Graph) -> Result<()> {
    let is_relu = |(id, node): (NodeId, &Node)| node.is::<Relu>().map(|_| id);
    let relus: Vec<NodeId> = graph.nodes().filter_map(is_relu).collect();
    relus.into_iter().for_each(|id| graph.set_operator(id, Arc::new(LeakyRelu { alpha: LEAK })));
    check(graph)
}

fn add_constant(graph: &mut Graph, name: &str, tensor: TensorData) -> ValueId {
    let name = graph.unused_name(name);
    graph.add_constant(name, tensor)
}

fn add(graph: &mut Graph, operator: Arc<dyn crate::ops::Operator>, inputs: Vec<ValueId>) -> ValueId {
    let name = graph.unused_name("excited");
    let (_, value) = graph.add_operation(&name, operator, inputs, &name);
    graph.set_facts(value, Some(DataType::F32), None);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, noise};
    use crate::progress::Silent;
    use crate::synthesis::input_range::PixelRange;

    /// A unit that only a dark picture wakes, behind a Relu at rest, and a head that makes a score of it.
    fn detector() -> Graph {
        let sketch = Sketch::new(&[0, 1, 6, 6]).constant("w", TensorData::new(&[2, 1, 3, 3], [vec![-0.1f32; 9], vec![0.1; 9]].concat()));
        let sketch = sketch.constant("b", TensorData::vector(vec![-1.0f32, 0.0])).plain("c", "Conv", "x w b").plain("r", "Relu", "c");
        let sketch = sketch.constant("v", TensorData::new(&[1, 2, 1, 1], vec![9.0f32, -1.0]));
        sketch.plain("y", "Conv", "r v").outputs("y")
    }

    fn config(seed: u64) -> Excitement {
        Excitement { samples: 8, steps: 40, batch: 4, seed, execution: execution::Config::default() }
    }

    #[test]
    fn excited_images_wake_what_is_at_rest() {
        let graph = detector();
        let set = noise(&graph, 4);
        let set = CalibrationSet {
            inputs: vec![Samples::new("x", vec![1, 1, 6, 6], set.inputs[0].sample(0).unwrap().iter().map(|x| x * 0.1).collect()).unwrap()],
            ..set
        };
        let inputs = [Input::new("x", vec![1, 1, 6, 6], PixelRange::uniform("test", -2.0, 2.0))];
        let made = excite(&graph, &set, &inputs, &config(1), &Silent).unwrap().unwrap();
        assert_eq!((made.len(), made.provenance.source.as_str()), (8, ACTIVE));
        let y = |set: &CalibrationSet| {
            evaluate(&graph, &graph.outputs, set, &Default::default()).unwrap()[0].iter().copied().fold(f32::MIN, f32::max)
        };
        assert!(y(&set) < 0.5 && y(&made) > 3.0, "{} {}", y(&set), y(&made));
        let (low, high) = made.inputs[0].range().unwrap();
        assert!(low >= -2.0 && high <= 2.0);
        assert_eq!(excite(&graph, &set, &inputs, &config(1), &Silent).unwrap().unwrap(), made);
        assert_ne!(excite(&graph, &set, &inputs, &config(2), &Silent).unwrap().unwrap(), made);
    }

    #[test]
    fn scores_of_one_class_each_are_left_alone_and_labels_are_not() {
        let head =
            |last: &str| Sketch::new(&[1, 4]).weights("w", &[4, 3], 0.3).plain("g", "MatMul", "x w").plain("y", last, "g").outputs("y");
        assert!(excitable(&head("Softmax")).is_empty() && excitable(&head("Neg")).is_empty());
        assert_eq!(excitable(&head("Sigmoid")).len(), 1);
    }
}
