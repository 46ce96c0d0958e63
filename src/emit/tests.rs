//! From a plan to a sealed graph.

use super::{insert, round_to_float16, seal, to_float16, to_qoperator, verify};
use crate::calibration::{calibrate, observers};
use crate::execution::{self, evaluate};
use crate::graph::sketch::{Sketch, noise};
use crate::graph::{Graph, check};
use crate::ops::{DequantizeLinear, QuantizeLinear};
use crate::passes::{prepare, simplify};
use crate::progress::Silent;
use crate::quantization::{Assignment, QuantPlan, Width, Widths, targets};
use crate::tensor::{DataType, TensorData};

/// With the types of `widths`.
fn planned_for(target: &str, widths: &Widths) -> (Graph, QuantPlan) {
    let mut graph = Sketch::residual();
    simplify(&mut graph).unwrap();
    prepare(&mut graph).unwrap();
    let plan = Assignment::uniform(&graph, widths).plan(&graph, &targets::find(target).unwrap(), &[]).unwrap();
    (graph, plan)
}

fn planned(target: &str) -> (Graph, QuantPlan) {
    planned_for(target, &Widths::INT8)
}

/// Teacher, student before and after sealing.
fn quantized(target: &str) -> (Graph, Graph, Graph, QuantPlan) {
    quantized_to(target, &Widths::INT8)
}

fn quantized_to(target: &str, widths: &Widths) -> (Graph, Graph, Graph, QuantPlan) {
    let (teacher, plan) = planned_for(target, widths);
    let observer = observers::find("mse").unwrap();
    let config = execution::Config::default();
    let ranges = calibrate(&teacher, &plan, &noise(&teacher, 16), observer.as_ref(), &config, &Silent).unwrap();
    let mut open = teacher.clone();
    let student = insert(&mut open, &plan, &ranges).unwrap();
    let mut sealed = open.clone();
    seal(&mut sealed, &plan, &student).unwrap();
    (teacher, open, sealed, plan)
}

fn outputs(graph: &Graph) -> Vec<f32> {
    let found = evaluate(graph, &graph.outputs, &noise(graph, 16), &execution::Config::default()).unwrap();
    found[0].iter().copied().collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
    (square(&mut a.iter().zip(b).map(|(a, b)| a - b)) / square(&mut a.iter().copied())).sqrt()
}

#[test]
fn what_was_tuned_is_what_is_saved() {
    for target in targets::all().map(|target| target.name) {
        let (teacher, open, sealed, _) = quantized(target);
        let (teacher, open, sealed) = (outputs(&teacher), outputs(&open), outputs(&sealed));
        assert!(distance(&teacher, &open) < 0.05, "{target}: {}", distance(&teacher, &open));
        assert!(distance(&open, &sealed) < 2e-3, "{target}: {}", distance(&open, &sealed));
    }
}

#[test]
fn every_product_runs_on_integers_where_the_target_can() {
    for target in targets::all().map(|target| target.name) {
        let (_, _, sealed, plan) = quantized(target);
        let forecasts = verify(&sealed, &plan.target);
        assert_eq!(forecasts.len(), 3);
        assert!(forecasts.iter().all(|kernel| kernel.integer), "{target}: {forecasts:?}");
    }
}

#[test]
fn other_widths_are_saved_as_they_were_tuned_and_known_to_run_in_float() {
    let w8a16 = Widths { weights: Width::Eight, activations: Width::Sixteen, all_layers: false };
    let w4a8 = Widths { weights: Width::Four, activations: Width::Eight, all_layers: false };
    let w4a4 = Widths { activations: Width::Four, ..w4a8 };
    let all = Widths { all_layers: true, ..w4a4 };
    // Errors of the result, and which of the two convolutions and the linear head run on integers.
    let cases = [(w8a16, 0.01, [false; 3]), (w4a8, 0.1, [false, false, true]), (w4a4, 0.3, [false, false, true]), (all, 0.5, [false; 3])];
    for (widths, error, integer) in cases {
        for target in ["ort-cpu", "tensorrt"] {
            let (teacher, open, sealed, plan) = quantized_to(target, &widths);
            let forecasts = verify(&sealed, &plan.target);
            let (teacher, open, sealed) = (outputs(&teacher), outputs(&open), outputs(&sealed));
            assert!(distance(&teacher, &open) < error, "{target} {widths}: {}", distance(&teacher, &open));
            // A rounded bias may move a number to the next of few levels.
            let rounding = if widths.activations == Width::Four { 0.03 } else { 2e-3 };
            assert!(distance(&open, &sealed) < rounding, "{target} {widths}: {}", distance(&open, &sealed));
            if target == "ort-cpu" {
                assert_eq!(forecasts.iter().map(|kernel| kernel.integer).collect::<Vec<_>>(), integer, "{widths}: {forecasts:?}");
            }
        }
    }
}

