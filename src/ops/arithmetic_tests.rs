//! Outputs of operators that work element by element, as ONNX Runtime 1.31 gives them.

use super::Attributes;
use super::probe::{Case, Input, check_cases};
use crate::tensor::DataType;

#[test]
fn outputs_are_those_of_onnx_runtime() {
    check_cases(cases());
}

#[allow(clippy::approx_constant)]
fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "Relu",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[0.0, 1.25, 3.25, 0.0, 0.0, 2.0, 0.0, 0.0, 0.75, 2.75, 0.0, 0.0],
        },
        Case {
            name: "LeakyRelu",
            opset: 13,
            attributes: Attributes::default().float("alpha", 0.25),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[-0.1875, 1.25, 3.25, -0.5, 0.0, 2.0, -0.8125, -0.3125, 0.75, 2.75, -0.625, -0.125],
        },
        Case {
            name: "LeakyRelu",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[-0.0075, 1.25, 3.25, -0.02, 0.0, 2.0, -0.0325, -0.0125, 0.75, 2.75, -0.025, -0.005],
        },
        Case {
            name: "Sigmoid",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[
                0.3208213, 0.7772999, 0.9626731, 0.1192029, 0.5, 0.8807971, 0.03732687, 0.2227001, 0.6791787, 0.9399134, 0.07585818,
                0.3775407,
            ],
        },
        Case {
            name: "HardSigmoid",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[0.35, 0.75, 1.0, 0.09999999, 0.5, 0.9, 0.0, 0.25, 0.65, 1.0, 0.0, 0.4],
        },
        Case {
            name: "HardSigmoid",
            opset: 13,
            attributes: Attributes::default().float("alpha", 0.5).float("beta", 0.25),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[0.0, 0.875, 1.0, 0.0, 0.25, 1.0, 0.0, 0.0, 0.625, 1.0, 0.0, 0.0],
        },
        Case {
            name: "Tanh",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[
                -0.635149, 0.8482836, 0.9969977, -0.9640276, 0.0, 0.9640276, -0.9969977, -0.8482836, 0.635149, 0.9918598, -0.9866143,
                -0.4621172,
            ],
        },
        Case {
            name: "Elu",
            opset: 13,
            attributes: Attributes::default().float("alpha", 1.5),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[-0.7914501, 1.25, 3.25, -1.296997, 0.0, 2.0, -1.441839, -1.070243, 0.75, 2.75, -1.376873, -0.590204],
        },
        Case {
            name: "Exp",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[0.4723665, 3.490343, 25.79034, 0.1353353, 1.0, 7.389056, 0.03877421, 0.2865048, 2.117, 15.64263, 0.082085, 0.6065307],
        },
        Case {
            name: "Neg",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[0.75, -1.25, -3.25, 2.0, -0.0, -2.0, 3.25, 1.25, -0.75, -2.75, 2.5, 0.5],
        },
        Case {
            name: "Abs",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[0.75, 1.25, 3.25, 2.0, 0.0, 2.0, 3.25, 1.25, 0.75, 2.75, 2.5, 0.5],
        },
        Case {
            name: "Erf",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[
                -0.7111557, 0.9229001, 0.9999957, -0.9953223, 0.0, 0.9953223, -0.9999957, -0.9229001, 0.7111557, 0.9998994, -0.9995931,
                -0.5204999,
            ],
        },
        Case {
            name: "Softplus",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[
                0.386871, 1.501929, 3.288041, 0.126928, 0.6931472, 2.126928, 0.03804137, 0.2519291, 1.136871, 2.811968, 0.07888974,
                0.474077,
            ],
        },
        Case {
            name: "HardSwish",
            opset: 14,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[-0.28125, 0.8854167, 3.25, -0.3333333, 0.0, 1.666667, -0.0, -0.3645833, 0.46875, 2.635417, -0.2083333, -0.2083333],
        },
        Case {
            name: "Sqrt",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1).map(|x| x.abs() + 0.5)],
            wanted: &[1.118034, 1.322876, 1.936492, 1.581139, 0.7071068, 1.581139, 1.936492, 1.322876, 1.118034, 1.802776, 1.732051, 1.0],
        },
        Case {
            name: "Log",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1).map(|x| x.abs() + 0.5)],
            wanted: &[
                0.2231435, 0.5596158, 1.321756, 0.9162908, -0.6931472, 0.9162908, 1.321756, 0.5596158, 0.2231435, 1.178655, 1.098612, 0.0,
            ],
        },
        Case {
            name: "Clip",
            opset: 6,
            attributes: Attributes::default().float("min", -1.0).float("max", 2.5),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[-0.75, 1.25, 2.5, -1.0, 0.0, 2.0, -1.0, -1.0, 0.75, 2.5, -1.0, -0.5],
        },
        Case {
            name: "Clip",
            opset: 10,
            attributes: Attributes::default().float("max", 0.5),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1)],
            wanted: &[-0.75, 0.5, 0.5, -2.0, 0.0, 0.5, -3.25, -1.25, 0.5, 0.5, -2.5, -0.5],
        },
        Case {
            name: "Add",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1), Input::quarters(&[3, 1, 1], 5).shared()],
            wanted: &[2.25, 4.25, 6.25, 1.0, -2.25, -0.25, -5.5, -3.5, 0.5, 2.5, -2.75, -0.75],
        },
        Case {
            name: "Sub",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 2], 1), Input::quarters(&[1, 1, 2, 1], 5).shared()],
            wanted: &[-3.75, -1.75, 1.5, 3.5, 0.25, -5.0, 5.5, 0.25, -3.0, -1.0, 2.25, 4.25],
        },
        Case {
            name: "Mul",
            opset: 7,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1), Input::quarters(&[1], 5).shared()],
            wanted: &[-2.25, 3.75, 9.75, -6.0, 0.0, 6.0, -9.75, -3.75, 2.25, 8.25, -7.5, -1.5],
        },
        Case {
            name: "Div",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1), Input::quarters(&[2], 5).map(|x| x.abs() + 0.5).shared()],
            wanted: &[
                -0.2142857, 0.4545455, 0.9285714, -0.7272727, 0.0, 0.7272727, -0.9285714, -0.4545455, 0.2142857, 1.0, -0.7142857,
                -0.1818182,
            ],
        },
        Case {
            name: "Pow",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1).map(|x| x.abs() + 0.5), Input::quarters(&[3, 1, 1], 5).shared()],
            wanted: &[
                1.953125, 5.359375, 52.73438, 15.625, 4.756828, 0.1272433, 0.05110103, 0.2838993, 0.9457416, 0.744782, 0.7598357, 1.0,
            ],
        },
        Case {
            name: "Max",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1), Input::quarters(&[2], 5).shared(), Input::quarters(&[3, 1, 1], 7).shared()],
            wanted: &[3.0, 1.25, 3.25, 1.25, 3.25, 3.25, 3.25, 3.25, 3.0, 2.75, 3.0, -0.5],
        },
        Case {
            name: "Min",
            opset: 8,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1), Input::quarters(&[1, 3, 1, 1], 5).shared()],
            wanted: &[-0.75, 1.25, 3.0, -2.0, -2.25, -2.25, -3.25, -2.25, -0.25, -0.25, -2.5, -0.5],
        },
        Case {
            name: "Sum",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![
                Input::quarters(&[1, 3, 1, 2], 1),
                Input::quarters(&[2, 1], 5).shared(),
                Input::quarters(&[1, 3, 1, 1], 7).shared(),
            ],
            wanted: &[3.5, 5.5, -1.75, 0.25, 9.5, 4.25, 4.25, -1.0, 1.0, 3.0, -4.25, -2.25],
        },
        Case {
            name: "PRelu",
            opset: 9,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1), Input::quarters(&[3, 1, 1], 5).shared()],
            wanted: &[-2.25, 1.25, 3.25, -6.0, 0.0, 2.0, 7.3125, 2.8125, 0.75, 2.75, 0.625, 0.125],
        },
        Case {
            name: "BatchNormalization",
            opset: 9,
            attributes: Attributes::default().float("epsilon", 0.001),
            inputs: vec![
                Input::quarters(&[1, 3, 2, 2], 1),
                Input::quarters(&[3], 2).shared(),
                Input::quarters(&[3], 3).shared(),
                Input::quarters(&[3], 4).shared(),
                Input::quarters(&[3], 5).map(|x| x.abs() + 0.5).shared(),
            ],
            wanted: &[
                -3.568892,
                -1.431108,
                0.706677,
                -4.905008,
                3.908802,
                -0.01013303,
                10.27707,
                6.358136,
                -3.909054,
                -6.793883,
                0.7787926,
                -2.106036,
            ],
        },
        Case {
            name: "BatchNormalization",
            opset: 15,
            attributes: Attributes::default(),
            inputs: vec![
                Input::quarters(&[2, 5], 1),
                Input::quarters(&[5], 2).shared(),
                Input::quarters(&[5], 3).shared(),
                Input::quarters(&[5], 4).shared(),
                Input::quarters(&[5], 5).map(|x| x.abs() + 0.5).shared(),
            ],
            wanted: &[-3.569043, 1.45982, -7.521038, 3.000001, -3.124998, -0.629174, 10.27901, -1.025891, 4.374998, 0.6562471],
        },
        Case {
            name: "QuantizeLinear",
            opset: 10,
            attributes: Attributes::default(),
            inputs: vec![
                Input::quarters(&[1, 3, 2, 4], 1),
                Input::quarters(&[], 2).map(|x| (x.abs() + 0.5) * 0.0625 * 1.3).shared(),
                Input::quarters(&[], 3).map(|x| (x * 4.0).round()).typed(DataType::I8).shared(),
            ],
            wanted: &[
                -14.0, -4.0, 6.0, -20.0, -10.0, 0.0, -26.0, -16.0, -6.0, 4.0, -22.0, -12.0, -3.0, 7.0, -19.0, -9.0, 1.0, -25.0, -15.0,
                -5.0, 5.0, -21.0, -11.0, -1.0,
            ],
        },
        Case {
            name: "QuantizeLinear",
            opset: 13,
            attributes: Attributes::default().int("axis", 1),
            inputs: vec![
                Input::quarters(&[1, 3, 2, 4], 1),
                Input::quarters(&[3], 2).map(|x| (x.abs() + 0.5) * 0.0625 * 1.3).shared(),
                Input::quarters(&[3], 3).map(|x| (x * 4.0).round().abs()).typed(DataType::U8).shared(),
            ],
            wanted: &[
                6.0, 16.0, 26.0, 0.0, 10.0, 20.0, 0.0, 4.0, 4.0, 11.0, 0.0, 0.0, 7.0, 13.0, 0.0, 3.0, 22.0, 0.0, 0.0, 13.0, 27.0, 0.0, 4.0,
                18.0,
            ],
        },
        Case {
            name: "QuantizeLinear",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 1, 4], 1), Input::quarters(&[], 2).map(|x| (x.abs() + 0.5) * 0.0625 * 1.3).shared()],
            wanted: &[0.0, 6.0, 16.0, 0.0, 0.0, 10.0, 0.0, 0.0, 4.0, 14.0, 0.0, 0.0],
        },
        Case {
            name: "QuantizeLinear",
            opset: 21,
            attributes: Attributes::default().int("axis", -1),
            inputs: vec![
                Input::quarters(&[2, 4], 1),
                Input::quarters(&[4], 2).map(|x| (x.abs() + 0.5) * 0.0625 * 1.3).shared(),
                Input::quarters(&[4], 3).map(|x| (x * 4.0).round()).typed(DataType::I16).shared(),
            ],
            wanted: &[-14.0, 2.0, 29.0, -6.0, -10.0, 5.0, -17.0, 2.0],
        },
        Case {
            name: "DequantizeLinear",
            opset: 13,
            attributes: Attributes::default().int("axis", 1),
            inputs: vec![
                Input::quarters(&[1, 3, 2, 2], 1).map(|x| (x * 4.0).round()).typed(DataType::I8),
                Input::quarters(&[3], 2).map(|x| (x.abs() + 0.5) * 0.0625 * 1.3).shared(),
                Input::quarters(&[3], 3).map(|x| (x * 4.0).round()).typed(DataType::I8).shared(),
            ],
            wanted: &[
                1.421875, 3.046875, 4.671875, 0.40625, 0.609375, 3.046875, -3.351562, -0.9140625, -0.4265625, 0.7109374, -2.275, -1.1375,
            ],
        },
        Case {
            name: "DequantizeLinear",
            opset: 10,
            attributes: Attributes::default(),
            inputs: vec![
                Input::quarters(&[1, 3, 2, 2], 1).map(|x| (x * 4.0).round()).typed(DataType::I32),
                Input::quarters(&[], 2).map(|x| (x.abs() + 0.5) * 0.0625 * 1.3).shared(),
            ],
            wanted: &[-0.609375, 1.015625, 2.640625, -1.625, 0.0, 1.625, -2.640625, -1.015625, 0.609375, 2.234375, -2.03125, -0.40625],
        },
        Case {
            name: "DequantizeLinear",
            opset: 21,
            attributes: Attributes::default().int("axis", 0),
            inputs: vec![
                Input::quarters(&[3, 4], 1).map(|x| (x * 4.0).round().abs()).typed(DataType::U16),
                Input::quarters(&[3], 2).map(|x| (x.abs() + 0.5) * 0.0625 * 1.3).shared(),
                Input::quarters(&[3], 3).map(|x| (x * 4.0).round().abs()).typed(DataType::U16).shared(),
            ],
            wanted: &[
                -1.421875, -1.015625, 0.609375, -0.40625, -0.609375, 1.828125, 3.351562, 0.9140625, -0.4265625, 0.7109374, 0.56875,
                -0.56875,
            ],
        },
    ]
}
