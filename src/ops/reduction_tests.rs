//! Outputs of pools, reductions and softmax as ONNX Runtime 1.31 gives them.

use super::Attributes;
use super::probe::{Case, Input, check_cases};

#[test]
fn outputs_are_those_of_onnx_runtime() {
    check_cases(cases());
}

#[allow(clippy::approx_constant)]
fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "MaxPool",
            opset: 12,
            attributes: Attributes::default().ints("kernel_shape", &[3, 3]).ints("strides", &[2, 2]).ints("pads", &[1, 0, 0, 1]),
            inputs: vec![Input::quarters(&[1, 3, 5, 4], 1)],
            wanted: &[3.25, 3.25, 3.5, 0.25, 3.0, 2.5, 2.0, 3.25, 3.5, 3.5, 3.0, 0.5],
        },
        Case {
            name: "MaxPool",
            opset: 12,
            attributes: Attributes::default()
                .ints("kernel_shape", &[3, 2])
                .ints("strides", &[2, 3])
                .ints("pads", &[1, 1, 1, 1])
                .int("ceil_mode", 1),
            inputs: vec![Input::quarters(&[1, 2, 4, 6], 1)],
            wanted: &[-0.75, 3.25, 2.0, 1.5, 3.0, 1.75, -1.0, 3.0, 1.75, 1.25, 2.5, -0.75, 3.5, 2.75, 1.5, 3.5, 2.25, -1.0],
        },
        Case {
            name: "MaxPool",
            opset: 11,
            attributes: Attributes::default().ints("kernel_shape", &[2, 3]).ints("strides", &[2, 2]).string("auto_pad", "SAME_LOWER"),
            inputs: vec![Input::quarters(&[1, 2, 5, 4], 1)],
            wanted: &[1.25, 3.25, 2.75, 2.75, 3.5, 3.5, 3.0, 1.75, -0.75, 3.25, 0.75, 2.75],
        },
        Case {
            name: "MaxPool",
            opset: 11,
            attributes: Attributes::default().ints("kernel_shape", &[2, 3]).ints("strides", &[2, 2]).string("auto_pad", "SAME_UPPER"),
            inputs: vec![Input::quarters(&[1, 2, 5, 4], 1)],
            wanted: &[3.25, 3.25, 3.5, 0.25, 2.25, 1.0, 3.0, 2.5, 2.0, 3.25, 2.75, 2.75],
        },
        Case {
            name: "MaxPool",
            opset: 7,
            attributes: Attributes::default().ints("kernel_shape", &[1, 1]).ints("strides", &[3, 2]),
            inputs: vec![Input::quarters(&[1, 1, 5, 4], 1)],
            wanted: &[-0.75, 3.25, 1.5, -1.75],
        },
        Case {
            name: "MaxPool",
            opset: 13,
            attributes: Attributes::default().ints("kernel_shape", &[3]).ints("strides", &[2]).ints("pads", &[1, 1]),
            inputs: vec![Input::quarters(&[1, 3, 6], 1)],
            wanted: &[1.25, 3.25, 2.0, -1.25, 2.75, 2.75, 3.5, 3.5, 2.25],
        },
        Case {
            name: "MaxPool",
            opset: 13,
            attributes: Attributes::default().ints("kernel_shape", &[2, 2, 2]).ints("strides", &[1, 2, 1]),
            inputs: vec![Input::quarters(&[1, 2, 2, 3, 3], 1)],
            wanted: &[3.5, 3.5, 3.25, 3.25],
        },
        Case {
            name: "AveragePool",
            opset: 11,
            attributes: Attributes::default().ints("kernel_shape", &[3, 3]).ints("strides", &[2, 2]).ints("pads", &[1, 0, 0, 1]),
            inputs: vec![Input::quarters(&[1, 3, 5, 4], 1)],
            wanted: &[0.4166667, -0.8125, 0.3333333, -1.5, -0.6666667, 1.125, -0.75, 1.041667, 0.6666667, -0.5625, -0.2222222, -1.25],
        },
        Case {
            name: "AveragePool",
            opset: 11,
            attributes: Attributes::default()
                .ints("kernel_shape", &[3, 2])
                .ints("strides", &[2, 3])
                .ints("pads", &[1, 1, 1, 1])
                .int("ceil_mode", 1),
            inputs: vec![Input::quarters(&[1, 2, 4, 6], 1)],
            wanted: &[
                -2.0, 1.1875, 0.75, -0.9166667, 0.4583333, -0.5833333, -1.0, 0.375, 1.75, -1.125, 0.25, -2.0, 1.166667, 0.125, -0.9166667,
                3.5, 1.25, -1.0,
            ],
        },
        Case {
            name: "AveragePool",
            opset: 11,
            attributes: Attributes::default().ints("kernel_shape", &[2, 3]).ints("strides", &[2, 2]).string("auto_pad", "SAME_LOWER"),
            inputs: vec![Input::quarters(&[1, 2, 5, 4], 1)],
            wanted: &[0.25, 0.8333333, 1.375, -0.4583333, 1.0625, -0.1666667, 0.375, -0.25, -2.125, 0.875, -0.625, -0.04166667],
        },
        Case {
            name: "AveragePool",
            opset: 11,
            attributes: Attributes::default().ints("kernel_shape", &[2, 3]).ints("strides", &[2, 2]).string("auto_pad", "SAME_UPPER"),
            inputs: vec![Input::quarters(&[1, 2, 5, 4], 1)],
            wanted: &[0.4166667, -0.8125, 0.7083333, -1.125, -0.5833333, 0.0, -0.6666667, 1.125, -0.375, 0.8125, 0.75, 0.125],
        },
        Case {
            name: "AveragePool",
            opset: 7,
            attributes: Attributes::default().ints("kernel_shape", &[1, 1]).ints("strides", &[3, 2]),
            inputs: vec![Input::quarters(&[1, 1, 5, 4], 1)],
            wanted: &[-0.75, 3.25, 1.5, -1.75],
        },
        Case {
            name: "AveragePool",
            opset: 13,
            attributes: Attributes::default().ints("kernel_shape", &[3]).ints("strides", &[2]).ints("pads", &[1, 1]),
            inputs: vec![Input::quarters(&[1, 3, 6], 1)],
            wanted: &[0.25, 0.8333333, 0.0, -2.25, 0.75, -0.08333334, 2.5, 0.6666667, -0.1666667],
        },
        Case {
            name: "AveragePool",
            opset: 13,
            attributes: Attributes::default().ints("kernel_shape", &[2, 2, 2]).ints("strides", &[1, 2, 1]),
            inputs: vec![Input::quarters(&[1, 2, 2, 3, 3], 1)],
            wanted: &[0.46875, 0.65625, 0.21875, 0.40625],
        },
        Case {
            name: "AveragePool",
            opset: 19,
            attributes: Attributes::default()
                .ints("kernel_shape", &[3, 3])
                .ints("strides", &[2, 2])
                .ints("pads", &[1, 1, 0, 1])
                .int("count_include_pad", 1)
                .int("ceil_mode", 1),
            inputs: vec![Input::quarters(&[1, 2, 4, 5], 1)],
            wanted: &[
                -0.08333334,
                -0.1388889,
                0.1666667,
                -0.1944444,
                -0.1111111,
                0.5833333,
                -0.02777778,
                -0.05555556,
                -0.5833333,
                -0.1111111,
                0.4166667,
                -0.1388889,
            ],
        },
        Case {
            name: "GlobalAveragePool",
            opset: 7,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 5, 4], 1)],
            wanted: &[0.125, -0.1125, 0.0125],
        },
        Case {
            name: "GlobalMaxPool",
            opset: 7,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 5, 4], 1)],
            wanted: &[3.5, 3.25, 3.5],
        },
        Case {
            name: "ReduceMean",
            opset: 11,
            attributes: Attributes::default().ints("axes", &[2, 3]).int("keepdims", 0),
            inputs: vec![Input::quarters(&[1, 3, 2, 4], 1)],
            wanted: &[-0.09375, 0.5, 0.1875],
        },
        Case {
            name: "ReduceMean",
            opset: 13,
            attributes: Attributes::default().ints("axes", &[-3]),
            inputs: vec![Input::quarters(&[1, 3, 2, 4], 1)],
            wanted: &[0.75, 0.3333333, -0.08333334, -0.5, 1.5, 1.083333, -1.75, 0.25],
        },
        Case {
            name: "ReduceMean",
            opset: 17,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 3, 2, 4], 1)],
            wanted: &[0.1979167],
        },
        Case {
            name: "ReduceMax",
            opset: 12,
            attributes: Attributes::default().ints("axes", &[1]).int("keepdims", 0),
            inputs: vec![Input::quarters(&[1, 3, 2, 4], 1)],
            wanted: &[2.25, 2.75, 3.25, 1.0, 3.0, 3.5, -0.25, 1.75],
        },
        Case {
            name: "ReduceMax",
            opset: 13,
            attributes: Attributes::default().ints("axes", &[2, 3]),
            inputs: vec![Input::quarters(&[1, 5, 2, 4], 1)],
            wanted: &[3.25, 3.5, 3.0, 3.25, 2.75],
        },
        Case {
            name: "ReduceSum",
            opset: 11,
            attributes: Attributes::default().ints("axes", &[1, -1]).int("keepdims", 1),
            inputs: vec![Input::quarters(&[1, 3, 2, 4], 1)],
            wanted: &[1.5, 3.25],
        },
        Case {
            name: "ReduceSum",
            opset: 11,
            attributes: Attributes::default().ints("axes", &[1]).int("keepdims", 0),
            inputs: vec![Input::quarters(&[2, 3], 1)],
            wanted: &[3.75, 0.0],
        },
        Case {
            name: "Softmax",
            opset: 11,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 5], 1)],
            wanted: &[0.01529269, 0.1129986, 0.8349527, 0.00438143, 0.03237463],
        },
        Case {
            name: "Softmax",
            opset: 11,
            attributes: Attributes::default().int("axis", 1),
            inputs: vec![Input::quarters(&[1, 3, 1, 1], 1)],
            wanted: &[0.01587624, 0.1173104, 0.8668134],
        },
        Case {
            name: "Softmax",
            opset: 13,
            attributes: Attributes::default().int("axis", 1),
            inputs: vec![Input::quarters(&[1, 3, 2, 2], 1)],
            wanted: &[
                0.1316016,
                0.1316016,
                0.9953356,
                0.1316016,
                0.2786007,
                0.2786007,
                0.001496427,
                0.2786007,
                0.5897977,
                0.5897977,
                0.003167935,
                0.5897977,
            ],
        },
        Case {
            name: "Softmax",
            opset: 13,
            attributes: Attributes::default(),
            inputs: vec![Input::quarters(&[1, 2, 3], 1)],
            wanted: &[0.01587624, 0.1173104, 0.8668134, 0.01587624, 0.1173104, 0.8668134],
        },
        Case {
            name: "LogSoftmax",
            opset: 13,
            attributes: Attributes::default().int("axis", -2),
            inputs: vec![Input::quarters(&[1, 2, 3], 1)],
            wanted: &[-0.251929, -0.251929, -0.251929, -1.501929, -1.501929, -1.501929],
        },
    ]
}
