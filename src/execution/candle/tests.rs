//! The network on tensors against the tape: values and gradients; on the first CUDA card with ZEROQ_TEST_DEVICE=cuda.

use candle_core::Device;

use super::Network;
use crate::calibration::CalibrationSet;
use crate::execution::tape::{Request, Tape};
use crate::execution::{self, Tunable};
use crate::graph::sketch::{Sketch, noise};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::ops::Attributes;
use crate::passes::single_sample;

/// What tests run on: one device and two, or the card that is asked for.
pub fn devices() -> Vec<execution::Device> {
    if std::env::var_os("ZEROQ_TEST_DEVICE").is_some_and(|device| device == "cuda") {
        super::compute_exactly();
        return execution::Cards::new([0]).map(execution::Device::Cuda).into_iter().collect();
    }
    vec![execution::Device::Tensors(1), execution::Device::Tensors(2)]
}

fn device() -> Device {
    devices()[0].open().unwrap().swap_remove(0)
}

/// Weight of an element in the sum whose gradients are compared.
fn weight(seed: usize, index: usize) -> f32 {
    ((index * 7 + seed * 3) % 11) as f32 * 0.2 - 1.0
}

/// What an engine finds: seeds and input gradients of all samples, and gradients of the parameters; row-major.
struct Found {
    seeds: Vec<Vec<f32>>,
    inputs: Vec<Vec<f32>>,
    parameters: Vec<Vec<f32>>,
}

fn on_tape(graph: &Graph, request: &Request<'_>, set: &CalibrationSet) -> Found {
    let tape = Tape::compile(graph, request).unwrap();
    let mut lane = tape.lane();
    let mut gradients = tape.shared_gradients();
    let (mut seeds, mut inputs) = (vec![Vec::new(); request.seeds.len()], vec![Vec::new(); graph.inputs.len()]);
    let row_major = |memory: &[f32], offsets: Vec<usize>| offsets.into_iter().map(|at| memory[at]).collect::<Vec<f32>>();
    for sample in 0..set.len() {
        set.inputs.iter().enumerate().for_each(|(index, input)| tape.load(&mut lane, index, &input.sample(sample).unwrap()));
        tape.forward(&mut lane);
        for (index, value) in request.seeds.iter().enumerate() {
            seeds[index].extend(row_major(tape.read(&lane, *value).unwrap(), tape.layout(*value).unwrap().offsets()));
        }
        tape.backward(&mut lane, &mut gradients, &|seed, _, gradient| {
            let offsets = tape.layout(request.seeds[seed]).unwrap().offsets();
            let values = gradient.open();
            offsets.into_iter().enumerate().for_each(|(index, at)| values[at] += weight(seed, index));
        });
        for (index, found) in inputs.iter_mut().enumerate().filter(|_| request.input_gradients) {
            let memory = tape.input_gradient(&lane, index);
            let offsets = tape.input_layout(index).offsets();
            found.extend(if memory.is_empty() { vec![0.0; offsets.len()] } else { row_major(memory, offsets) });
        }
    }
    let found = tape.parameter_gradients(&[gradients]);
    let parameter = |value: &ValueId| row_major(&found[value], tape.parameter_layout(*value).unwrap().offsets());
    Found { seeds, inputs, parameters: request.parameters.iter().map(parameter).collect() }
}

fn on_tensors(graph: &Graph, request: &Request<'_>, set: &CalibrationSet) -> (Found, usize) {
    let network = Network::compile(graph, request, &device()).unwrap();
    let all = |input: usize| (0..set.len()).flat_map(|sample| set.inputs[input].sample(sample).unwrap().to_vec()).collect::<Vec<f32>>();
    let images = (0..set.inputs.len()).map(|input| network.upload(input, all(input)).unwrap()).collect();
    let pass = network.forward(images, true).unwrap();
    let numbers = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let seeds = request.seeds.iter().map(|value| numbers(pass.read(*value).unwrap())).collect();
    let gradients = network.backward(pass, &mut |seed, value, before| {
        let sample: usize = value.dims()[1..].iter().product();
        let gradient = (0..value.elem_count()).map(|index| weight(seed, index % sample)).collect::<Vec<f32>>();
        let gradient = candle_core::Tensor::from_vec(gradient, value.dims(), value.device()).unwrap();
        Ok(Some(before.map_or(gradient.clone(), |before| (before + gradient).unwrap())))
    });
    let gradients = gradients.unwrap();
    let input = |(index, gradient): (usize, &Option<candle_core::Tensor>)| match gradient {
        Some(gradient) => numbers(gradient),
        None => vec![0.0; all(index).len()],
    };
    let inputs = gradients.inputs.iter().enumerate().map(input).collect();
    let parameters = request.parameters.iter().map(|value| numbers(&gradients.parameters[value])).collect();
    (Found { seeds, inputs, parameters }, network.on_host().len())
}

/// Asserts that both engines find the same on two samples of noise; returns how many nodes ran on the CPU.
pub fn assert_agree(name: &str, graph: &Graph, seeds: &[ValueId], parameters: &[ValueId]) -> usize {
    assert_agree_on(name, graph, seeds, parameters, &noise(graph, 2))
}

pub fn assert_agree_on(name: &str, graph: &Graph, seeds: &[ValueId], parameters: &[ValueId], set: &CalibrationSet) -> usize {
    let request = Request { targets: &[], seeds, input_gradients: true, parameters, isa: Isa::detect() };
    let wanted = on_tape(graph, &request, set);
    let (found, on_host) = on_tensors(graph, &request, set);
    let all = |found: Found| [("value", found.seeds), ("input", found.inputs), ("parameter", found.parameters)];
    for ((what, wanted), (_, found)) in all(wanted).into_iter().zip(all(found)) {
        for (index, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
            assert_eq!(wanted.len(), found.len(), "{name}: {what} {index}");
            let largest = wanted.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for (at, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                let same = wanted == found || (wanted - found).abs() <= 1e-4 * largest.max(1e-3);
                assert!(same, "{name}: {what} {index} at {at} is {found}, not {wanted}, of {largest}");
            }
        }
    }
    on_host
}

