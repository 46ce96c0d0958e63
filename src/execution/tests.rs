//! The tape as a whole: against finite differences, and against candle.

use std::collections::HashMap;

use super::tape::{Lane, Request, Tape};
use super::{Device, Tunable};
use crate::graph::sketch::{Sketch, noise};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::ops::Attributes;
use crate::passes::single_sample;
use crate::random::Random;

/// Every engine that this binary can test.
pub fn all_devices() -> Vec<Device> {
    #[cfg(feature = "candle")]
    let others = super::candle::tests::devices();
    #[cfg(not(feature = "candle"))]
    let others = Vec::new();
    [vec![Device::Cpu], others].concat()
}

/// A network with what backward passes stumble over: a value read thrice, a concatenation, strides, pools that overlap,
/// depthwise and grouped convolutions, gates, and pads that differ from side to side.
fn tangle() -> Graph {
    let conv = |pads: [usize; 4], strides: [usize; 2], group: i64| {
        Attributes::default().sizes("pads", &pads).sizes("strides", &strides).int("group", group)
    };
    let sketch = Sketch::new(&[1, 3, 9, 7]).weights("w1", &[8, 3, 3, 3], 0.3).weights("b1", &[8], 0.2);
    let sketch = sketch.node("c1", "Conv", "x w1 b1", conv([1, 0, 2, 1], [1, 1], 1)).plain("a1", "Sigmoid", "c1");
    let sketch = sketch.weights("w2", &[8, 1, 3, 3], 0.5).node("dw", "Conv", "a1 w2", conv([1, 1, 1, 1], [2, 2], 8));
    let sketch = sketch.weights("w3", &[4, 4, 1, 1], 0.5).node("gr", "Conv", "a1 w3", conv([0, 0, 0, 0], [2, 2], 2));
    let window = Attributes::default().sizes("kernel_shape", &[3, 3]).sizes("strides", &[2, 2]).sizes("pads", &[1, 1, 1, 1]);
    let sketch = sketch.node("pool", "AveragePool", "a1", window).plain("sum", "Add", "dw pool");
    let sketch = sketch.node("cat", "Concat", "sum gr", Attributes::default().int("axis", 1)).norm("n", "cat", 12);
    let sketch = sketch.plain("gate", "GlobalAveragePool", "n").plain("t", "Tanh", "gate").plain("m", "Mul", "n t");
    let sketch = sketch.plain("f", "Flatten", "m").weights("g", &[12 * 15, 5], 0.1).weights("gb", &[5], 0.1);
    sketch.plain("y", "Gemm", "f g gb").outputs("y")
}

/// Σ weight · value over the seeds, and its gradients with respect to the input (row-major) and the parameters.
fn evaluate(graph: &Graph, seeds: &[ValueId], parameters: &[ValueId], isa: Isa) -> (f64, Vec<f32>, HashMap<ValueId, Vec<f32>>) {
    let graph = single_sample(graph).unwrap();
    let request = Request { targets: &[], seeds, input_gradients: true, parameters, isa };
    let tape = Tape::compile(&graph, &request).unwrap();
    let mut lane = tape.lane();
    tape.load(&mut lane, 0, &noise(&graph, 1).inputs[0].sample(0).unwrap());
    tape.forward(&mut lane);
    let mut total = 0.0;
    for (index, seed) in tape.seeds().to_vec().into_iter().enumerate() {
        let values = tape.read(&lane, seed).unwrap();
        total += values.iter().enumerate().map(|(i, x)| f64::from(*x) * f64::from(weight(index, i))).sum::<f64>();
    }
    let mut gradients = tape.shared_gradients();
    tape.backward(&mut lane, &mut gradients, &|index, _, gradient| {
        gradient.open().iter_mut().enumerate().for_each(|(i, g)| *g += weight(index, i));
    });
    (total, input_gradient(&tape, &lane), tape.parameter_gradients(&[gradients]))
}

fn weight(seed: usize, index: usize) -> f32 {
    ((index * 7 + seed * 3) % 11) as f32 * 0.2 - 1.0
}

/// Derivative of the total along a random direction of `value`, by central differences.
fn slope(graph: &Graph, seeds: &[ValueId], value: ValueId, direction: &[f32]) -> f64 {
    let at = |t: f32| {
        let mut moved = graph.clone();
        let tensor = graph.constant(value).unwrap();
        let elements = tensor.to_f32().unwrap().iter().zip(direction).map(|(x, d)| x + t * d).collect();
        moved.set_constant(value, crate::tensor::TensorData::new(tensor.shape(), elements));
        evaluate(&moved, seeds, &[], Isa::Portable).0
    };
    let h = 3e-3;
    (at(h) - at(-h)) / (2.0 * f64::from(h))
}

