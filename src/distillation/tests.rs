//! Distillation on a small network.

use super::*;
use crate::calibration::{calibrate, observers};
use crate::emit::insert;
use crate::graph::sketch::{Sketch, noise};
use crate::passes::{prepare, simplify};
use crate::progress::Silent;
use crate::quantization::{plan, targets};
use crate::synthesis::input_range::PixelRange;

/// Teacher and student; `shrink` spoils the student's scales.
fn pair(shrink: f32) -> (Graph, Graph, Student) {
    let mut teacher = Sketch::residual();
    simplify(&mut teacher).unwrap();
    prepare(&mut teacher).unwrap();
    let plan = plan(&teacher, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
    let observer = observers::find("min-max").unwrap();
    let config = execution::Config::default();
    let mut ranges = calibrate(&teacher, &plan, &noise(&teacher, 16), observer.as_ref(), None, &config, &Silent).unwrap();
    ranges.0.iter_mut().for_each(|params| params.scale[0] *= shrink);
    let mut graph = teacher.clone();
    let student = insert(&mut graph, &plan, &ranges).unwrap();
    (teacher, graph, student)
}

fn run(shrink: f32, rates: Rates) -> (Graph, Graph, Student, Summary) {
    let (teacher, mut graph, student) = pair(shrink);
    let set = noise(&teacher, 48);
    let range = PixelRange::uniform("noise", -4.0, 4.0);
    let inputs = [Input { name: "x".into(), shape: set.inputs[0].shape.clone(), range }];
    let before = graph.clone();
    let config = Config { steps: Steps::Exactly(40), batch: 8, seed: 0, rates, execution: execution::Config::default() };
    let summary = distill(&teacher, &mut graph, &student, &set, &inputs, &config, &Silent).unwrap();
    (before, graph, student, summary)
}

#[test]
fn a_spoiled_student_recovers() {
    let (before, after, student, summary) = run(0.6, Rates { scale: 0.01, ..Rates::default() });
    assert!(summary.loss_after < 0.8 * summary.loss_before, "{summary:?}");
    let moved = |value: ValueId| before.constant(value) != after.constant(value);
    assert!(student.weights.iter().all(|weight| moved(weight.value) && moved(weight.scale)));
    assert!(student.activations.iter().all(|activation| moved(activation.scale)));
    assert!(student.biases.iter().all(|bias| moved(bias.value)));
}

#[test]
fn a_state_that_tuning_only_harms_is_kept() {
    let (before, after, student, summary) = run(1.0, Rates { weight: 50.0, bias: 5.0, scale: 0.5 });
    assert_eq!((summary.kept_step, summary.loss_after), (0, summary.loss_before));
    let same = |value: ValueId| before.constant(value) == after.constant(value);
    assert!(Parameters::values(&student).into_iter().all(same));
}

#[test]
fn a_student_that_is_hardly_disturbed_is_tuned_for_fewer_steps() {
    let steps = Steps::Between { least: 150, most: 600 };
    assert_eq!([0.2, 0.05, 0.025, 0.001].map(|loss| steps.after(loss)), [600, 600, 300, 150]);
    assert_eq!(Steps::Exactly(7).after(0.001), 7);
}
