//! Random convolutional networks: what we compute is what ONNX Runtime and tract compute, before and after every pass; and a
//! quantized network is the same to us and to ONNX Runtime, and near to what it was made of.
//!
//! 1500 of them were tried once; a run draws the first 64.
//!
//! Needs `ORT_DYLIB_PATH`, the shared library of ONNX Runtime; `make test` provides it.

use ndarray::ArrayD;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use zeroq::calibration::{CalibrationSet, calibrate, observers};
use zeroq::emit::{insert, seal};
use zeroq::evaluation::{Engine, OnnxRuntime, Own, Subject, Tract};
use zeroq::execution::Config;
use zeroq::graph::Graph;
use zeroq::graph::sketch::{Sketch, noise};
use zeroq::onnx::{Model, to_bytes};
use zeroq::ops::Attributes;
use zeroq::passes::{eliminate_identities, fold_batch_norm, fold_constants, infer_shapes, merge_pad, replace_reduce_mean};
use zeroq::passes::{prepare, simplify, single_sample};
use zeroq::progress::Silent;
use zeroq::quantization::{plan, targets};
use zeroq::tensor::TensorData;

const NETWORKS: u32 = 64;

/// One step of building a network: what is done, and numbers that say how.
#[derive(Clone, Debug)]
struct Move {
    kind: u8,
    from: u8,
    size: u8,
    way: u8,
}

const KINDS: u8 = 16;

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = (0..KINDS, any::<u8>(), any::<u8>(), any::<u8>());
    prop::collection::vec(step.prop_map(|(kind, from, size, way)| Move { kind, from, size, way }), 1..10)
}

/// A value of shape `[N, channels, height, width]`.
#[derive(Clone, Debug)]
struct Map {
    name: String,
    channels: usize,
    height: usize,
    width: usize,
    /// Whether a Pad gives it: ONNX Runtime merges that into a pool behind it, even where a maximum or the kernel forbids it.
    padded: bool,
}

/// A network in the making.
struct Builder {
    sketch: Option<Sketch>,
    maps: Vec<Map>,
    count: usize,
}

impl Builder {
    fn new() -> Self {
        let first = Map { name: "x".into(), channels: 3, height: 9, width: 8, padded: false };
        Builder { sketch: Some(Sketch::new(&[0, 3, 9, 8])), maps: vec![first], count: 0 }
    }