#[test]
fn gradients_of_parameters_match_finite_differences_on_every_instruction_set() {
    let graph = tangle();
    let find = |name: &str| graph.find_value(name).unwrap();
    let seeds = [find("y"), find("sum"), find("c1")];
    let parameters = ["w1", "b1", "w2", "w3", "n_scale", "n_shift", "g", "gb"].map(find);
    for isa in Isa::available() {
        let (_, _, gradients) = evaluate(&graph, &seeds, &parameters, isa);
        for value in parameters {
            let name = &graph.value(value).name;
            let mut random = Random::new(3, u64::from(value.0));
            let shape = graph.constant(value).unwrap().shape().to_vec();
            let direction: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
            let request = Request { targets: &[], seeds: &seeds, input_gradients: false, parameters: &parameters, isa };
            let tape = Tape::compile(&single_sample(&graph).unwrap(), &request).unwrap();
            let offsets = tape.parameter_layout(value).unwrap().offsets();
            let found: f64 = offsets.iter().zip(&direction).map(|(at, d)| f64::from(gradients[&value][*at]) * f64::from(*d)).sum();
            let wanted = slope(&graph, &seeds, value, &direction);
            assert!((found - wanted).abs() <= 2e-3 * wanted.abs().max(1.0), "{name} on {}: {found}, not {wanted}", isa.name());
        }
    }
}

#[test]
fn instruction_sets_agree() {
    let graph = tangle();
    let seeds = [graph.find_value("y").unwrap(), graph.find_value("c1").unwrap()];
    let (total, gradient, _) = evaluate(&graph, &seeds, &[], Isa::Portable);
    for isa in Isa::available() {
        let (other, other_gradient, _) = evaluate(&graph, &seeds, &[], isa);
        assert!((total - other).abs() < 1e-4 * total.abs().max(1.0), "{}: {other}, not {total}", isa.name());
        for (a, b) in gradient.iter().zip(&other_gradient) {
            assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{}: {b}, not {a}", isa.name());
        }
    }
}

/// A convolution, BN on it, what `shortcut` adds, and an activation.
fn chain(channels: usize, size: [usize; 2], shortcut: bool, activation: &str) -> Graph {
    let sketch = Sketch::new(&[1, 3, size[0], size[1]]).conv("c", "x", (3, channels), 3, 1).norm("n", "c", channels);
    let sketch = sketch.conv("d", "x", (3, channels), 1, 1).scalar("low", -0.2).scalar("high", 0.3);
    let sketch = if shortcut { sketch.plain("s", "Add", "d n") } else { sketch.plain("s", "Identity", "n") };
    let last = if shortcut { "s" } else { "n" };
    match activation {
        "Clip" => sketch.plain("y", "Clip", &format!("{last} low high")),
        "LeakyRelu" => sketch.node("y", "LeakyRelu", last, Attributes::default().float("alpha", 0.3)),
        _ => sketch.plain("y", activation, last),
    }
    .outputs("y")
}

#[test]
fn what_is_computed_together_is_what_would_be_computed_apart() {
    for (channels, size) in [(5, [4, 7]), (1, [3, 300]), (17, [1, 1]), (40, [9, 9])] {
        for (shortcut, activation) in
            [(false, "Relu"), (false, "LeakyRelu"), (false, "Clip"), (true, "Relu"), (true, "LeakyRelu"), (true, "Clip")]
        {
            let graph = chain(channels, size, shortcut, activation);
            let value = |name: &str| graph.find_value(name).unwrap();
            let run = |seeds: &[ValueId], targets: &[ValueId], isa: Isa| {
                let tape = Tape::compile(&graph, &Request { targets, seeds, input_gradients: true, parameters: &[], isa }).unwrap();
                let mut lane = tape.lane();
                tape.load(&mut lane, 0, &noise(&graph, 1).inputs[0].sample(0).unwrap());
                tape.forward(&mut lane);
                let output = tape.read(&lane, value("y")).unwrap().to_vec();
                tape.backward(&mut lane, &mut tape.shared_gradients(), &|_, values, gradient| {
                    gradient.open().iter_mut().zip(values).for_each(|(g, x)| *g += x + 0.1);
                });
                (output, input_gradient(&tape, &lane), tape.step_names().count())
            };
            // A value that somebody wants to see is computed by itself.
            let seeds = [value("c"), value("y")];
            let apart = if shortcut { vec![value("n"), value("s")] } else { vec![value("n")] };
            for isa in Isa::available() {
                let (together, apart) = (run(&seeds, &[], isa), run(&seeds, &apart, isa));
                assert!(together.2 < apart.2, "{activation} is computed by itself");
                let close =
                    |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(1.0));
                assert!(close(&together.0, &apart.0) && close(&together.1, &apart.1), "{activation}, {channels} channels, {}", isa.name());
            }
        }
    }
}

