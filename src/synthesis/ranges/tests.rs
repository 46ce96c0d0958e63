//! Networks with random first layers and random inputs of known ranges: what is found, and whether it is sure of it.

use super::*;
use crate::execution;
use crate::graph::sketch::{Sketch, noise};
use crate::ops::Attributes;
use crate::progress::Silent;
use crate::random::Random;
use crate::synthesis::Method;
use crate::synthesis::dead_leaves::dead_leaves;
use crate::synthesis::input_range::InputRange;
use crate::synthesis::loss::Gaussian;
use crate::tensor::TensorData;

/// A kind of input: its shape, and what elements of 0 and 1 become.
struct Kind {
    name: &'static str,
    shape: &'static [usize],
    /// Per channel, or one.
    ends: &'static [(f32, f32)],
    /// Name of the range that is right; `None` where there is none.
    right: Option<&'static str>,
}

const IMAGENET: &[(f32, f32)] = &[(-2.1179, 2.2489), (-2.0357, 2.4286), (-1.8044, 2.64)];
const CAFFE: &[(f32, f32)] = &[(-103.939, 151.061), (-116.779, 138.221), (-123.68, 131.32)];
const COLOUR: &[usize] = &[1, 3, 32, 32];
const GREY: &[usize] = &[1, 1, 32, 32];

const KINDS: [Kind; 12] = [
    Kind { name: "unit", shape: COLOUR, ends: &[(0.0, 1.0)], right: Some("unit") },
    Kind { name: "signed", shape: COLOUR, ends: &[(-1.0, 1.0)], right: Some("signed") },
    Kind { name: "byte", shape: COLOUR, ends: &[(0.0, 255.0)], right: Some("byte") },
    Kind { name: "imagenet", shape: COLOUR, ends: IMAGENET, right: Some("imagenet") },
    Kind { name: "caffe", shape: COLOUR, ends: CAFFE, right: Some("caffe") },
    Kind { name: "grey unit", shape: GREY, ends: &[(0.0, 1.0)], right: Some("unit") },
    Kind { name: "grey signed", shape: GREY, ends: &[(-1.0, 1.0)], right: Some("signed") },
    Kind { name: "grey byte, channels last", shape: &[1, 32, 32, 1], ends: &[(0.0, 255.0)], right: Some("byte") },
    Kind { name: "tenths of a deviation", shape: COLOUR, ends: &[(-5.0, 5.0)], right: None },
    Kind { name: "mel bands", shape: &[1, 24, 40], ends: &[(-110.0, -10.0)], right: None },
    Kind { name: "depth in metres", shape: GREY, ends: &[(0.0, 10.0)], right: None },
    Kind { name: "sensor rows", shape: &[1, 6, 64], ends: &[(-20.0, 20.0)], right: None },
];

impl Kind {
    fn channels(&self) -> usize {
        if self.shape[self.shape.len() - 1] == 1 { 1 } else { self.shape[1] }
    }

    /// Values of one sample, row-major: pictures are dead leaves whose contrast and brightness are those of a set of its own.
    fn sample(&self, set: (f32, f32), random: &mut Random) -> Vec<f32> {
        let channels = self.channels();
        let len: usize = self.shape.iter().product();
        let area = len / channels;
        let part = if self.shape.len() == 4 {
            dead_leaves(channels, 32, 32, random)
        } else {
            let rows = (0..channels).flat_map(|_| response::field(&[area], 0.8, random)).collect::<Vec<f32>>();
            rows.into_iter().map(|x| (0.45 + 0.17 * x).clamp(0.0, 1.0)).collect()
        };
        let (bright, contrast) = set;
        let part = part.into_iter().map(|x| (0.45 + contrast * (x - 0.45) + bright).clamp(0.0, 1.0));
        part.enumerate().map(|(at, x)| self.at(at / area, x)).collect()
    }

    fn at(&self, channel: usize, part: f32) -> f32 {
        let (low, high) = self.ends[channel % self.ends.len()];
        low + part * (high - low)
    }
}

