//! Gradients of operators that pick, move and count elements against finite differences.

use super::Attributes;
use super::probe::{Input, check_gradient, check_gradient_of, read};
use crate::tensor::DataType;

fn none() -> Attributes {
    Attributes::default()
}

fn check(name: &str, opset: i64, attributes: Attributes, inputs: Vec<Input>) {
    let inputs: Vec<_> = inputs.into_iter().map(Some).collect();
    let (operator, inputs) = read(name, opset, attributes, &inputs);
    check_gradient(name, operator.as_ref(), &inputs, 4e-3);
}

/// Integers that differ by image.
fn integers(shape: &[usize], values: &[f32]) -> Input {
    Input::new(shape, values.to_vec()).typed(DataType::I64)
}

fn fixed(input: Input) -> Input {
    Input { constant: true, ..input.shared() }
}

/// Indices that stand in the model, and the same computed in it.
fn both(indices: Input, check: impl Fn(Input)) {
    check(fixed(indices.clone()));
    check(computed(indices));
}

/// Between two integers, so that no small step leads to another element.
fn computed(indices: Input) -> Input {
    indices.map(|index| index + 0.3 * index.signum())
}

#[test]
fn gathers() {
    let x = || Input::distinct(&[2, 3, 4], 1);
    both(integers(&[2, 2], &[2.0, 0.0, -1.0, 2.0]), |indices| check("Gather", 13, none().int("axis", 1), vec![x(), indices]));
    both(integers(&[], &[-2.0]), |index| check("Gather", 13, none().int("axis", 2), vec![x(), index]));
    let picks = [1.0, 0.0, 2.0, -1.0, 0.0, 1.0, 1.0, 2.0];
    both(integers(&[1, 2, 4], &picks), |indices| check("GatherElements", 13, none().int("axis", 1), vec![x(), indices]));
    both(integers(&[2, 3, 1], &[0.0, 3.0, 3.0, 1.0, -4.0, 2.0]), |indices| {
        check("GatherElements", 11, none().int("axis", -1), vec![x(), indices]);
    });
    both(integers(&[2, 2], &[0.0, 2.0, -1.0, 2.0]), |indices| check("GatherND", 13, none(), vec![x(), indices]));
    both(integers(&[2, 1], &[0.0, 2.0]), |indices| check("GatherND", 13, none().int("batch_dims", 1), vec![x(), indices]));
}

#[test]
fn blocks_and_sequences() {
    let attributes = || none().ints("pads", &[1, 0, 0, 1]).ints("strides", &[2, 1]).ints("dilations", &[1, 2]);
    let shape = |sizes: &[f32]| fixed(integers(&[2], sizes));
    check("Col2Im", 18, attributes(), vec![Input::distinct(&[1, 12, 8], 1), shape(&[5.0, 5.0]), shape(&[3.0, 2.0])]);
    for axis in [0, 1] {
        let lengths = if axis == 0 { integers(&[3], &[1.0, 4.0, 2.0]) } else { integers(&[4], &[3.0, 1.0, 0.0, 2.0]) };
        let attributes = || none().int("batch_axis", axis).int("time_axis", 1 - axis);
        both(lengths, |lengths| check("ReverseSequence", 10, attributes(), vec![Input::distinct(&[3, 4, 2], 1), lengths]));
    }
}

#[test]
fn scatters() {
    let x = || Input::distinct(&[3, 4], 1);
    for reduction in ["none", "add", "mul", "max", "min"] {
        let attributes = || if reduction == "none" { none() } else { none().string("reduction", reduction) };
        let updates = || Input::distinct(&[2, 2], 2).map(|x| x + 0.011);
        both(integers(&[2, 2], &[2.0, 0.0, -2.0, 0.0]), |indices| {
            check("ScatterElements", 18, attributes().int("axis", 0), vec![x(), indices, updates()]);
        });
        both(integers(&[3, 1], &[2.0, 0.0, 2.0]), |indices| {
            check("ScatterND", 18, attributes(), vec![x(), indices, Input::distinct(&[3, 4], 3).map(|x| x + 0.017)]);
        });
    }
}

#[test]
fn pools_with_indices_and_back() {
    let attributes = || none().ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]);
    let indices = computed(integers(&[1, 2, 1, 2], &[5.0, 2.0, 8.0, 15.0]));
    check("MaxUnpool", 11, attributes(), vec![Input::distinct(&[1, 2, 1, 2], 1), indices.clone()]);
    let shape = fixed(integers(&[4], &[1.0, 2.0, 3.0, 5.0]));
    check("MaxUnpool", 11, attributes(), vec![Input::distinct(&[1, 2, 1, 2], 1), indices, shape]);
    let (operator, inputs) = read("MaxPool", 12, attributes(), &[Some(Input::distinct(&[1, 3, 4, 5], 1))]);
    check_gradient_of(1, "MaxPool", operator.as_ref(), &inputs, 4e-3);
}

#[test]
fn lines() {
    let number = |value: f32| fixed(integers(&[1], &[value]));
    for axis in [0, 1, -1] {
        let attributes = |name: &str| none().int("axis", axis).int(name, 0);
        for direction in ["largest", "sorted"] {
            let inputs = [Some(Input::distinct(&[3, 4, 5], 1)), Some(number(2.0))];
            let (operator, inputs) = read("TopK", 11, attributes(direction), &inputs);
            check_gradient_of(0, "TopK", operator.as_ref(), &inputs, 4e-3);
            check_gradient_of(1, "TopK", operator.as_ref(), &inputs, 4e-3);
        }
        for name in ["ArgMax", "ArgMin"] {
            check(name, 13, attributes("keepdims"), vec![Input::distinct(&[3, 4, 5], 2)]);
        }
        for flags in [0, 1, 2, 3] {
            let attributes = none().int("exclusive", flags & 1).int("reverse", flags >> 1);
            check("CumSum", 14, attributes, vec![Input::distinct(&[3, 2, 4], 3), number(axis as f32)]);
        }
    }
    for (upper, shift) in [(0, 1.0), (1, -1.0), (1, 0.0)] {
        check("Trilu", 14, none().int("upper", upper), vec![Input::distinct(&[2, 3, 4], 1), number(shift)]);
    }
    let depth = fixed(integers(&[], &[3.0]));
    check(
        "OneHot",
        11,
        none().int("axis", 1),
        vec![computed(integers(&[2, 2], &[0.0, -1.0, 5.0, 2.0])), depth, Input::distinct(&[2], 1).shared()],
    );
}

#[test]
fn lengths() {
    for p in [1, 2, 3] {
        let x = || vec![Input::distinct(&[1, 3, 5, 4], 1)];
        let window = none().ints("kernel_shape", &[3, 2]).ints("strides", &[2, 1]).ints("pads", &[1, 0, 1, 1]);
        check("LpPool", 18, window.int("p", p), x());
        check("GlobalLpPool", 2, none().int("p", p), x());
        for axis in [1, -1] {
            check("LpNormalization", 1, none().int("axis", axis).int("p", p.min(2)), x());
        }
    }
}