#[test]
fn an_activation_works_where_its_input_lies() {
    let producers: [(&str, &str, Attributes); 5] = [
        ("Conv", "x w b", Attributes::default().sizes("pads", &[1, 0, 1, 2])),
        ("ConvTranspose", "x w b", Attributes::default().sizes("strides", &[2, 2])),
        ("Add", "x r", Attributes::default()),
        ("Sub", "x x", Attributes::default()),
        ("MatMul", "x m", Attributes::default()),
    ];
    for ((producer, inputs, attributes), activation) in producers.iter().flat_map(|p| ["Relu", "LeakyRelu", "Clip"].map(|a| (p, a))) {
        let sketch = Sketch::new(&[1, 3, 5, 7]).weights("w", &[3, 3, 3, 2], 0.4).weights("b", &[3], 0.3).weights("r", &[3, 5, 7], 0.8);
        let sketch = sketch.weights("m", &[7, 4], 0.5).scalar("low", -0.2).scalar("high", 0.3);
        let sketch = sketch.node("z", producer, inputs, attributes.clone());
        let graph = match activation {
            "Clip" => sketch.plain("y", "Clip", "z low high"),
            "LeakyRelu" => sketch.node("y", "LeakyRelu", "z", Attributes::default().float("alpha", 0.3)),
            _ => sketch.plain("y", activation, "z"),
        };
        let graph = graph.outputs("y");
        let value = |name: &str| graph.find_value(name).unwrap();
        let parameters: Vec<ValueId> = inputs.split(' ').skip(1).filter(|name| *name != "x").map(value).collect();
        for isa in Isa::available() {
            let (total, gradient, by_parameter) = evaluate(&graph, &[value("y")], &parameters, isa);
            let request = Request { targets: &[value("z")], seeds: &[value("y")], input_gradients: true, parameters: &parameters, isa };
            let apart = Tape::compile(&graph, &request).unwrap();
            let request = Request { targets: &[], ..request };
            let together = Tape::compile(&graph, &request).unwrap();
            assert!(together.step_names().count() < apart.step_names().count(), "{activation} after {producer} is computed by itself");
            let mut lane = apart.lane();
            apart.load(&mut lane, 0, &noise(&graph, 1).inputs[0].sample(0).unwrap());
            apart.forward(&mut lane);
            let wanted: f64 =
                apart.read(&lane, value("y")).unwrap().iter().enumerate().map(|(i, y)| f64::from(*y) * f64::from(weight(0, i))).sum();
            assert_eq!(total, wanted, "{activation} after {producer} on {}", isa.name());
            let mut gradients = apart.shared_gradients();
            apart.backward(&mut lane, &mut gradients, &|_, _, gradient| {
                gradient.open().iter_mut().enumerate().for_each(|(i, g)| *g += weight(0, i));
            });
            assert_eq!(gradient, input_gradient(&apart, &lane), "{activation} after {producer} on {}", isa.name());
            assert_eq!(by_parameter, apart.parameter_gradients(&[gradients]), "{activation} after {producer} on {}", isa.name());
        }
    }
}

/// Each operator, what it reads, its attributes, and the shape of x.
fn linear_maps() -> Vec<(&'static str, &'static str, Attributes, &'static [usize])> {
    let none = Attributes::default;
    let resize = |mode: &str, coordinates: &str| none().string("mode", mode).string("coordinate_transformation_mode", coordinates);
    vec![
        ("Resize", "x - twice", resize("nearest", "asymmetric").string("nearest_mode", "floor"), &[1, 3, 1, 1]),
        ("Resize", "x - twice", resize("linear", "half_pixel"), &[1, 17, 3, 2]),
        ("Resize", "x - - sizes", resize("linear", "align_corners"), &[1, 3, 4, 5]),
        ("Resize", "x - - sizes", resize("nearest", "half_pixel"), &[1, 1, 7, 2]),
        ("Concat", "x x r", none().int("axis", 1), &[1, 5, 2, 3]),
        ("Concat", "x x", none().int("axis", -1), &[1, 3, 1, 1]),
        ("Slice", "x starts ends axes steps", none(), &[1, 3, 5, 7]),
        ("Transpose", "x", none().ints("perm", &[0, 3, 1, 2]), &[1, 17, 3, 2]),
        ("Pad", "x pads", none().string("mode", "reflect"), &[1, 3, 4, 3]),
        ("Pad", "x pads", none(), &[1, 3, 4, 3]),
        ("DepthToSpace", "x", none().int("blocksize", 2), &[1, 12, 1, 3]),
        ("Expand", "x expanded", none(), &[1, 3, 1, 1]),
        ("Gather", "x places", none().int("axis", 2), &[1, 3, 4, 5]),
        ("Flatten", "x", none(), &[1, 3, 4, 5]),
        ("Squeeze", "x", none(), &[1, 5, 1, 1]),
        ("ReduceMean", "x", none().ints("axes", &[2, 3]), &[1, 17, 3, 5]),
    ]
}

