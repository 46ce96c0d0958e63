//! Corrections on small networks.

use super::bias_correction::{add_biases, correct_biases, correct_biases_by_moments};
use super::*;
use crate::calibration::{Moments, Normal, calibrate, observers};
use crate::emit::{balance_weights, insert};
use crate::execution::evaluate;
use crate::graph::sketch::{Sketch, noise};
use crate::passes::{prepare, simplify};
use crate::progress::Silent;
use crate::quantization::{Assignment, Width, Widths, targets};
use crate::tensor::TensorData;

/// Teacher and student with 4-bit weights, and what the teacher's BatchNormalizations told.
fn pair(mut teacher: Graph) -> (Graph, Graph, Student, Moments) {
    simplify(&mut teacher).unwrap();
    let moments = Moments::of_batch_norms(&teacher);
    prepare(&mut teacher).unwrap();
    let widths = Widths { weights: Width::Four, activations: Width::Eight, all_layers: true };
    let plan = Assignment::uniform(&teacher, &widths).plan(&teacher, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
    let observer = observers::find("min-max").unwrap();
    let ranges = calibrate(&teacher, &plan, &noise(&teacher, 16), observer.as_ref(), &execution::Config::default(), &Silent).unwrap();
    let mut graph = teacher.clone();
    let student = insert(&mut graph, &plan, &ranges).unwrap();
    (teacher, graph, student, moments)
}

/// Largest mean error of a channel of the first output, as a part of the output's deviation, on `count` samples of noise.
fn mean_error(teacher: &Graph, graph: &Graph, count: usize) -> f64 {
    let set = noise(teacher, count);
    let run = |graph: &Graph| evaluate(graph, &graph.outputs, &set, &execution::Config::default()).unwrap().swap_remove(0);
    let (wanted, found) = (run(teacher), run(graph));
    let channels = wanted.shape()[1];
    let inner: usize = wanted.shape()[2..].iter().product();
    let (mut errors, mut square) = (vec![0.0f64; channels], 0.0f64);
    let elements = wanted.len() as f64;
    let part = channels as f64 / elements;
    for (index, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        errors[index / inner % channels] += part * f64::from(found - wanted);
        square += f64::from(wanted * wanted) / elements;
    }
    errors.into_iter().fold(0.0, |most, error| error.abs().max(most)) / square.sqrt()
}

#[test]
fn measured_mean_errors_vanish_and_the_teacher_stays() {
    let (teacher, mut graph, student, _) = pair(Sketch::residual());
    let untouched = teacher.clone();
    let before = mean_error(&teacher, &graph, 48);
    let config = execution::Config::default();
    let corrected = correct_biases(&teacher, &mut graph, &student, &noise(&teacher, 48), &config, &Silent).unwrap();
    assert_eq!((corrected.layers, corrected.left), (3, 0));
    crate::graph::check(&graph).unwrap();
    assert_eq!(teacher.to_string(), untouched.to_string());
    assert!(teacher.value_ids().all(|value| teacher.constant(value) == untouched.constant(value)));
    // The output's own quantizer, behind the last bias, leaves the mean of its rounding.
    let after = mean_error(&teacher, &graph, 48);
    assert!(after < 0.1 * before && after < 2e-3, "{before} became {after}");
}

#[test]
fn a_product_without_bias_gets_one() {
    let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 6), 3, 1).plain("r", "Relu", "a").conv("y", "r", (6, 4), 3, 1);
    let (teacher, mut graph, mut student, _) = pair(sketch.outputs("y"));
    assert!(student.biases.is_empty());
    add_biases(&mut graph, &mut student);
    let before = mean_error(&teacher, &graph, 32);
    let set = noise(&teacher, 32);
    correct_biases(&teacher, &mut graph, &student, &set, &execution::Config::default(), &Silent).unwrap();
    assert_eq!(student.biases.len(), 2);
    assert!(mean_error(&teacher, &graph, 32) < 0.2 * before);
}

#[test]
fn the_mean_error_of_weights_follows_from_batch_norm() {
    // 1×1 kernels pad nothing; the norms know the noise: what reads `n` sees what they say.
    let sketch = Sketch::new(&[0, 4, 16, 16]).norm("n", "x", 4).plain("r", "Relu", "n").weights("y_w", &[5, 4, 1, 1], 0.5);
    let mut teacher = sketch.plain("y", "Conv", "r y_w").outputs("y");
    for (name, number) in [("n_mean", 0.0f32), ("n_var", 1.0)] {
        teacher.set_constant(teacher.find_value(name).unwrap(), TensorData::vector(vec![number; 4]));
    }
    let (teacher, mut graph, mut student, moments) = pair(teacher);
    add_biases(&mut graph, &mut student);
    let before = mean_error(&teacher, &graph, 32);
    let corrected = correct_biases_by_moments(&teacher, &mut graph, &student, &moments.spread(&teacher)).unwrap();
    // Of what the norm itself reads, now a depthwise convolution, nothing is known.
    assert_eq!((corrected.layers, corrected.left), (1, 1));
    let after = mean_error(&teacher, &graph, 32);
    assert!(after < 0.5 * before, "{before} became {after}");
}

#[test]
fn balanced_weights_lose_less_where_inputs_have_a_mean() {
    let (teacher, graph, student, _) =
        pair(Sketch::new(&[0, 8, 8, 8]).plain("r", "Sigmoid", "x").conv("y", "r", (8, 16), 3, 1).outputs("y"));
    let mut balanced = graph.clone();
    balance_weights(&mut balanced, &student).unwrap();
    let weight = &student.weights[0];
    let ((nearest, _), (rounded, shape)) = (weight.levels(&graph).unwrap(), weight.levels(&balanced).unwrap());
    assert_eq!(shape, [16, 8, 3, 3]);
    let (mut plain, mut together) = (0.0f32, 0.0f32);
    for (levels, rounded) in nearest.chunks(72).zip(rounded.chunks(72)) {
        assert!(rounded.iter().all(|level| (level - level.round()).abs() < 0.4501 && (-8.0..=7.0).contains(&level.round())));
        plain += levels.iter().map(|level| level.round_ties_even().clamp(-8.0, 7.0) - level).sum::<f32>().powi(2);
        together += rounded.iter().zip(levels).map(|(a, b)| a.round() - b).sum::<f32>().powi(2);
    }
    assert!(together < 0.1 * plain, "{together} against {plain}");
    let set = noise(&teacher, 8);
    let run = |graph: &Graph| evaluate(graph, &graph.outputs, &set, &execution::Config::default()).unwrap().swap_remove(0);
    let wanted = run(&teacher);
    let error = |graph: &Graph| run(graph).iter().zip(&wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    assert!(error(&balanced) < 0.7 * error(&graph), "{} against {}", error(&balanced), error(&graph));
}

#[test]
fn moments_follow_channels_through_padding_and_scaling() {
    let graph = Sketch::new(&[0, 2, 4, 4]).norm("n", "x", 2).plain("y", "Relu", "n").outputs("y");
    let (n, y) = (graph.find_value("n").unwrap(), graph.find_value("y").unwrap());
    let mut moments = Moments::default();
    moments.set(n, vec![Normal { mean: 10.0, deviation: 1.0 }]);
    moments.scale(n, &[2.0]);
    moments.lower(n, &[5.0]);
    let spread = moments.spread(&graph);
    let found = spread.of(y).unwrap();
    assert!((found[0].mean - 15.0).abs() < 1e-6 && (found[0].deviation - 2.0).abs() < 1e-4 && found[1] == Normal::default());
}