#[test]
fn biases_beyond_int32_stay_float_behind_sixteen_bits_and_widen_their_weights_behind_eight() {
    for (activations, tensors) in [(Width::Eight, 3), (Width::Sixteen, 2)] {
        let (mut teacher, _) = planned("ort-cpu");
        let bias = teacher.find_value("g_b").unwrap();
        teacher.set_constant(bias, TensorData::vector(vec![1e5f32, 0.0, 0.0, 0.0]));
        let assignment = Assignment::uniform(&teacher, &Widths { activations, ..Widths::INT8 });
        let plan = assignment.plan(&teacher, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
        let observer = observers::find("mse").unwrap();
        let config = execution::Config::default();
        let ranges = calibrate(&teacher, &plan, &noise(&teacher, 16), observer.as_ref(), &config, &Silent).unwrap();
        let student = insert(&mut teacher, &plan, &ranges).unwrap();
        seal(&mut teacher, &plan, &student).unwrap();
        let integers = teacher.nodes().filter_map(|(_, node)| node.input(0).filter(|_| node.is::<DequantizeLinear>().is_some()));
        let biases = integers.filter(|value| teacher.constant(*value).is_some_and(|tensor| tensor.data_type() == DataType::I32));
        assert_eq!(biases.count(), tensors);
    }
}

#[test]
fn weights_are_symmetric_integers_and_biases_follow_their_scales() {
    let (_, _, sealed, plan) = quantized("ort-cpu");
    check(&sealed).unwrap();
    let dequantized = sealed.nodes().filter(|(_, node)| node.is::<DequantizeLinear>().is_some());
    let constants: Vec<&TensorData> = dequantized.filter_map(|(_, node)| sealed.constant(node.input(0)?)).collect();
    let of = |data_type| constants.iter().filter(|tensor| tensor.data_type() == data_type).count();
    assert_eq!((of(DataType::I8), of(DataType::I32), plan.weights.len()), (3, 3, 3));
    for weights in constants.iter().filter(|tensor| tensor.data_type() == DataType::I8) {
        let largest = weights.to_i64().unwrap().into_iter().map(i64::abs).max();
        assert!((1..=127).contains(&largest.unwrap()));
    }
    for (_, conv) in sealed.nodes().filter(|(_, node)| matches!(node.operator.name(), "Conv" | "Gemm")) {
        let scales = |index: usize| {
            let (_, node) = sealed.producer(conv.input(index).unwrap()).unwrap();
            sealed.constant(node.input(1).unwrap()).unwrap().to_f32().unwrap()
        };
        let (x, weight, bias) = (scales(0), scales(1), scales(2));
        assert!(bias.iter().zip(&weight).all(|(bias, weight)| (bias / (x[0] * weight) - 1.0).abs() < 1e-6));
    }
}

#[test]
fn a_target_says_how_large_weights_get_and_which_have_one_scale_per_channel() {
    let scales = |target: &str| {
        let (_, _, sealed, _) = quantized(target);
        let dequantized = sealed.nodes().filter(|(_, node)| node.is::<DequantizeLinear>().is_some());
        let weights = dequantized.filter_map(|(_, node)| Some((sealed.constant(node.input(0)?)?, sealed.constant(node.input(1)?)?)));
        let of_eight = weights.filter(|(integers, _)| integers.data_type() == DataType::I8);
        let found = of_eight.map(|(integers, scale)| (integers.to_i64().unwrap().into_iter().map(i64::abs).max().unwrap(), scale.len()));
        found.collect::<Vec<_>>()
    };
    assert_eq!(scales("ort-cpu"), [(127, 8), (127, 8), (127, 4)]);
    assert_eq!(scales("ort-cpu-avx2"), [(64, 8), (64, 8), (64, 4)]);
    assert_eq!(scales("qnn"), [(127, 8), (127, 8), (127, 1)]);
}

#[test]
fn pairs_around_products_become_integer_operators() {
    let (_, _, mut sealed, plan) = quantized("tract");
    let mut kernels = verify(&sealed, &plan.target);
    to_qoperator(&mut sealed, &mut kernels).unwrap();
    let names: Vec<&str> = sealed.nodes().map(|(_, node)| node.operator.name()).filter(|name| *name != "DequantizeLinear").collect();
    let head = "GlobalAveragePool QuantizeLinear Flatten MatMulInteger Add Cast Mul";
    assert_eq!(names.join(" "), format!("QuantizeLinear QLinearConv QLinearConv Add Relu QuantizeLinear {head}"));
    assert!(kernels.iter().all(|kernel| kernel.integer));
    assert!(sealed.nodes().all(|(_, node)| node.operator.name() != "QLinearConv" || node.inputs.len() == 9));
}

#[test]
fn zero_points_are_shared_and_a_small_network_gets_short_names() {
    let (_, _, sealed, _) = quantized("ort-cpu");
    let pairs = sealed.nodes().filter(|(_, node)| node.is::<QuantizeLinear>().is_some() || node.is::<DequantizeLinear>().is_some());
    let zeros: std::collections::BTreeSet<&str> = pairs.filter_map(|(_, node)| Some(sealed.value(node.input(2)?).name.as_str())).collect();
    assert!(zeros.iter().all(|name| name.starts_with('z') && name.len() <= 3), "{zeros:?}");
    // u8 zero points of Relu outputs, of the others, int8 and int32 by length.
    assert!(zeros.len() <= 8, "{zeros:?}");
}

#[test]
fn float16_keeps_the_interface_and_the_function() {
    let (teacher, _) = planned("ort-cpu");
    let mut half = teacher.clone();
    let report = to_float16(&mut half, true, &std::collections::HashMap::new()).unwrap();
    assert_eq!((report.clamped, report.kept.len()), (0, 0));
    assert_eq!(half.value(half.inputs[0]).data_type, Some(DataType::F32));
    assert_eq!(half.value(half.outputs[0]).data_type, Some(DataType::F32));
    let products = half.nodes().filter(|(_, node)| matches!(node.operator.name(), "Conv" | "Gemm"));
    let types: Vec<DataType> = products.map(|(_, node)| half.constant(node.input(1).unwrap()).unwrap().data_type()).collect();
    assert_eq!(types, [DataType::F16; 3]);
    assert!(distance(&outputs(&teacher), &outputs(&half)) < 2e-3);
}

#[test]
fn weights_rounded_together_to_float16_disturb_less_than_one_by_one() {
    let (teacher, _) = planned("ort-cpu");
    let convert = |graph: &mut Graph| to_float16(graph, true, &std::collections::HashMap::new()).unwrap();
    let mut together = teacher.clone();
    let rounded = round_to_float16(&mut together, &noise(&teacher, 16), 1024, &execution::Config::default(), &Silent);
    assert_eq!(rounded.unwrap(), 3);
    let products = together.nodes().filter(|(_, node)| matches!(node.operator.name(), "Conv" | "Gemm"));
    let weights = products.flat_map(|(_, node)| together.constant(node.input(1).unwrap()).unwrap().to_f32().unwrap());
    assert!(weights.into_iter().all(|x| half::f16::from_f32(x).to_f32() == x));
    let mut alone = together.clone();
    convert(&mut alone);
    assert!(distance(&outputs(&together), &outputs(&alone)) < 1e-6, "float16 holds the rounded weights exactly");
    let mut nearest = teacher.clone();
    convert(&mut nearest);
    let (teacher, together, nearest) = (outputs(&teacher), outputs(&alone), outputs(&nearest));
    assert!(distance(&teacher, &together) < 0.7 * distance(&teacher, &nearest));
}

/// A convolution, one that doubles the size, and another, for `target`: as it was, and sealed.
fn up_sampled(target: &str, group: usize) -> (Graph, Graph, Vec<crate::quantization::KernelForecast>) {
    let stride = crate::ops::Attributes::default().sizes("strides", &[2, 2]).int("group", group as i64);
    let sketch = Sketch::new(&[1, 3, 6, 6]).conv("a", "x", (3, 8), 3, 1).plain("r", "Relu", "a");
    let sketch =
        sketch.weights("t_w", &[8, 6 / group, 2, 2], 0.3).weights("t_b", &[6], 0.2).node("t", "ConvTranspose", "r t_w t_b", stride);
    let teacher = sketch.plain("s", "Relu", "t").conv("y", "s", (6, 4), 1, 1).outputs("y");
    let plan = Assignment::uniform(&teacher, &Widths::INT8).plan(&teacher, &targets::find(target).unwrap(), &[]).unwrap();
    let (observer, config) = (observers::find("mse").unwrap(), execution::Config::default());
    let ranges = calibrate(&teacher, &plan, &noise(&teacher, 16), observer.as_ref(), &config, &Silent).unwrap();
    let mut sealed = teacher.clone();
    let student = insert(&mut sealed, &plan, &ranges).unwrap();
    assert_eq!(student.biases.len(), 1);
    seal(&mut sealed, &plan, &student).unwrap();
    let kernels = verify(&sealed, &plan.target);
    (teacher, sealed, kernels)
}

#[test]
fn a_transposed_convolution_is_sealed_with_scales_of_its_outputs() {
    for (target, group, scales, bias) in
        [("qnn", 1, 6, DataType::I32), ("qnn", 2, 1, DataType::I32), ("tensorrt", 1, 6, DataType::F32), ("ort-cpu", 1, 6, DataType::F32)]
    {
        let (teacher, sealed, kernels) = up_sampled(target, group);
        assert!(distance(&outputs(&teacher), &outputs(&sealed)) < 0.05, "{target}");
        let node = sealed.nodes().find(|(_, node)| node.operator.name() == "ConvTranspose").unwrap().1;
        let forecast = kernels.iter().find(|kernel| kernel.operator == "ConvTranspose").unwrap();
        assert_eq!(forecast.integer, target != "ort-cpu", "{target}: {:?}", forecast.reason);
        let made = |index: usize| sealed.producer(node.input(index).unwrap()).map(|(_, node)| node);
        let weight = made(1).unwrap();
        assert_eq!(sealed.constant(weight.input(1).unwrap()).unwrap().len(), scales, "{target}");
        let integers = if forecast.integer { weight.input(0) } else { sealed.producer(weight.input(0).unwrap()).unwrap().1.input(0) };
        assert_eq!(sealed.constant(integers.unwrap()).unwrap().data_type(), DataType::I8);
        let numbers = made(2).map_or(node.input(2), |dequantizer| dequantizer.input(0)).unwrap();
        assert_eq!(sealed.constant(numbers).unwrap().data_type(), bias, "{target}");
    }
}

#[test]
fn weights_that_are_integers_already_stay_and_their_product_is_integer() {
    let integers = TensorData::new(&[8, 3, 3, 3], (0..216i32).map(|index| (index * 37 % 255 - 127) as i8).collect());
    let axis = crate::ops::Attributes::default().int("axis", 0);
    let sketch = Sketch::new(&[0, 3, 6, 6]).constant("w", integers.clone()).constant("s", TensorData::vector(vec![0.006f32; 8]));
    let sketch = sketch.constant("z", TensorData::vector(vec![0i8; 8])).node("d", "DequantizeLinear", "w s z", axis);
    let sketch = sketch.weights("b", &[8], 0.3).plain("c", "Conv", "x d b").norm("n", "c", 8).plain("r", "Relu", "n");
    let mut teacher = sketch.conv("y", "r", (8, 4), 3, 1).outputs("y");
    assert_eq!(prepare(&mut teacher).unwrap(), (1, 0));
    for target in ["ort-cpu", "qnn", "tensorrt", "tract"] {
        let plan = Assignment::uniform(&teacher, &Widths::INT8).plan(&teacher, &targets::find(target).unwrap(), &[]).unwrap();
        let (observer, config) = (observers::find("mse").unwrap(), execution::Config::default());
        let ranges = calibrate(&teacher, &plan, &noise(&teacher, 16), observer.as_ref(), &config, &Silent).unwrap();
        let mut sealed = teacher.clone();
        let student = insert(&mut sealed, &plan, &ranges).unwrap();
        assert_eq!((student.weights.len(), student.biases.len()), (1, 1));
        seal(&mut sealed, &plan, &student).unwrap();
        assert!(distance(&outputs(&teacher), &outputs(&sealed)) < 0.05, "{target}");
        let kept = sealed.value_ids().filter(|value| sealed.constant(*value) == Some(&integers) && !sealed.readers(*value).is_empty());
        assert_eq!(kept.count(), 1, "{target}");
        let mut kernels = verify(&sealed, &plan.target);
        if target == "tract" {
            to_qoperator(&mut sealed, &mut kernels).unwrap();
        }
        assert!(kernels.iter().all(|kernel| kernel.integer), "{target}: {kernels:?}");
    }
}
