//! A step of synthesis and a step of distillation.
//!
//!     cargo bench --bench steps [-- FILTER]
//!     cargo bench --bench steps -- --run synthesis|distillation NETWORK IMAGES STEPS    seconds of each step, as JSON
//!     cargo bench --bench steps -- --run-on cuda synthesis|distillation NETWORK IMAGES STEPS    the same on the first card
//!     cargo bench --bench steps -- --write NETWORK FILE                                 the network as ONNX
//!
//! NETWORK is a name of `networks`, `NAME@SIZE` for images of another size, or an ONNX file. Threads: `RAYON_NUM_THREADS`. Peak memory is the process's.

mod networks;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use zeroq::calibration::{calibrate, observers};
use zeroq::distillation::{self, Lesson, Steps, distill};
use zeroq::emit::insert;
use zeroq::execution::{self, Cards, Device};
use zeroq::graph::{Graph, sketch};
use zeroq::onnx::{Limits, Model, load, to_bytes};
use zeroq::passes::{prepare, simplify, single_sample};
use zeroq::progress::Progress;
use zeroq::quantization::{plan, targets};
use zeroq::synthesis::input::Input;
use zeroq::synthesis::input_range::{InputRange, PixelRange};
use zeroq::synthesis::method::Method;
use zeroq::synthesis::{self, synthesize};

const DISTILL_BATCH: usize = 16;

/// Notes when each step of the stage of that name was done.
struct Clock {
    stage: &'static str,
    current: Mutex<String>,
    times: Mutex<Vec<Instant>>,
}

impl Clock {
    fn new(stage: &'static str) -> Self {
        Clock { stage, current: Mutex::default(), times: Mutex::default() }
    }

    /// Duration of each step but the first, which also pays for what happens once.
    fn durations(self) -> Vec<Duration> {
        let times = self.times.into_inner().unwrap();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

impl Progress for Clock {
    fn begin(&self, stage: &str, _: usize) {
        *self.current.lock().unwrap() = stage.to_string();
    }

    fn step(&self, _: &str) {
        if *self.current.lock().unwrap() == self.stage {
            self.times.lock().unwrap().push(Instant::now());
        }
    }

    fn warn(&self, message: &str) {
        eprintln!("warning: {message}");
    }
}

fn synthesis_steps(graph: &Graph, images: usize, steps: usize, device: Device) -> Vec<Duration> {
    let clock = Clock::new("synthesize");
    let config = synthesis::Config {
        samples: images,
        batch: images,
        steps: steps + 1,
        sufficient: None,
        seed: 0,
        input_range: InputRange::given(PixelRange::imagenet()),
        method: Method::default(),
        execution: execution::Config { device, ..Default::default() },
    };
    synthesize(graph, &config, &clock).unwrap();
    clock.durations()
}

fn distillation_steps(graph: &Graph, images: usize, steps: usize, device: Device) -> Vec<Duration> {
    let mut teacher = graph.clone();
    prepare(&mut teacher).unwrap();
    let config = execution::Config::default();
    let target = targets::find("ort-cpu").unwrap();
    let plan = plan(&teacher, &target, &[]).unwrap();
    let set = sketch::noise(&teacher, images + 2);
    let clock = Clock::new("distill");
    let observer = observers::find("min-max").unwrap();
    let ranges = calibrate(&teacher, &plan, &set.slice(0..2), observer.as_ref(), &config, &clock).unwrap();
    let mut student_graph = teacher.clone();
    let student = insert(&mut student_graph, &plan, &ranges).unwrap();
    let shapes = single_sample(&teacher).unwrap();
    let inputs = shapes
        .inputs
        .iter()
        .zip(&set.inputs)
        .map(|(value, samples)| Input::new(&shapes.value(*value).name, samples.shape.clone(), PixelRange::imagenet()));
    let inputs: Vec<Input> = inputs.collect();
    let config = distillation::Config {
        steps: Steps::Exactly(steps + 1),
        batch: images,
        execution: execution::Config { device, ..config },
        ..Default::default()
    };
    let lesson = Lesson { teacher: &teacher, student: &student, set: &set, inputs: &inputs };
    distill(lesson, &mut student_graph, &config, &clock).unwrap();
    clock.durations()
}

/// The network of that name, or of the ONNX file.
fn network(name: &str) -> Graph {
    let mut graph = networks::draw(name).unwrap_or_else(|| load(name, &Limits::default()).unwrap().graph);
    simplify(&mut graph).unwrap();
    graph
}

fn steps_of(kind: &str, graph: &Graph, images: usize, steps: usize, device: Device) -> Vec<Duration> {
    match kind {
        "synthesis" => synthesis_steps(graph, images, steps, device),
        "distillation" => distillation_steps(graph, images, steps, device),
        other => panic!("no step is called {other}"),
    }
}

fn bench(criterion: &mut Criterion) {
    for kind in ["synthesis", "distillation"] {
        let mut group = criterion.benchmark_group(kind);
        group.sample_size(10).warm_up_time(Duration::from_millis(1));
        for networks::Network { name, images, .. } in networks::NETWORKS {
            let images = if kind == "synthesis" { images } else { DISTILL_BATCH };
            group.throughput(Throughput::Elements(images as u64));
            group.bench_with_input(BenchmarkId::from_parameter(format!("{name} x{images}")), name, |bencher, name| {
                let graph = network(name);
                bencher.iter_custom(|steps| steps_of(kind, &graph, images, steps as usize, Device::Cpu).into_iter().sum());
            });
        }
        group.finish();
    }
}

fn run(kind: &str, name: &str, images: &str, steps: &str, device: Device) {
    let found = steps_of(kind, &network(name), images.parse().unwrap(), steps.parse().unwrap(), device);
    let seconds: Vec<f64> = found.iter().map(Duration::as_secs_f64).collect();
    println!("{}", serde_json::to_string(&seconds).unwrap());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", kind, name, images, steps] => run(kind, name, images, steps, Device::Cpu),
        ["--run-on", "cuda", kind, name, images, steps] => run(kind, name, images, steps, Cards::new([0]).map(Device::Cuda).unwrap()),
        ["--run-on", "tensors", kind, name, images, steps] => run(kind, name, images, steps, Device::Tensors(1)),
        ["--write", name, file] => std::fs::write(file, to_bytes(&Model::from_graph(network(name))).unwrap()).unwrap(),
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            bench(&mut criterion);
            criterion.final_summary();
        }
    }
}
