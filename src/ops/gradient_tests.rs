//! Gradients of arithmetic operators against finite differences, on odd shapes.

use super::Attributes;
use super::probe::{Input, check_gradient, read};
use crate::tensor::DataType;

fn check(name: &str, opset: i64, attributes: Attributes, inputs: Vec<Input>) {
    let inputs: Vec<_> = inputs.into_iter().map(Some).collect();
    let (operator, inputs) = read(name, opset, attributes, &inputs);
    check_gradient(name, operator.as_ref(), &inputs, 4e-3);
}

fn none() -> Attributes {
    Attributes::default()
}

const SHAPES: [&[usize]; 5] = [&[1, 5, 1, 1], &[1, 1, 3, 2], &[1, 17, 2, 3], &[2, 3, 5], &[3, 4]];

fn positive(input: Input) -> Input {
    input.map(|x| x.abs() * 0.5 + 0.5)
}

#[test]
fn functions_of_one_input() {
    for shape in SHAPES {
        let x = || Input::distinct(shape, 1);
        for name in ["Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Neg", "Abs", "Erf", "Softplus"] {
            check(name, 14, none(), vec![x()]);
        }
        for form in ["none", "tanh"] {
            check("Gelu", 20, none().string("approximate", form), vec![x()]);
        }
        check("Mish", 18, none(), vec![x()]);
        for name in ["Sin", "Cos", "Softsign", "Round", "Sign", "Asinh", "Atan", "Cosh", "Sinh"] {
            check(name, 13, none(), vec![x().map(|x| x + 0.01)]);
        }
        for name in ["Acos", "Asin", "Atanh", "Tan"] {
            check(name, 13, none(), vec![x().map(|x| x * 0.3)]);
        }
        check("Acosh", 13, none(), vec![positive(x()).map(|x| x + 1.0)]);
        check("Shrink", 9, none().float("lambd", 0.71).float("bias", 0.3), vec![x()]);
        check("Swish", 24, none().float("alpha", 1.3), vec![x()]);
        for alpha in [0.6, 1.01] {
            check("Celu", 12, none().float("alpha", alpha), vec![x()]);
            check("ThresholdedRelu", 10, none().float("alpha", alpha), vec![x()]);
        }
        check("Selu", 6, none(), vec![x()]);
        check("Exp", 13, none(), vec![x().map(|x| x * 0.5)]);
        check("Sqrt", 13, none(), vec![positive(x())]);
        check("Log", 13, none(), vec![positive(x())]);
        check("LeakyRelu", 13, none().float("alpha", 0.3), vec![x()]);
        check("Elu", 13, none().float("alpha", 0.7), vec![x()]);
        check("Clip", 6, none().float("min", -1.01).float("max", 1.51), vec![x()]);
        check("Clip", 13, none(), vec![x(), Input::new(&[], vec![-1.0]).shared(), Input::new(&[], vec![1.5]).shared()]);
        check("ReduceMean", 13, none(), vec![x()]);
    }
}

#[test]
fn functions_of_broadcast_inputs() {
    let pairs: [(&[usize], &[usize]); 9] = [
        (&[1, 17, 2, 3], &[1, 17, 2, 3]),
        (&[1, 5, 2, 3], &[5, 1, 1]),
        (&[1, 5, 2, 3], &[1, 5, 1, 1]),
        (&[1, 3, 2, 3], &[3]),
        (&[1, 3, 2, 3], &[1, 1, 2, 1]),
        (&[1, 3, 2, 3], &[]),
        (&[1, 1, 1, 1], &[1]),
        (&[2, 3, 1, 2], &[2, 1, 1, 2]),
        (&[3, 4], &[4]),
    ];
    for (a, b) in pairs {
        for shared in [false, true] {
            let right = positive(Input::distinct(b, 2));
            let right = if shared { right.shared() } else { right };
            for name in ["Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "PRelu"] {
                check(name, 13, none(), vec![Input::distinct(a, 1).map(|x| x + 0.007), right.clone()]);
            }
            check("Pow", 13, none(), vec![positive(Input::distinct(a, 1)), right.clone()]);
            check("Sub", 13, none(), vec![right.clone(), Input::distinct(a, 1)]);
        }
        check("Pow", 13, none(), vec![Input::distinct(a, 1), Input { constant: true, ..Input::new(&[], vec![2.0]).shared() }]);
    }
}

