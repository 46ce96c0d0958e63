//! Gradients of operators that read between elements, and of recurrent cells, against finite differences.

use super::Attributes;
use super::attributes::Attribute;
use super::probe::{Input, check_gradient, check_gradient_of, read};
use crate::tensor::DataType;

fn none() -> Attributes {
    Attributes::default()
}

fn check(name: &str, opset: i64, attributes: Attributes, inputs: Vec<Option<Input>>) {
    let (operator, inputs) = read(name, opset, attributes, &inputs);
    check_gradient(name, operator.as_ref(), &inputs, 6e-3);
}

fn fixed(input: Input) -> Input {
    Input { constant: true, ..input.shared() }
}

/// Numbers between −`reach` and `reach`.
fn within(shape: &[usize], seed: usize, reach: f32) -> Input {
    Input::distinct(shape, seed).map(|x| x / 3.0 * reach)
}

/// A grid that names positions, counted in elements, along dimensions of given sizes; they keep off the places where the mix
/// of elements changes its formula.
fn grid(shape: &[usize], positions: &[(&[f32], f32)], align_corners: bool) -> Input {
    let named = |position: f32, size: f32| {
        if align_corners { 2.0 * position / (size - 1.0) - 1.0 } else { (2.0 * position + 1.0) / size - 1.0 }
    };
    let points = positions[0].0.len();
    let values = (0..points).flat_map(|point| positions.iter().map(move |(along, size)| named(along[point], *size)));
    Input::new(shape, values.collect())
}

#[test]
fn samples_of_a_grid() {
    for padding in ["zeros", "border", "reflection"] {
        for (opset, mode) in [(16, "bilinear"), (20, "linear"), (20, "cubic"), (16, "nearest")] {
            for align in [0, 1] {
                let attributes = none().string("mode", mode).string("padding_mode", padding).int("align_corners", align);
                let columns = [-1.3, 0.4, 1.7, 3.2, 4.6, 5.3];
                let rows = [3.4, -0.7, 0.6, 2.3, 1.2, 4.3];
                let grid = grid(&[1, 2, 3, 2], &[(&columns, 5.0), (&rows, 4.0)], align == 1);
                check("GridSample", opset, attributes, vec![Some(Input::distinct(&[1, 3, 4, 5], 1)), Some(grid)]);
            }
        }
        let attributes = none().string("padding_mode", padding);
        let positions: [(&[f32], f32); 3] = [(&[-0.3, 3.7], 4.0), (&[0.6, 1.2], 2.0), (&[1.4, -1.2], 3.0)];
        let inputs = vec![Some(Input::distinct(&[1, 2, 3, 2, 4], 1)), Some(grid(&[1, 1, 1, 2, 3], &positions, false))];
        check("GridSample", 20, attributes, inputs);
    }
    for align in [0, 1] {
        let size = |list: &[f32]| Some(fixed(Input::new(&[list.len()], list.to_vec()).typed(DataType::I64)));
        let theta = Some(Input::distinct(&[1, 2, 3], 1));
        check("AffineGrid", 20, none().int("align_corners", align), vec![theta, size(&[1.0, 4.0, 3.0, 2.0])]);
        let theta = Some(Input::distinct(&[1, 3, 4], 1));
        check("AffineGrid", 20, none().int("align_corners", align), vec![theta, size(&[1.0, 1.0, 2.0, 3.0, 2.0])]);
    }
}

#[test]
fn regions() {
    let regions = Some(fixed(Input::new(&[2, 4], vec![0.3, 1.2, 3.9, 4.1, -2.0, 0.6, 9.0, 3.3])));
    let images = Some(fixed(Input::new(&[2], vec![0.0, 0.0]).typed(DataType::I64)));
    for (mode, ratio, opset) in [("avg", 2, 16), ("avg", 0, 10), ("max", 2, 16)] {
        let attributes = none().string("mode", mode).int("sampling_ratio", ratio).int("output_height", 2).int("output_width", 3);
        check("RoiAlign", opset, attributes, vec![Some(Input::distinct(&[1, 2, 5, 6], 5)), regions.clone(), images.clone()]);
    }
}

#[test]
fn deformed_convolutions() {
    let attributes = none().ints("kernel_shape", &[3, 2]).ints("pads", &[1, 0, 1, 1]).ints("strides", &[2, 1]).int("offset_group", 2);
    let data = || Some(Input::distinct(&[1, 4, 4, 3], 1));
    let (offsets, mask) = (within(&[1, 24, 2, 3], 4, 0.93), within(&[1, 12, 2, 3], 5, 1.0));
    for group in [1, 2] {
        let weights = Some(within(&[2, 4 / group, 3, 2], 2, 0.5).shared());
        let bias = Some(Input::distinct(&[2], 3).shared());
        let inputs = vec![data(), weights.clone(), Some(offsets.clone()), bias, Some(mask.clone())];
        check("DeformConv", 19, attributes.clone().int("group", group as i64), inputs);
        check("DeformConv", 19, attributes.clone().int("group", group as i64), vec![data(), weights, Some(offsets.clone())]);
    }
}

/// All inputs of a cell with `gates` gates for 3 steps, 2 samples, 2 inputs and 2 hidden elements.
fn cell_inputs(gates: usize, directions: usize, batch_first: bool, peepholes: bool) -> Vec<Option<Input>> {
    let sequence = if batch_first { [2, 3, 2] } else { [3, 2, 2] };
    let state = if batch_first { [2, directions, 2] } else { [directions, 2, 2] };
    let parameter = |shape: &[usize], seed: usize| Some(within(shape, seed, 0.9).shared());
    let mut inputs = vec![
        Some(within(&sequence, 1, 1.4)),
        parameter(&[directions, gates * 2, 2], 2),
        parameter(&[directions, gates * 2, 2], 3),
        parameter(&[directions, gates * 4], 4),
        None,
        Some(within(&state, 5, 0.8)),
    ];
    if peepholes {
        inputs.extend([Some(within(&state, 6, 0.7)), parameter(&[directions, 6], 7)]);
    }
    inputs
}

#[test]
fn recurrent_cells() {
    let cells = [
        ("LSTM", 4, none(), 3),
        ("LSTM", 4, none().int("input_forget", 1), 3),
        ("GRU", 3, none(), 2),
        ("GRU", 3, none().int("linear_before_reset", 1), 2),
        ("RNN", 1, none(), 2),
    ];
    for (name, gates, attributes, outputs) in cells {
        for (direction, count) in [("forward", 1), ("reverse", 1), ("bidirectional", 2)] {
            for batch_first in [false, true] {
                let attributes = attributes.clone().string("direction", direction).int("layout", i64::from(batch_first));
                let (operator, inputs) = read(name, 14, attributes, &cell_inputs(gates, count, batch_first, name == "LSTM"));
                for output in 0..outputs {
                    check_gradient_of(output, name, operator.as_ref(), &inputs, 6e-3);
                }
            }
        }
    }
}

#[test]
fn activations_of_recurrent_cells() {
    let names = ["Relu", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Softplus"];
    for name in names {
        let attributes = none().with("activations", Attribute::Strings(vec![name.to_string()]));
        let attributes = attributes.with("activation_alpha", Attribute::Floats(vec![0.41]));
        let inputs =
            vec![Some(within(&[2, 1, 2], 1, 0.9)), Some(within(&[1, 2, 2], 2, 0.9).shared()), Some(within(&[1, 2, 2], 3, 0.9).shared())];
        check("RNN", 14, attributes, inputs);
    }
}