#[test]
fn our_networks_run_without_the_cpu() {
    for name in ["digits_resnet", "digits_mobilenet", "digits_squeezenet"] {
        let path = format!("{}/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let mut graph = crate::onnx::load(path, &crate::onnx::Limits::default()).unwrap().graph;
        crate::passes::simplify(&mut graph).unwrap();
        let graph = single_sample(&graph).unwrap();
        let seeds: Vec<ValueId> = graph.nodes().filter_map(|(_, node)| node.output(0)).collect();
        assert_eq!(assert_agree(name, &graph, &seeds, &[]), 0, "{name}");
    }
}

#[test]
fn convolutions_of_every_kind_give_the_same_gradients() {
    let none = Attributes::default;
    let cases: [(&str, &[usize], &[usize], Attributes); 8] = [
        ("Conv", &[1, 4, 9, 7], &[6, 4, 3, 3], none().sizes("pads", &[1, 0, 2, 1]).sizes("strides", &[2, 1])),
        ("Conv", &[1, 4, 6, 5], &[6, 2, 3, 2], none().int("group", 2).sizes("dilations", &[2, 1])),
        ("Conv", &[1, 5, 8, 8], &[5, 1, 3, 3], none().int("group", 5).sizes("pads", &[1, 1, 1, 1]).sizes("strides", &[2, 2])),
        ("Conv", &[1, 4, 5, 5], &[3, 4, 1, 1], none()),
        ("Conv", &[1, 4, 11], &[6, 4, 5], none().sizes("strides", &[3])),
        ("Conv", &[1, 2, 4, 5, 3], &[3, 2, 2, 3, 2], none()),
        ("ConvTranspose", &[1, 4, 5, 3], &[4, 3, 3, 2], none().sizes("strides", &[2, 2]).sizes("pads", &[1, 0, 0, 1])),
        ("ConvTranspose", &[1, 4, 4, 4], &[4, 2, 2, 2], none().int("group", 2).sizes("strides", &[2, 2])),
    ];
    for (name, image, weights, attributes) in cases {
        let features = if name == "Conv" { weights[0] } else { weights[1] * if weights[1] == 2 { 2 } else { 1 } };
        let sketch = Sketch::new(image).weights("w", weights, 0.4).weights("b", &[features], 0.3);
        let graph = sketch.node("y", name, "x w b", attributes).outputs("y");
        let value = |name: &str| graph.find_value(name).unwrap();
        assert_eq!(assert_agree(name, &graph, &[value("y")], &[value("w"), value("b")]), 0);
    }
}

#[test]
fn what_has_no_form_on_tensors_runs_on_the_cpu_and_is_named() {
    let sketch = Sketch::new(&[1, 3, 4, 5]).conv("c", "x", (3, 4), 3, 1).plain("p", "Sigmoid", "c");
    let graph = sketch.weights("power", &[4, 1, 1], 0.5).plain("s", "Pow", "p power").plain("y", "Selu", "s").outputs("y");
    let value = |name: &str| graph.find_value(name).unwrap();
    assert_eq!(assert_agree("host", &graph, &[value("y")], &[value("power"), value("c_w")]), 2);
    let request = Request { targets: &[], seeds: &[value("y")], input_gradients: true, parameters: &[], isa: Isa::detect() };
    assert_eq!(Network::compile(&graph, &request, &device()).unwrap().on_host(), ["`s` (Pow)", "`y` (Selu)"]);
}

#[test]
fn a_pass_that_goes_forward_alone_keeps_nothing_else() {
    let graph = single_sample(&Sketch::residual()).unwrap();
    let (y, set) = (graph.outputs[0], noise(&graph, 3));
    let request = Request { targets: &[y], seeds: &[], input_gradients: false, parameters: &[], isa: Isa::detect() };
    let network = Network::compile(&graph, &request, &device()).unwrap();
    let images = (0..3).flat_map(|sample| set.inputs[0].sample(sample).unwrap().to_vec()).collect();
    let pass = network.forward(vec![network.upload(0, images).unwrap()], false).unwrap();
    assert_eq!(pass.0.keys().collect::<Vec<_>>(), [&y]);
    assert_eq!(pass.read(y).unwrap().dims(), [3, 1, 4]);
}

#[test]
fn what_cannot_be_computed_is_named_all_at_once() {
    let foreign = || {
        let ops = crate::ops::Foreign {
            op_type: "Odd".into(),
            domain: String::new(),
            attributes: Attributes::default(),
            own_inputs: 1,
            inner: Default::default(),
            reason: "unknown".into(),
        };
        std::sync::Arc::new(ops)
    };
    let mut graph = Sketch::new(&[1, 3, 4, 4]).plain("a", "Neg", "x").plain("b", "Neg", "x").plain("y", "Add", "a b").outputs("y");
    for name in ["a", "b"] {
        let id = graph.producer(graph.find_value(name).unwrap()).unwrap().0;
        graph.set_operator(id, foreign());
    }
    let request = Request { targets: &graph.outputs, seeds: &[], input_gradients: false, parameters: &[], isa: Isa::detect() };
    let error = Network::compile(&graph, &request, &device()).err().unwrap().to_string();
    assert!(error.contains("`a`") && error.contains("`b`") && !error.contains("`y`"), "{error}");
}