#[test]
fn remainders() {
    for truncates in [0, 1] {
        let inputs =
            vec![Input::distinct(&[1, 3, 2], 1), Input::distinct(&[1, 3, 1], 2).map(|x| if x < 0.0 { x - 0.81 } else { x + 0.83 })];
        check("Mod", 13, none().int("fmod", truncates), inputs);
    }
}

#[test]
fn folds_of_many_inputs() {
    let inputs = || vec![Input::distinct(&[1, 3, 2, 5], 1), Input::distinct(&[3, 1, 1], 2), Input::distinct(&[2, 5], 3).shared()];
    for name in ["Sum", "Mean", "Max", "Min"] {
        check(name, 13, none(), inputs());
        check(name, 13, none(), inputs()[..1].to_vec());
    }
}

#[test]
fn equal_inputs_give_the_gradient_to_the_first() {
    let x = || Some(Input::new(&[2], vec![1.0, 2.0]));
    for name in ["Max", "Min"] {
        let (operator, inputs) = read(name, 13, none(), &[x(), x()]);
        let mut probe = super::probe::Probe::new(operator.as_ref(), &inputs, super::probe::Order::RowMajor, crate::kernels::Isa::Portable);
        assert_eq!(probe.gradients(&inputs, &[3.0, 4.0], None), [[3.0, 4.0], [0.0, 0.0]]);
    }
}

#[test]
fn pools() {
    let windows: [(&[usize], Attributes); 10] = [
        (&[1, 3, 6, 7], none().ints("kernel_shape", &[2, 3]).ints("dilations", &[3, 2]).ints("pads", &[2, 1, 0, 3])),
        (&[1, 17, 7, 9], none().ints("kernel_shape", &[3, 2]).ints("dilations", &[2, 3]).ints("strides", &[2, 3]).int("ceil_mode", 1)),
        (&[1, 3, 5, 4], none().ints("kernel_shape", &[3, 3]).ints("strides", &[2, 2]).ints("pads", &[1, 0, 0, 1])),
        (&[1, 17, 4, 6], none().ints("kernel_shape", &[3, 2]).ints("strides", &[2, 3]).ints("pads", &[1, 1, 1, 1]).int("ceil_mode", 1)),
        (&[1, 1, 5, 4], none().ints("kernel_shape", &[1, 2]).ints("strides", &[3, 3])),
        (&[1, 5, 1, 1], none().ints("kernel_shape", &[1, 1])),
        (&[1, 5, 1, 1], none().ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1])),
        (&[2, 3, 6], none().ints("kernel_shape", &[3]).ints("strides", &[2]).ints("pads", &[1, 1])),
        (&[1, 2, 2, 3, 3], none().ints("kernel_shape", &[2, 2, 2])),
        (&[1, 2, 5, 4], none().ints("kernel_shape", &[2, 3]).ints("strides", &[2, 2]).string("auto_pad", "SAME_LOWER")),
    ];
    for (shape, attributes) in windows {
        let x = || vec![Input::distinct(shape, 1)];
        check("MaxPool", 12, attributes.clone(), x());
        check("AveragePool", 12, attributes.clone(), x());
        check("AveragePool", 12, attributes.int("count_include_pad", 1), x());
        check("GlobalAveragePool", 12, none(), x());
        check("GlobalMaxPool", 12, none(), x());
    }
}

#[test]
fn swings() {
    for shape in [vec![1, 3, 2, 2], vec![1, 17, 3, 5], vec![2, 2, 3, 3], vec![2, 3, 2, 4, 3], vec![1, 2, 5]] {
        for offset in [[0.0, 2.0, 1.0], [1.0, 0.0, 2.0], [2.0, 1.0, 0.0]] {
            let axes = shape.len() - 2;
            let offset = Input { constant: true, ..Input::new(&[axes], offset[..axes].to_vec()).shared() };
            check_gradient("Swing", &super::Swing, &[Some(Input::distinct(&shape, 1)), Some(offset)], 4e-3);
        }
    }
}

