//! Distillation on a small network.

use super::parameters::Parameters;
use super::*;
use crate::calibration::{calibrate, observers};
use crate::checkpoint::tests::check_resuming;
use crate::emit::insert;
use crate::execution::tests::all_devices;
use crate::graph::ValueId;
use crate::graph::sketch::{Sketch, noise};
use crate::passes::{prepare, simplify};
use crate::progress::Silent;
use crate::quantization::{Assignment, Width, Widths, targets};
use crate::synthesis::input_range::PixelRange;
use crate::tensor::TensorData;

/// Teacher and student; `shrink` spoils the student's scales.
fn pair(shrink: f32) -> (Graph, Graph, Student) {
    narrow_pair(shrink, &Widths::INT8)
}

fn narrow_pair(shrink: f32, widths: &Widths) -> (Graph, Graph, Student) {
    let mut teacher = Sketch::residual();
    simplify(&mut teacher).unwrap();
    prepare(&mut teacher).unwrap();
    let plan = Assignment::uniform(&teacher, widths).plan(&teacher, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
    let observer = observers::find("min-max").unwrap();
    let config = execution::Config::default();
    let mut ranges = calibrate(&teacher, &plan, &noise(&teacher, 16), observer.as_ref(), &config, &Silent).unwrap();
    ranges.0.iter_mut().for_each(|params| params.scale[0] *= shrink);
    let mut graph = teacher.clone();
    let student = insert(&mut graph, &plan, &ranges).unwrap();
    (teacher, graph, student)
}

fn run(shrink: f32, rates: Rates) -> (Graph, Graph, Student, Summary) {
    let (teacher, mut graph, student) = pair(shrink);
    let set = noise(&teacher, 48);
    let range = PixelRange::uniform("noise", -4.0, 4.0);
    let inputs = [Input::new("x", set.inputs[0].shape.clone(), range)];
    let before = graph.clone();
    let config = Config { steps: Steps::Exactly(40), batch: 8, mixup: 0.5, rates, ..Config::default() };
    let summary =
        distill(Lesson { teacher: &teacher, student: &student, set: &set, inputs: &inputs }, &mut graph, &config, &Silent).unwrap();
    (before, graph, student, summary)
}

#[test]
fn a_spoiled_student_recovers() {
    let (before, after, student, summary) = run(0.6, Rates { weight: 0.05, scale: 0.01, ..Rates::USUAL });
    assert!(summary.loss_after < 0.8 * summary.loss_before, "{summary:?}");
    let moved = |value: ValueId| before.constant(value) != after.constant(value);
    assert!(student.weights.iter().all(|weight| moved(weight.value) && moved(weight.scale)));
    assert!(student.activations.iter().all(|activation| moved(activation.scale)));
    assert!(student.biases.iter().all(|bias| moved(bias.value)));
}

#[test]
fn a_state_that_tuning_only_harms_is_kept() {
    let (before, after, student, summary) = run(1.0, Rates { weight: 50.0, bias: 5.0, scale: 0.5, ..Rates::USUAL });
    assert_eq!((summary.kept_step, summary.loss_after), (0, summary.loss_before));
    let same = |value: ValueId| before.constant(value) == after.constant(value);
    assert!(Parameters::values(&student).into_iter().all(same));
}

#[test]
fn a_student_that_is_hardly_disturbed_is_tuned_for_fewer_steps() {
    let steps = Steps::Between { least: 150, most: 600 };
    assert_eq!([0.2, 0.02, 0.01, 0.001].map(|loss| steps.after(loss)), [600, 600, 300, 150]);
    assert_eq!(Steps::Exactly(7).after(0.001), 7);
}

#[test]
fn a_softened_student_that_has_chosen_computes_what_it_did() {
    let widths = Widths { weights: Width::Four, activations: Width::Four, all_layers: true };
    let (teacher, graph, student) = narrow_pair(1.0, &widths);
    let mut soft = graph.clone();
    let softened = soften::soften(&mut soft, &student).unwrap();
    soften::insert_drops(&mut soft, &student).unwrap();
    for weight in &softened.weights {
        let tensor = soft.constant(weight.value).unwrap().clone();
        let chosen = tensor.to_f32().unwrap().iter().map(|v| 10.0 * v.signum()).collect();
        soft.set_constant(weight.value, crate::tensor::TensorData::new(tensor.shape(), chosen));
    }
    let set = noise(&teacher, 4);
    let run = |graph: &Graph| execution::evaluate(graph, &graph.outputs, &set, &execution::Config::default()).unwrap();
    for (a, b) in run(&graph)[0].iter().zip(run(&soft)[0].iter()) {
        assert!((a - b).abs() < 1e-5, "{a} became {b}");
    }
}

#[test]
fn reconstruction_chooses_levels_that_serve_the_outputs() {
    let widths = Widths { weights: Width::Four, activations: Width::Eight, all_layers: true };
    let (teacher, mut graph, student) = narrow_pair(1.0, &widths);
    let set = noise(&teacher, 64);
    let inputs = [Input::new("x", set.inputs[0].shape.clone(), PixelRange::uniform("noise", -4.0, 4.0))];
    let execution = execution::Config::default();
    let config = Config { steps: Steps::Exactly(60), rates: Rates { rounding: 0.1, ..Rates::USUAL }, ..Config::default() };
    let error = |graph: &Graph| {
        let run = |graph: &Graph| execution::evaluate(graph, &graph.outputs, &set, &execution).unwrap().swap_remove(0);
        run(&teacher).iter().zip(run(graph).iter()).map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
    };
    let before = error(&graph);
    let lesson = Lesson { teacher: &teacher, student: &student, set: &set, inputs: &inputs };
    assert!(reconstruct(lesson, &mut graph, &config, &Silent).unwrap().better > 0);
    assert!(error(&graph) < 0.7 * before, "{before} became {}", error(&graph));
    // What is saved is what was learned: no weight is in doubt which level it has.
    let weight = &student.weights[0];
    let numbers = |value: ValueId| graph.constant(value).unwrap().to_f32().unwrap();
    let (elements, scales) = (numbers(weight.value), numbers(weight.scale));
    let inner = elements.len() / scales.len();
    let levels = elements.iter().enumerate().map(|(i, w)| w / scales[i / inner]);
    assert!(levels.clone().all(|level| (level - level.round()).abs() < 0.46 && (-8.0..=7.0).contains(&level.round())));
}

#[test]
fn what_was_interrupted_goes_on_to_the_same_student() {
    let widths = Widths { weights: Width::Four, activations: Width::Eight, all_layers: true };
    let (teacher, graph, student) = narrow_pair(1.0, &widths);
    let set = noise(&teacher, 32);
    let inputs = [Input::new("x", set.inputs[0].shape.clone(), PixelRange::uniform("noise", -4.0, 4.0))];
    let lesson = Lesson { teacher: &teacher, student: &student, set: &set, inputs: &inputs };
    for device in all_devices() {
        let execution = execution::Config { device, ..execution::Config::default() };
        let config = Config { steps: Steps::Exactly(7), mixup: 0.5, execution, ..Config::default() };
        check_resuming(5, |progress| {
            let mut graph = graph.clone();
            reconstruct(lesson, &mut graph, &config, progress)?;
            distill(lesson, &mut graph, &config, progress)?;
            let numbers = |value: ValueId| graph.constant(value).and_then(TensorData::to_f32);
            Ok(Parameters::values(&student).into_iter().map(numbers).collect::<Vec<_>>())
        });
    }
}

/// On tensors, with one device and with two, students become as good as on the tape.
#[cfg(feature = "candle")]
#[test]
fn tensors_bring_students_as_near_as_the_tape() {
    let widths = Widths { weights: Width::Four, activations: Width::Eight, all_layers: true };
    let (teacher, graph, student) = narrow_pair(1.0, &widths);
    let set = noise(&teacher, 48);
    let inputs = [Input::new("x", set.inputs[0].shape.clone(), PixelRange::uniform("noise", -4.0, 4.0))];
    let lesson = Lesson { teacher: &teacher, student: &student, set: &set, inputs: &inputs };
    for losses in [Losses::USUAL, Losses { outputs: OutputMeasure::Divergence, layers: LayerShares::Depth }] {
        let with = |device| {
            let execution = execution::Config { device, ..execution::Config::default() };
            let config = Config { steps: Steps::Exactly(30), mixup: 0.5, losses, execution, ..Config::default() };
            let mut graph = graph.clone();
            let reconstruction = reconstruct(lesson, &mut graph, &config, &Silent).unwrap();
            (reconstruction.better, distill(lesson, &mut graph, &config, &Silent).unwrap())
        };
        let (better, wanted) = with(execution::Device::Cpu);
        for device in execution::candle::tests::devices() {
            let (found_better, found) = with(device);
            assert_eq!(better, found_better);
            assert!((wanted.loss_before - found.loss_before).abs() < 0.05 * wanted.loss_before, "{wanted:?}, {found:?}");
            assert!((wanted.loss_after - found.loss_after).abs() < 0.1 * wanted.loss_after, "{wanted:?}, {found:?}");
        }
    }
}