/// A first layer like those that are trained: kernels of all frequencies, some that mind brightness and some that do not.
fn network(kind: &Kind, random: &mut Random) -> (Graph, usize) {
    let outputs = 8 + 8 * random.below(3);
    let rank = kind.shape.len() - 2;
    let size: usize = [3, 3, 5, 7][random.below(4)];
    let taps = size.pow(rank as u32);
    let smooth = random.uniform();
    let mut weights = Vec::new();
    for _ in 0..outputs {
        let brightness = random.normal() * 0.6;
        for _ in 0..kind.channels() {
            let dims = vec![size; rank];
            let kernel = response::field(&dims, f64::from(smooth) * 0.8, random);
            let mean = kernel.iter().sum::<f32>() / taps as f32;
            weights.extend(kernel.iter().map(|w| (w - mean + brightness * 0.3) * 0.1));
        }
    }
    let (stride, padding) = (1 + random.below(2), if random.below(2) == 0 { size / 2 } else { 0 });
    let attributes = Attributes::default().sizes("strides", &vec![stride; rank]).sizes("pads", &vec![padding; 2 * rank]);
    let shape: Vec<usize> = [vec![outputs, kind.channels()], vec![size; rank]].concat();
    let sketch = Sketch::new(kind.shape);
    let last = kind.shape.len() == 4 && kind.shape[3] == 1;
    let sketch = if last { sketch.node("t", "Transpose", "x", Attributes::default().ints("perm", &[0, 3, 1, 2])) } else { sketch };
    let sketch = sketch.constant("w", TensorData::new(&shape, weights)).node("c", "Conv", if last { "t w" } else { "x w" }, attributes);
    (sketch.norm("n", "c", outputs).plain("y", "Relu", "n").outputs("y"), outputs)
}

/// The input as it is found behind statistics that `samples` samples give, which are as noisy as running statistics are.
fn found(kind: &Kind, seed: u64) -> Input {
    let mut random = Random::new(seed, 7);
    let (graph, outputs) = network(kind, &mut random);
    let value = graph.find_value("c").unwrap();
    let set = (0.12 * random.normal(), 0.8 + 0.4 * random.uniform());
    let elements = (0..24).flat_map(|_| kind.sample(set, &mut random)).collect();
    let samples = crate::calibration::Samples::new("x", kind.shape.to_vec(), elements).unwrap();
    let data = crate::calibration::CalibrationSet { inputs: vec![samples], provenance: Default::default() };
    let execution = execution::Config::default();
    let mut sums = execution::tape::ChannelSums::new(outputs);
    let mut add = |_: usize, values: &[&[f32]]| sums.add_sample(values[0], &mut vec![0.0; 2 * outputs], execution.isa);
    execution::observe(&graph, &[value], &data, &execution, &mut add).unwrap();
    let mut stored = |(mean, variance): (f64, f64)| Gaussian {
        mean: mean + 0.03 * f64::from(random.normal()) * variance.sqrt(),
        variance: variance * (0.05 * f64::from(random.normal())).exp(),
    };
    let site = Site { value, stored: sums.moments().map(&mut stored).collect(), epsilon: 0.0 };
    let mut inputs = vec![Input::new("x", kind.shape.to_vec(), PixelRange::uniform("unknown", 0.0, 1.0))];
    find_ranges(&graph, &[site], &mut inputs, &[0], &config(), &Silent).unwrap();
    inputs.remove(0)
}

fn config() -> Config {
    Config {
        samples: 2,
        batch: 2,
        steps: 0,
        sufficient: None,
        seed: 0,
        input_range: InputRange::default(),
        method: Method::default(),
        execution: execution::Config::default(),
    }
}

/// Statistics of `value` in `graph`, whose inputs hold normal numbers of these means and deviations.
fn site_of(graph: &Graph, value: &str, spreads: &[(f32, f32)], channels: usize) -> Site {
    let value = graph.find_value(value).unwrap();
    let mut data = noise(graph, 64);
    for (samples, (mean, deviation)) in data.inputs.iter_mut().zip(spreads) {
        let elements = (0..samples.elements.len()).flat_map(|at| samples.sample(at).unwrap().into_owned());
        let elements = elements.map(|x| mean + deviation * x).collect();
        *samples = crate::calibration::Samples::new(&samples.name, samples.shape.clone(), elements).unwrap();
    }
    let execution = execution::Config::default();
    let mut sums = execution::tape::ChannelSums::new(channels);
    let mut add = |_: usize, values: &[&[f32]]| sums.add_sample(values[0], &mut vec![0.0; 2 * channels], execution.isa);
    execution::observe(graph, &[value], &data, &execution, &mut add).unwrap();
    Site { value, stored: sums.moments().map(|(mean, variance)| Gaussian { mean, variance }).collect(), epsilon: 0.0 }
}

fn unknown(graph: &Graph) -> Vec<Input> {
    let input = |id: &crate::graph::ValueId| {
        let value = graph.value(*id);
        let shape = value.shape.as_deref().and_then(crate::graph::known_shape).unwrap();
        Input::new(&value.name, shape, PixelRange::uniform("unknown", 0.0, 1.0))
    };
    graph.inputs.iter().map(input).collect()
}