#[test]
fn learned_rounding() {
    for shape in SHAPES {
        let base = Input { constant: true, ..Input::distinct(shape, 2).map(|x| (4.0 * x).floor()).shared() };
        let v = Input::distinct(shape, 1).map(|x| 0.7 * x).shared();
        let operator = super::SoftRound { data_type: DataType::I8 };
        check_gradient("SoftRound", &operator, &[Some(base), Some(v)], 4e-3);
    }
}

#[test]
fn quantization_is_dropped_for_half_of_the_elements() {
    use super::probe::{Order, Probe};
    let len = 17 * 61;
    let (x, quantized) = (Input::distinct(&[1, 17, 61], 1), Input::distinct(&[1, 17, 61], 1).map(|x| x + 100.0));
    let ones = vec![1.0; len];
    let run = |state: f32| {
        let inputs = [Some(x.clone()), Some(quantized.clone()), Some(Input::new(&[], vec![state]).shared())];
        let mut probe = Probe::new(&super::QuantizationDrop, &inputs, Order::RowMajor, crate::kernels::Isa::detect());
        let output = probe.run(&inputs);
        (output, probe.gradients(&inputs, &ones, None))
    };
    let (all, gradients) = run(-1.0);
    assert!(all == quantized.values && gradients[0].iter().all(|g| *g == 0.0) && gradients[1] == ones);
    let (some, gradients) = run(5.0);
    let kept = some.iter().zip(&x.values).filter(|(y, x)| y == x).count();
    assert!((len * 2 / 5..len * 3 / 5).contains(&kept), "{kept} of {len}");
    for (i, y) in some.iter().enumerate() {
        let keeps = *y == x.values[i];
        assert!(keeps || *y == quantized.values[i]);
        assert_eq!((gradients[0][i], gradients[1][i]), if keeps { (1.0, 0.0) } else { (0.0, 1.0) });
    }
    assert_ne!(some, run(6.0).0);
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    let inputs = [Some(Input::new(&[1, 1, 2, 2], vec![1.0; 4]))];
    let attributes = none().ints("kernel_shape", &[2, 2]);
    for (name, attributes) in [("MaxPool", attributes), ("ReduceMax", none()), ("ReduceMin", none())] {
        let (operator, inputs) = read(name, 12, attributes, &inputs);
        let mut probe = super::probe::Probe::new(operator.as_ref(), &inputs, super::probe::Order::RowMajor, crate::kernels::Isa::Portable);
        assert_eq!(probe.gradients(&inputs, &[3.0], None), [[3.0, 0.0, 0.0, 0.0]]);
    }
}

#[test]
fn reductions() {
    let many = ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"];
    for name in many {
        for axes in [vec![1], vec![2, 3], vec![-1], vec![1, 3], vec![0, 1, 2, 3]] {
            for keepdims in [0, 1] {
                let attributes = none().ints("axes", &axes).int("keepdims", keepdims);
                check(name, 12, attributes, vec![Input::distinct(&[1, 5, 3, 2], 1)]);
            }
        }
        check(name, 12, none().ints("axes", &[1]), vec![Input::distinct(&[3, 4], 1)]);
    }
    for axes in [vec![1], vec![0, -1]] {
        let attributes = none().ints("axes", &axes);
        check("ReduceLogSum", 13, attributes.clone(), vec![positive(Input::distinct(&[1, 3, 2], 1))]);
        check("ReduceProd", 13, attributes.clone(), vec![Input::distinct(&[1, 3, 2], 1).map(|x| x * 0.4)]);
        check("ReduceProd", 13, attributes.clone(), vec![Input::new(&[1, 3, 2], vec![0.0, 0.5, 0.7, 0.0, -0.6, 0.0])]);
    }
}

#[test]
fn normalizations() {
    for (shape, axis) in [(&[1, 5, 2, 3][..], 1), (&[1, 3, 4], 2), (&[1, 3, 4], -2), (&[2, 17], -1), (&[1, 1], 1)] {
        check("Softmax", 13, none().int("axis", axis), vec![Input::distinct(shape, 1)]);
        check("LogSoftmax", 13, none().int("axis", axis), vec![Input::distinct(shape, 1)]);
    }
    for shape in SHAPES {
        let vector = |seed: usize| Input::distinct(&[shape[1]], seed).shared();
        check("BatchNormalization", 15, none(), vec![Input::distinct(shape, 1), vector(2), vector(3), vector(4), positive(vector(5))]);
    }
}

