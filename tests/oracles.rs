//! Single operators against candle-onnx, which was written by others: the same file, read and computed by both.
//!
//! Only what candle-onnx has and does as the standard says (its ReduceMean is that of sets up to 13; it knows no padded
//! pools, no constant Pad and one kind of Resize). `make oracles` runs this; it needs protoc.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use candle_onnx::onnx::attribute_proto::AttributeType;
use candle_onnx::onnx::tensor_shape_proto::{Dimension, dimension::Value as DimValue};
use candle_onnx::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    type_proto,
};
use prost::Message;
use zeroq::calibration::{CalibrationSet, Provenance, Samples};
use zeroq::execution::{self, evaluate};
use zeroq::onnx::{Limits, from_bytes};
use zeroq::random::Random;

const FLOAT: i32 = 1;
const INT64: i32 = 7;

enum Operand<'a> {
    /// A graph input of normal numbers.
    Data(&'a [usize]),
    /// A graph input of positive numbers.
    Positive(&'a [usize]),
    /// A constant of normal numbers.
    Weights(&'a [usize]),
    /// A constant of positive numbers.
    Variances(usize),
    Scalar(f32),
    Floats(&'a [f32]),
    Integers(&'a [i64]),
    Absent,
}
use Operand::{Absent, Data, Floats, Integers, Positive, Scalar, Variances, Weights};

enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
}
use Attribute::{Float, Int, Ints, Text};

impl Attribute<'_> {
    fn proto(&self, name: &str) -> AttributeProto {
        let mut proto = AttributeProto { name: name.to_string(), ..Default::default() };
        match self {
            Int(i) => (proto.i, proto.r#type) = (*i, AttributeType::Int.into()),
            Float(f) => (proto.f, proto.r#type) = (*f, AttributeType::Float.into()),
            Ints(ints) => (proto.ints, proto.r#type) = (ints.to_vec(), AttributeType::Ints.into()),
            Text(text) => (proto.s, proto.r#type) = (text.as_bytes().to_vec(), AttributeType::String.into()),
        }
        proto
    }
}

struct Case {
    model: ModelProto,
    inputs: Vec<Samples>,
}

impl Case {
    fn new(opset: i64, operator: &str, operands: &[Operand], attributes: &[(&str, Attribute)], outputs: usize) -> Case {
        let mut random = Random::new(3, 0);
        let (mut graph, mut node) = (GraphProto { name: "case".into(), ..Default::default() }, NodeProto::default());
        let mut inputs = Vec::new();
        for (index, operand) in operands.iter().enumerate() {
            let name = format!("x{index}");
            let mut numbers = |shape: &[usize]| (0..shape.iter().product()).map(|_| random.normal()).collect::<Vec<f32>>();
            match operand {
                Data(shape) => inputs.push(Samples::new(&name, shape.to_vec(), numbers(shape)).unwrap()),
                Positive(shape) => {
                    let elements = numbers(shape).iter().map(|x| x.abs() + 0.1).collect();
                    inputs.push(Samples::new(&name, shape.to_vec(), elements).unwrap());
                }
                Weights(shape) => graph.initializer.push(floats(&name, shape, numbers(shape))),
                Variances(n) => graph.initializer.push(floats(&name, &[*n], numbers(&[*n]).iter().map(|x| x.abs() + 0.5).collect())),
                Scalar(x) => graph.initializer.push(floats(&name, &[], vec![*x])),
                Floats(elements) => graph.initializer.push(floats(&name, &[elements.len()], elements.to_vec())),
                Integers(elements) => graph.initializer.push(TensorProto {
                    dims: vec![elements.len() as i64],
                    data_type: INT64,
                    int64_data: elements.to_vec(),
                    name: name.clone(),
                    ..Default::default()
                }),
                Absent => {}
            }
            node.input.push(if matches!(operand, Absent) { String::new() } else { name });
        }
        node.op_type = operator.to_string();
        node.name = operator.to_string();
        node.output = (0..outputs).map(|index| format!("y{index}")).collect();
        node.attribute = attributes.iter().map(|(name, attribute)| attribute.proto(name)).collect();
        graph.input = inputs.iter().map(|samples| value_info(&samples.name, Some(&samples.shape))).collect();
        graph.output = node.output.iter().map(|name| value_info(name, None)).collect();
        graph.node = vec![node];
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
        Case { model: ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() }, inputs }
    }

    /// What candle computes: shape and elements of each output.
    fn oracle(&self) -> Vec<(Vec<usize>, Vec<f32>)> {
        let tensor = |samples: &Samples| Tensor::from_slice(&samples.sample(0).unwrap(), samples.shape.as_slice(), &Device::Cpu).unwrap();
        let inputs: HashMap<String, Tensor> = self.inputs.iter().map(|samples| (samples.name.clone(), tensor(samples))).collect();
        let found = candle_onnx::simple_eval(&self.model, inputs).unwrap();
        let outputs = &self.model.graph.as_ref().unwrap().output;
        let read = |tensor: &Tensor| (tensor.dims().to_vec(), tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        outputs.iter().map(|output| read(&found[&output.name])).collect()
    }

    fn own(&self) -> Vec<(Vec<usize>, Vec<f32>)> {
        let model = from_bytes(self.model.encode_to_vec(), Path::new("case.onnx"), &Limits::default()).unwrap();
        let set = CalibrationSet { inputs: self.inputs.clone(), provenance: Provenance::default() };
        let found = evaluate(&model.graph, &model.graph.outputs, &set, &execution::Config::default()).unwrap();
        found.iter().map(|output| (output.shape()[1..].to_vec(), output.iter().copied().collect())).collect()
    }
}

fn floats(name: &str, shape: &[usize], elements: Vec<f32>) -> TensorProto {
    let dims = shape.iter().map(|n| *n as i64).collect();
    TensorProto { dims, data_type: FLOAT, float_data: elements, name: name.to_string(), ..Default::default() }
}

fn value_info(name: &str, shape: Option<&[usize]>) -> ValueInfoProto {
    let dim = |n: &usize| Dimension { value: Some(DimValue::DimValue(*n as i64)), ..Default::default() };
    let shape = shape.map(|shape| TensorShapeProto { dim: shape.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: FLOAT, shape };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.to_string(), r#type: Some(r#type), ..Default::default() }
}

#[track_caller]
fn agree_on(opset: i64, operator: &str, operands: &[Operand], attributes: &[(&str, Attribute)], outputs: usize) {
    let case = Case::new(opset, operator, operands, attributes, outputs);
    let (wanted, found) = (case.oracle(), case.own());
    assert_eq!(wanted.len(), found.len());
    for ((shape, wanted), (own_shape, own)) in wanted.iter().zip(&found) {
        assert_eq!(shape, own_shape, "{operator}");
        let largest = wanted.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(largest > 1e-3, "{operator}: the oracle gives nothing");
        for (a, b) in wanted.iter().zip(own) {
            assert!((a - b).abs() <= 1e-5 * largest, "{operator}: {b}, not {a}");
        }
    }
}

#[track_caller]
fn agree(operator: &str, operands: &[Operand], attributes: &[(&str, Attribute)]) {
    agree_on(17, operator, operands, attributes, 1);
}

#[test]
fn functions_of_one_input() {
    for operator in ["Exp", "Abs", "Neg", "Erf", "Tanh", "Sigmoid", "Relu", "Ceil", "Floor", "HardSwish", "LeakyRelu", "Identity"] {
        agree(operator, &[Data(&[1, 3, 5, 4])], &[]);
    }
    for operator in ["Sqrt", "Log"] {
        agree(operator, &[Positive(&[1, 3, 5, 4])], &[]);
    }
    agree("LeakyRelu", &[Data(&[1, 3, 5])], &[("alpha", Float(0.3))]);
    agree("PRelu", &[Data(&[1, 3, 5, 4]), Weights(&[3, 1, 1])], &[]);
    agree("Clip", &[Data(&[1, 3, 5]), Scalar(-0.5), Scalar(0.7)], &[]);
    agree("Clip", &[Data(&[1, 3, 5]), Scalar(0.0)], &[]);
    agree("Dropout", &[Data(&[1, 7])], &[]);
}

#[test]
fn functions_of_two_inputs() {
    for operator in ["Add", "Sub", "Mul", "Div"] {
        agree(operator, &[Data(&[1, 3, 5, 4]), Positive(&[1, 3, 5, 4])], &[]);
        agree(operator, &[Data(&[1, 3, 5, 4]), Variances(4)], &[]);
        agree(operator, &[Data(&[1, 3, 1, 4]), Positive(&[1, 1, 5, 1])], &[]);
    }
    agree("Pow", &[Positive(&[1, 3, 5]), Scalar(1.7)], &[]);
    agree("Min", &[Data(&[1, 3, 5]), Data(&[1, 3, 5])], &[]);
}

#[test]
fn products() {
    agree("MatMul", &[Data(&[1, 3, 5]), Weights(&[5, 4])], &[]);
    agree("MatMul", &[Data(&[1, 2, 3, 5]), Data(&[1, 2, 5, 4])], &[]);
    agree("Gemm", &[Data(&[1, 7]), Weights(&[7, 5]), Weights(&[5])], &[]);
    agree("Gemm", &[Data(&[1, 7]), Weights(&[5, 7]), Weights(&[5])], &[("transB", Int(1)), ("alpha", Float(0.5)), ("beta", Float(2.0))]);
}

#[test]
fn convolutions() {
    let conv = |x: &[usize], w: &[usize], attributes: &[(&str, Attribute)]| {
        agree("Conv", &[Data(x), Weights(w), Weights(&w[..1])], attributes);
        agree("Conv", &[Data(x), Weights(w)], attributes);
    };
    conv(&[1, 4, 9, 7], &[8, 4, 3, 3], &[("pads", Ints(&[1, 1, 1, 1]))]);
    conv(&[1, 4, 9, 7], &[8, 4, 3, 3], &[("pads", Ints(&[0, 1, 2, 1])), ("strides", Ints(&[2, 2]))]);
    conv(&[1, 4, 9, 7], &[6, 2, 3, 3], &[("group", Int(2)), ("dilations", Ints(&[2, 2]))]);
    conv(&[1, 8, 9, 7], &[8, 1, 5, 5], &[("group", Int(8)), ("pads", Ints(&[2, 2, 2, 2]))]);
    conv(&[1, 17, 6, 6], &[19, 17, 1, 1], &[]);
    conv(&[1, 3, 11], &[5, 3, 4], &[("pads", Ints(&[1, 2])), ("strides", Ints(&[2]))]);
    conv(&[1, 4, 11], &[4, 1, 3], &[("group", Int(4)), ("dilations", Ints(&[2]))]);
}

#[test]
fn normalizations_and_pools() {
    let norm = [Data(&[1, 5, 4, 3]), Weights(&[5]), Weights(&[5]), Weights(&[5]), Variances(5)];
    agree("BatchNormalization", &norm, &[("epsilon", Float(1e-3))]);
    agree("Softmax", &[Data(&[1, 5, 4])], &[("axis", Int(1))]);
    agree("LogSoftmax", &[Data(&[1, 5, 4])], &[("axis", Int(-1))]);
    for operator in ["MaxPool", "AveragePool"] {
        agree(operator, &[Data(&[1, 3, 8, 9])], &[("kernel_shape", Ints(&[3, 2])), ("strides", Ints(&[2, 3]))]);
    }
    agree(
        "Resize",
        &[Data(&[1, 3, 4, 5]), Absent, Floats(&[1.0, 1.0, 2.0, 2.0])],
        &[("mode", Text("nearest")), ("nearest_mode", Text("floor")), ("coordinate_transformation_mode", Text("asymmetric"))],
    );
}

#[test]
fn reductions() {
    let x = || Data(&[1, 3, 5, 4]);
    agree_on(13, "ReduceMean", &[x()], &[("axes", Ints(&[2, 3])), ("keepdims", Int(0))], 1);
    agree_on(13, "ReduceMax", &[x()], &[("axes", Ints(&[-1])), ("keepdims", Int(1))], 1);
    agree("ReduceSum", &[x(), Integers(&[1, 3])], &[("keepdims", Int(0))]);
}

#[test]
fn rearrangements() {
    let x = || Data(&[1, 6, 4, 5]);
    agree("Reshape", &[x(), Integers(&[1, 2, -1, 5])], &[]);
    agree("Flatten", &[x()], &[]);
    agree("Transpose", &[x()], &[("perm", Ints(&[0, 2, 3, 1]))]);
    agree("Squeeze", &[Data(&[1, 6, 1, 5]), Integers(&[2])], &[]);
    agree("Unsqueeze", &[Data(&[1, 6]), Integers(&[2])], &[]);
    agree("Concat", &[x(), Data(&[1, 3, 4, 5])], &[("axis", Int(1))]);
    agree_on(17, "Split", &[x(), Integers(&[1, 2, 3])], &[("axis", Int(1))], 3);
    agree("Slice", &[x(), Integers(&[1, 0]), Integers(&[5, 4]), Integers(&[1, 3]), Integers(&[2, 1])], &[]);
    agree("Gather", &[x(), Integers(&[2, 0, 2])], &[("axis", Int(1))]);
    agree("Expand", &[Data(&[1, 3, 1]), Integers(&[1, 3, 4])], &[]);
    agree("Pad", &[x(), Integers(&[0, 0, 1, 2, 0, 0, 2, 1])], &[("mode", Text("reflect"))]);
}