#[test]
fn every_input_has_a_range_of_its_own() {
    let sketch = Sketch::new(&[1, 5, 12]).input("z", &[1, 4, 9]);
    let sketch = sketch.weights("v", &[16, 5, 3], 0.3).node("a", "Conv", "x v", Attributes::default()).norm("n", "a", 16);
    let sketch = sketch.weights("w", &[16, 4, 3], 0.3).node("b", "Conv", "z w", Attributes::default()).norm("m", "b", 16);
    let graph = sketch.outputs("n m");
    let spreads = [(40.0, 3.0), (-0.5, 0.02)];
    let sites = [site_of(&graph, "a", &spreads, 16), site_of(&graph, "b", &spreads, 16)];
    let mut inputs = unknown(&graph);
    find_ranges(&graph, &sites, &mut inputs, &[0, 1], &config(), &Silent).unwrap();
    for (input, (mean, deviation)) in inputs.iter().zip(spreads) {
        let (found, spread) = input.finding.spread.unwrap();
        let (mean, deviation) = (f64::from(mean), f64::from(deviation));
        assert_eq!(input.finding.certainty, Certainty::Estimated);
        assert!((found - mean).abs() < deviation && (0.5..2.0).contains(&(spread / deviation)), "{}: {found} {spread}", input.name);
    }
}

#[test]
fn what_is_not_linear_is_said_to_be_a_guess() {
    let deep = Sketch::new(&[1, 3, 8, 8]).conv("c", "x", (3, 8), 3, 1).plain("r", "Relu", "c").conv("d", "r", (8, 8), 3, 1);
    let deep = deep.norm("y", "d", 8).outputs("y");
    let both = Sketch::new(&[1, 3, 8, 8]).input("z", &[1, 3, 8, 8]).plain("s", "Add", "x z").conv("d", "s", (3, 8), 3, 1);
    let both = both.norm("y", "d", 8).outputs("y");
    for graph in [deep, both] {
        let site = site_of(&graph, "d", &[(0.0, 1.0), (0.0, 1.0)], 8);
        let mut inputs = unknown(&graph);
        let open: Vec<usize> = (0..inputs.len()).collect();
        find_ranges(&graph, &[site], &mut inputs, &open, &config(), &Silent).unwrap();
        for input in &inputs {
            assert_eq!(input.finding.certainty, Certainty::Deep);
            assert!(doubt(input).unwrap().contains("is a guess"));
        }
    }
}

#[test]
fn channels_of_unlike_size_are_told_apart() {
    let sketch = Sketch::new(&[1, 3, 40]).weights("w", &[24, 3, 3], 0.3).node("a", "Conv", "x w", Attributes::default());
    let graph = sketch.norm("y", "a", 24).outputs("y");
    let value = graph.find_value("a").unwrap();
    let mut site = site_of(&graph, "a", &[(0.0, 1.0)], 24);
    // Variances of independent channels add up: channel 1 is ten times as wide as the others.
    let weights = graph.constant(graph.find_value("w").unwrap()).unwrap().to_f32().unwrap();
    for (output, stored) in site.stored.iter_mut().enumerate() {
        let power = |channel: usize| weights[(output * 3 + channel) * 3..][..3].iter().map(|w| f64::from(w * w)).sum::<f64>();
        *stored = Gaussian { mean: 0.0, variance: power(0) + 100.0 * power(1) + power(2) };
    }
    assert_eq!(site.value, value);
    let mut inputs = unknown(&graph);
    find_ranges(&graph, &[site], &mut inputs, &[0], &config(), &Silent).unwrap();
    let widths: Vec<f32> = inputs[0].range.channels.iter().map(|(low, high)| high - low).collect();
    assert!(widths[1] > 4.0 * widths[0] && widths[1] > 4.0 * widths[2], "{widths:?}");
}

#[test]
fn ranges_are_right_or_said_to_be_unsure() {
    let (mut right, mut decidable, mut silently_wrong, mut cut) = (0, 0, Vec::new(), Vec::new());
    let each = 17;
    for kind in &KINDS {
        for seed in 0..each {
            let input = found(kind, seed);
            let (low, high) = input.range.hull();
            let is_right = kind.right == Some(input.range.name.as_str());
            if input.finding.certainty.is_sure() && !is_right {
                silently_wrong.push(format!("{} {seed}: {} {:?}", kind.name, input.range.name, input.finding));
            }
            decidable += usize::from(kind.right.is_some());
            right += usize::from(is_right);
            let (least, most) = kind.ends.iter().fold((f32::MAX, f32::MIN), |(low, high), (a, b)| (low.min(*a), high.max(*b)));
            let width = most - least;
            if least < low - 0.05 * width || most > high + 0.05 * width {
                cut.push(format!("{} {seed}: {low} to {high}", kind.name));
            }
        }
    }
    let all = KINDS.len() as u64 * each;
    eprintln!(
        "{right} of {decidable} right; silently wrong {} of {all}: {silently_wrong:#?}\ncut: {} {cut:#?}",
        silently_wrong.len(),
        cut.len()
    );
    assert!(silently_wrong.len() as f64 <= 0.01 * all as f64, "{silently_wrong:#?}");
    assert!(right as f64 >= 0.9 * decidable as f64, "{right} of {decidable}");
    assert!(cut.len() as f64 <= 0.02 * all as f64, "{cut:#?}");
}