#[test]
fn normalizations_of_groups() {
    let shared = |shape: &[usize], seed: usize| Input::distinct(shape, seed).shared();
    for (shape, axis, inner) in [(&[1, 3, 4][..], -1, &[4][..]), (&[1, 3, 2, 2], 1, &[3, 2, 2]), (&[2, 5], 1, &[5])] {
        let attributes = none().int("axis", axis);
        check("LayerNormalization", 17, attributes.clone(), vec![Input::distinct(shape, 1), shared(inner, 2), shared(inner, 3)]);
        check("LayerNormalization", 17, attributes, vec![Input::distinct(shape, 1), shared(inner, 2)]);
    }
    for shape in [&[1, 4, 3, 2][..], &[2, 6, 5]] {
        let channels = |seed: usize| shared(&shape[1..2], seed);
        check("InstanceNormalization", 6, none(), vec![Input::distinct(shape, 1), channels(2), channels(3)]);
        let groups = none().int("num_groups", 2);
        check("GroupNormalization", 21, groups.clone(), vec![Input::distinct(shape, 1), channels(2), channels(3)]);
        check("GroupNormalization", 18, groups, vec![Input::distinct(shape, 1), shared(&[2], 2), shared(&[2], 3)]);
    }
    for size in [1, 2, 5] {
        let attributes = none().int("size", size).float("alpha", 0.3).float("beta", 0.6).float("bias", 1.5);
        check("LRN", 13, attributes, vec![Input::distinct(&[1, 7, 2, 3], 1)]);
    }
}

#[test]
fn einsums() {
    let cases: [(&str, &[&[usize]]); 5] = [
        ("bij,bjk->bik", &[&[2, 3, 4], &[2, 4, 2]]),
        ("nchw, ncvw -> nhv", &[&[1, 2, 3, 2], &[1, 2, 4, 2]]),
        ("ij,kj", &[&[3, 4], &[2, 4]]),
        ("bii->bi", &[&[2, 3, 3]]),
        ("ijk->ki", &[&[2, 3, 4]]),
    ];
    for (equation, shapes) in cases {
        let inputs = shapes.iter().enumerate().map(|(seed, shape)| Input::distinct(shape, seed + 1));
        check("Einsum", 12, none().string("equation", equation), inputs.collect());
    }
}

#[test]
fn resizes() {
    let sizes = |list: &[f32]| Input { constant: true, ..Input::new(&[4], list.to_vec()).shared() }.typed(DataType::I64);
    for (mode, coordinates) in [("cubic", "half_pixel"), ("cubic", "align_corners"), ("linear", "half_pixel_symmetric")] {
        for (to, exclude) in [([1.0, 2.0, 7.0, 5.0], 0), ([1.0, 2.0, 3.0, 9.0], i64::from(mode == "cubic"))] {
            let attributes = none().string("mode", mode).string("coordinate_transformation_mode", coordinates);
            let (operator, _) = read("Resize", 13, attributes.int("exclude_outside", exclude), &[]);
            let inputs = [Some(Input::distinct(&[1, 2, 4, 5], 1)), None, None, Some(sizes(&to))];
            check_gradient("Resize", operator.as_ref(), &inputs, 4e-3);
        }
    }
    let roi = Input { constant: true, ..Input::new(&[8], vec![0.0, 0.0, 0.2, -0.3, 1.0, 1.0, 0.9, 1.2]).shared() };
    for mode in ["nearest", "linear", "cubic"] {
        let inputs = |roi: Option<Input>| [Some(Input::distinct(&[1, 2, 4, 5], 1)), roi, None, Some(sizes(&[1.0, 2.0, 3.0, 4.0]))];
        let crop = none().string("mode", mode).string("coordinate_transformation_mode", "tf_crop_and_resize");
        let (operator, _) = read("Resize", 13, crop.float("extrapolation_value", 1.5), &[]);
        check_gradient("Resize", operator.as_ref(), &inputs(Some(roi.clone())), 4e-3);
        for exclude in (0..2).filter(|_| mode != "nearest") {
            let attributes = none().string("mode", mode).int("antialias", 1).int("exclude_outside", exclude);
            let (operator, _) = read("Resize", 18, attributes, &[]);
            check_gradient("Resize", operator.as_ref(), &inputs(None), 4e-3);
        }
    }
}