    fn draw(&mut self, work: impl FnOnce(Sketch) -> Sketch) {
        self.sketch = self.sketch.take().map(work);
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn node(&mut self, operator: &str, inputs: &str, attributes: Attributes) -> String {
        let name = self.fresh();
        self.draw(|sketch| sketch.node(&name, operator, inputs, attributes));
        name
    }

    fn weights(&mut self, shape: &[usize], scale: f32) -> String {
        let name = self.fresh();
        self.draw(|sketch| sketch.weights(&name, shape, scale));
        name
    }

    fn constant(&mut self, tensor: TensorData) -> String {
        let name = self.fresh();
        self.draw(|sketch| sketch.constant(&name, tensor));
        name
    }

    fn integers(&mut self, elements: &[i64]) -> String {
        self.constant(TensorData::vector(elements.to_vec()))
    }

    fn push(&mut self, name: String, like: &Map) {
        self.maps.push(Map { name, ..like.clone() });
    }

    /// `channels` of them; `way` says kernel, stride, groups, dilation and bias.
    fn conv(&mut self, map: &Map, channels: usize, way: u8) -> Map {
        let (kernel, stride) = ([1, 3, 3, 5][usize::from(way % 4)], 1 + usize::from(way / 4 % 4 == 3 && map.height > 4 && map.width > 4));
        let groups = if (way / 16).is_multiple_of(3) && channels.is_multiple_of(map.channels) { map.channels } else { 1 };
        let dilation = 1 + usize::from(way / 48 % 3 == 2 && kernel == 3);
        let inner = map.channels / groups;
        let weight = self.weights(&[channels, inner, kernel, kernel], (2.0 / (inner * kernel * kernel) as f32).sqrt());
        let bias = if way.is_multiple_of(5) { self.weights(&[channels], 0.2) } else { String::new() };
        let pad = dilation * (kernel / 2);
        let attributes = Attributes::default().sizes("pads", &[pad; 4]).sizes("strides", &[stride; 2]).sizes("dilations", &[dilation; 2]);
        let name = self.node("Conv", &format!("{} {weight} {bias}", map.name), attributes.int("group", groups as i64));
        let size = |n: usize| (n - 1) / stride + 1;
        Map { name, channels, height: size(map.height), width: size(map.width), padded: false }
    }

    fn activation(&mut self, map: &Map, way: u8) -> String {
        let plain = ["Relu", "Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Softplus", "Elu", "LeakyRelu", "Abs"];
        match usize::from(way) % (plain.len() + 2) {
            10 => {
                let (low, high) = (self.constant(TensorData::scalar(0.0f32)), self.constant(TensorData::scalar(1.5f32)));
                self.node("Clip", &format!("{} {low} {high}", map.name), Attributes::default())
            }
            11 => {
                let slope = self.weights(&[map.channels, 1, 1], 0.3);
                self.node("PRelu", &format!("{} {slope}", map.name), Attributes::default())
            }
            index => self.node(plain[index], &map.name, Attributes::default()),
        }
    }

    fn pool(&mut self, map: &Map, way: u8) -> Map {
        let operator = if way.is_multiple_of(2) { "MaxPool" } else { "AveragePool" };
        let stride = 1 + usize::from(way / 2 % 2 == 1 && map.height > 3 && map.width > 3);
        let attributes = Attributes::default().sizes("kernel_shape", &[3, 3]).sizes("pads", &[1; 4]).sizes("strides", &[stride; 2]);
        let attributes = if way % 8 == 7 { attributes.int("count_include_pad", 1) } else { attributes };
        let name = self.node(operator, &map.name, attributes);
        let size = |n: usize| (n - 1) / stride + 1;
        Map { name, height: size(map.height), width: size(map.width), padded: false, ..*map }
    }

    fn gate(&mut self, map: &Map) -> String {
        let mean = self.node("GlobalAveragePool", &map.name, Attributes::default());
        let pooled = Map { name: mean, height: 1, width: 1, ..*map };
        let narrow = self.conv(&pooled, 2, 0);
        let relu = Map { name: self.node("Relu", &narrow.name, Attributes::default()), ..narrow };
        let wide = self.conv(&relu, map.channels, 0);
        let gate = self.node("Sigmoid", &wide.name, Attributes::default());
        self.node("Mul", &format!("{} {gate}", map.name), Attributes::default())
    }

    /// The other half of the channels comes first, by way of a shape of rank 5.
    fn shuffle(&mut self, map: &Map) -> String {
        let sizes = [map.channels / 2, map.height, map.width].map(|n| n as i64);
        let apart = self.integers(&[0, 2, sizes[0], sizes[1], sizes[2]]);
        let apart = self.node("Reshape", &format!("{} {apart}", map.name), Attributes::default());
        let turned = self.node("Transpose", &apart, Attributes::default().sizes("perm", &[0, 2, 1, 3, 4]));
        let whole = self.integers(&[0, -1, sizes[1], sizes[2]]);
        self.node("Reshape", &format!("{turned} {whole}"), Attributes::default())
    }

    fn step(&mut self, Move { kind, from, size, way }: Move) {
        let map = self.maps[self.maps.len() - 1 - usize::from(from) % self.maps.len().min(3)].clone();
        let channels = 1 + usize::from(size) % 9;
        match kind {
            0..=2 => {
                let map = self.conv(&map, channels, way);
                self.maps.push(map);
            }
            3 | 4 => {
                let name = self.fresh();
                self.draw(|sketch| sketch.norm(&name, &map.name, map.channels));
                self.push(name, &map);
            }
            5 | 6 => {
                let name = self.activation(&map, way);
                self.push(name, &map);
            }
            7 => {
                let same = |other: &&Map| {
                    other.name != map.name && (other.channels, other.height, other.width) == (map.channels, map.height, map.width)
                };
                let other = self.maps.iter().find(same).unwrap_or(&map).name.clone();
                let operator = ["Add", "Add", "Sub", "Mul", "Max"][usize::from(way) % 5];
                let name = self.node(operator, &format!("{} {other}", map.name), Attributes::default());
                self.push(name, &map);
            }
            8 => {
                let fits = |other: &&Map| (other.height, other.width) == (map.height, map.width) && other.channels + map.channels < 24;
                let other = self.maps.iter().find(fits).unwrap_or(&map).clone();
                let name = self.node("Concat", &format!("{} {}", map.name, other.name), Attributes::default().int("axis", 1));
                self.maps.push(Map { name, channels: map.channels + other.channels, ..map });
            }
            9 if !map.padded => {
                let map = self.pool(&map, way);
                self.maps.push(map);
            }
            10 if map.height < 10 => {
                let scales = self.constant(TensorData::vector(vec![1.0f32, 1.0, 2.0, 2.0]));
                let attributes =
                    Attributes::default().string("coordinate_transformation_mode", "asymmetric").string("nearest_mode", "floor");
                let name = self.node("Resize", &format!("{} - {scales}", map.name), attributes);
                self.maps.push(Map { name, height: 2 * map.height, width: 2 * map.width, ..map });
            }
            11 => {
                let pads = self.integers(&[0, 0, 1, 0, 0, 0, i64::from(way % 3), 1]);
                let name = self.node("Pad", &format!("{} {pads}", map.name), Attributes::default());
                self.maps.push(Map { name, height: map.height + 1 + usize::from(way % 3), width: map.width + 1, padded: true, ..map });
            }
            12 => {
                let name = self.gate(&map);
                self.push(name, &map);
            }
            13 if map.channels.is_multiple_of(2) => {
                let name = self.shuffle(&map);
                self.push(name, &map);
            }
            14 if map.height < 10 => {
                let weight = self.weights(&[map.channels, channels, 2, 2], (1.0 / map.channels as f32).sqrt());
                let name = self.node("ConvTranspose", &format!("{} {weight}", map.name), Attributes::default().sizes("strides", &[2, 2]));
                self.maps.push(Map { name, channels, height: 2 * map.height, width: 2 * map.width, padded: false });
            }
            15 if map.channels > 1 => {
                let most = map.channels as i64;
                let [start, end, axis] = [[i64::from(way) % (most - 1)], [most], [1]].map(|number| self.integers(&number));
                let name = self.node("Slice", &format!("{} {start} {end} {axis}", map.name), Attributes::default());
                self.maps.push(Map { name, channels: map.channels - usize::from(way) % (map.channels - 1), ..map });
            }
            _ => {
                let name = self.node("Identity", &map.name, Attributes::default());
                self.push(name, &map);
            }
        }
    }

    /// A convolution, so that there is one, and a head; half of the networks give the last map too.
    fn finish(mut self, last: u8) -> Graph {
        let map = self.maps[self.maps.len() - 1].clone();
        let map = self.conv(&map, 6, last);
        let pooled = match last % 3 {
            0 => self.node("ReduceMean", &map.name, Attributes::default().sizes("axes", &[2, 3]).int("keepdims", 0)),
            _ => {
                let pooled = self.node("GlobalAveragePool", &map.name, Attributes::default());
                self.node("Flatten", &pooled, Attributes::default())
            }
        };
        let (weight, bias) = (self.weights(&[6, 4], 0.5), self.weights(&[4], 0.1));
        let scores = self.node("Gemm", &format!("{pooled} {weight} {bias}"), Attributes::default());
        let outputs = if last.is_multiple_of(2) { scores } else { format!("{scores} {}", map.name) };
        self.sketch.take().unwrap().outputs(&outputs)
    }
}

fn network((moves, last): (Vec<Move>, u8)) -> Graph {
    let mut builder = Builder::new();
    moves.into_iter().for_each(|step| builder.step(step));
    builder.finish(last)
}

/// The same networks in every run.
fn for_each_network(check: impl Fn(&Graph) -> Result<(), TestCaseError>) {
    let config = Runs { cases: NETWORKS, failure_persistence: None, max_shrink_iters: 200, ..Runs::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner.run(&(moves(), any::<u8>()), |drawn| check(&network(drawn))).unwrap();
}

fn own(graph: &Graph, set: &CalibrationSet) -> Vec<ArrayD<f32>> {
    let subject = Subject { label: "own", bytes: &[], path: None, graph };
    Own::new(&subject, &Config::default()).run(set).unwrap()
}

fn onnx_runtime(graph: &Graph, set: &CalibrationSet) -> Vec<ArrayD<f32>> {
    let bytes = to_bytes(&Model::from_graph(graph.clone())).unwrap();
    let subject = Subject { label: "file", bytes: &bytes, path: None, graph };
    OnnxRuntime::new(&subject).unwrap().run(set).unwrap()
}

/// Largest difference, as a part of the largest number.
fn distance(wanted: &[ArrayD<f32>], found: &[ArrayD<f32>]) -> f32 {
    let of = |(wanted, found): (&ArrayD<f32>, &ArrayD<f32>)| {
        assert_eq!(wanted.shape(), found.shape());
        let largest = wanted.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
        wanted.iter().zip(found).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
    };
    wanted.iter().zip(found).map(of).fold(0.0, f32::max)
}

/// Signal over noise of all outputs together, in decibels.
fn sqnr(wanted: &[ArrayD<f32>], found: &[ArrayD<f32>]) -> f64 {
    let pairs = || wanted.iter().flatten().zip(found.iter().flatten()).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (signal, noise) = (pairs().map(|(a, _)| a * a).sum::<f64>(), pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>());
    10.0 * (signal / noise.max(1e-12)).log10()
}

#[test]
fn three_engines_agree_before_and_after_every_pass() {
    type Pass = fn(&mut Graph) -> zeroq::Result<()>;
    let passes: [(&str, Pass); 7] = [
        ("fold_constants", fold_constants),
        ("infer_shapes", infer_shapes),
        ("eliminate_identities", eliminate_identities),
        ("merge_pad", merge_pad),
        ("fold_batch_norm", |graph| fold_batch_norm(graph).map(|_| ())),
        ("replace_reduce_mean", replace_reduce_mean),
        ("simplify and prepare", |graph| simplify(graph).and_then(|()| prepare(graph)).map(|_| ())),
    ];
    for_each_network(|graph| {
        let set = noise(graph, 2);
        let wanted = onnx_runtime(graph, &set);
        let bytes = to_bytes(&Model::from_graph(graph.clone())).unwrap();
        let subject = Subject { label: "tract", bytes: &bytes, path: None, graph };
        let tract =
            Tract::new(&subject, &set).and_then(|mut engine| engine.run(&set)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(distance(&wanted, &tract) <= 1e-4, "tract: {graph}");
        prop_assert!(distance(&wanted, &own(graph, &set)) <= 1e-4, "as drawn: {graph}");
        let mut graph = graph.clone();
        for (name, pass) in passes {
            pass(&mut graph).unwrap();
            zeroq::graph::check(&graph).unwrap();
            prop_assert!(distance(&wanted, &own(&graph, &set)) <= 1e-4, "after {name}: {graph}");
            prop_assert!(distance(&wanted, &onnx_runtime(&graph, &set)) <= 1e-4, "ONNX Runtime after {name}: {graph}");
        }
        Ok(())
    });
}

#[test]
fn quantized_networks_are_the_same_to_both_engines_and_near_to_the_original() {
    let target = targets::find("ort-cpu").unwrap();
    for_each_network(|graph| {
        let mut teacher = graph.clone();
        simplify(&mut teacher).unwrap();
        prepare(&mut teacher).unwrap();
        let set = noise(&teacher, 8);
        let plan = plan(&teacher, &target, &[]).unwrap();
        let observer = observers::find("min-max").unwrap();
        let ranges = calibrate(&teacher, &plan, &set, observer.as_ref(), &Config::default(), &Silent).unwrap();
        let mut student = teacher.clone();
        let tuned = insert(&mut student, &plan, &ranges).unwrap();
        seal(&mut student, &plan, &tuned).unwrap();
        let (wanted, ours, theirs) = (own(&teacher, &set), own(&student, &set), onnx_runtime(&student, &set));
        prop_assert!(sqnr(&ours, &theirs) > 30.0, "{} dB between the engines: {student}", sqnr(&ours, &theirs));
        prop_assert!(sqnr(&wanted, &theirs) > 12.0, "{} dB: {student}", sqnr(&wanted, &theirs));
        single_sample(&student).unwrap();
        Ok(())
    });
}