/// For a linear map A with A(0) = b, the gradient of Σ w·(A x) is Aᵀw: its product with x is Σ w·(A x − b).
#[test]
fn operators_that_move_elements_bring_gradients_back() {
    for (operator, inputs, attributes, shape) in linear_maps() {
        let sketch = Sketch::new(shape).weights("r", &[1, 2, 2, 3], 1.0).integers("starts", &[-1, 0]).integers("ends", &[0, 5]);
        let sketch = sketch.integers("axes", &[3, 2]).integers("steps", &[-2, 2]).integers("pads", &[0, 0, 2, 1, 0, 0, 0, 2]);
        let sketch =
            sketch.integers("expanded", &[1, 3, 2, 5]).integers("places", &[3, 0, 3]).integers("sizes", &[1, shape[1] as i64, 3, 8]);
        let sketch = sketch.constant("twice", crate::tensor::TensorData::vector(vec![1.0f32, 1.0, 2.0, 2.0]));
        let graph = sketch.node("y", operator, inputs, attributes).outputs("y");
        let y = graph.find_value("y").unwrap();
        for isa in Isa::available() {
            let tape = Tape::compile(&graph, &Request { targets: &[], seeds: &[y], input_gradients: true, parameters: &[], isa }).unwrap();
            let mut lane = tape.lane();
            let mut total = |x: &[f32]| {
                tape.load(&mut lane, 0, x);
                tape.forward(&mut lane);
                tape.read(&lane, y).unwrap().iter().enumerate().map(|(i, y)| f64::from(*y) * f64::from(weight(0, i))).sum::<f64>()
            };
            let noise = noise(&graph, 1);
            let x = &*noise.inputs[0].sample(0).unwrap();
            let wanted = total(x) - total(&vec![0.0; x.len()]);
            tape.backward(&mut lane, &mut tape.shared_gradients(), &|_, _, gradient| {
                gradient.open().iter_mut().enumerate().for_each(|(i, g)| *g += weight(0, i));
            });
            let found: f64 = input_gradient(&tape, &lane).iter().zip(x).map(|(g, x)| f64::from(*g) * f64::from(*x)).sum();
            assert!((found - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{operator} on {}: {found}, not {wanted}", isa.name());
        }
    }
}

/// Row-major.
fn input_gradient(tape: &Tape, lane: &Lane) -> Vec<f32> {
    let memory = tape.input_gradient(lane, 0);
    tape.input_layout(0).offsets().into_iter().map(|offset| memory[offset]).collect()
}

/// The second half of a Split whose first half nobody asks for.
fn second_half(mut graph: Graph, of: &str) -> Graph {
    let form = crate::ops::NodeForm { attributes: Attributes::default().int("axis", 1), opset: 13, input_count: 1, output_count: 2 };
    let split = crate::ops::parse("Split", form).unwrap().unwrap().operator;
    let (from, half) = (graph.find_value(of).unwrap(), graph.add_value("half", None, None));
    graph.add_node("split", split, vec![Some(from)], vec![None, Some(half)]);
    let (sum, x) = (graph.add_value("sum", None, None), graph.inputs[0]);
    let add = crate::ops::Add;
    graph.add_node("sum", std::sync::Arc::new(add), vec![Some(half), Some(x)], vec![Some(sum)]);
    graph.outputs = vec![sum];
    single_sample(&graph).unwrap()
}

#[test]
fn outputs_that_are_left_out_take_nothing_from_the_others() {
    let numbers = crate::tensor::TensorData::new(&[1, 4], vec![1.0f32, 2.0, 30.0, 40.0]);
    let computed = Sketch::new(&[1, 2]).node("d", "Concat", "x x", Attributes::default().int("axis", 1)).outputs("d");
    let fixed = Sketch::new(&[1, 2]).constant("c", numbers).plain("r", "Relu", "x").outputs("r");
    for (graph, wanted) in [(second_half(computed, "d"), [2.0, 4.0]), (second_half(fixed, "c"), [31.0, 42.0])] {
        let request = Request { targets: &graph.outputs, seeds: &[], input_gradients: false, parameters: &[], isa: Isa::Portable };
        let tape = Tape::compile(&graph, &request).unwrap();
        let mut lane = tape.lane();
        tape.load(&mut lane, 0, &[1.0, 2.0]);
        tape.forward(&mut lane);
        assert_eq!(tape.read(&lane, graph.outputs[0]).unwrap(), wanted);
    }
}
