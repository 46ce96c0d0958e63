//! Rows 14 to 18, 42, 49 and 54 to 56: tensors that contradict themselves, and numbers that are only odd.

use zeroq::onnx::messages::*;

use super::network::*;
use super::program::*;

fn of(change: impl FnOnce(&mut TensorProto)) -> ModelProto {
    reweighted("w2", change)
}

#[test]
fn rows_14_and_15_dims_are_counted_before_anything_is_allocated() {
    refused([
        case("negative", of(|t| t.dims[0] = -8), &["tensor `w2`", "-8 is negative"]),
        case("least", of(|t| t.dims[0] = i64::MIN), &["tensor `w2`", "negative"]),
        case("2^40 x 2^40", of(|t| t.dims = vec![1 << 40, 1 << 40]), &["tensor `w2`", "limit of 2147483648 elements"]),
        case("that wrap to 576", of(|t| t.dims = vec![576, 1 << 32, 1 << 32]), &["tensor `w2`", "limit"]),
        case("that wrap to 0", of(|t| t.dims = vec![1 << 32, 1 << 32]), &["tensor `w2`", "limit"]),
        case("2^62 beside 0", of(|t| t.dims = vec![0, 1 << 62, 1 << 62]), &["tensor `w2`", "limit"]),
        case("rank 1000", of(|t| t.dims = vec![1; 1000]), &["`w2`"]),
        case("without data", of(|t| (t.dims, t.raw_data) = (vec![1 << 31], None)), &["tensor `w2`", "float_data"]),
    ]);
}

#[test]
fn row_16_data_is_as_long_as_dims_say() {
    let resized = |len: usize| of(|t| t.raw_data = Some(vec![0; len].into()));
    refused([
        case("short", resized(2303), &["tensor `w2`", "2304 bytes", "2303"]),
        case("long", resized(2305), &["tensor `w2`", "2304 bytes", "2305"]),
        case("empty", resized(0), &["tensor `w2`", "2304 bytes"]),
        case("none", of(|t| t.raw_data = None), &["tensor `w2`", "float_data, which has 0"]),
        case("field", of(|t| (t.raw_data, t.float_data) = (None, vec![0.5; 575])), &["tensor `w2`", "575"]),
        case("wrong field", of(|t| (t.raw_data, t.int64_data) = (None, vec![1; 576])), &["tensor `w2`", "float_data"]),
        case("no dims", of(|t| t.dims.clear()), &["tensor `w2`"]),
    ]);
}

#[test]
fn row_17_numbers_stand_in_one_place() {
    refused([
        case("float_data", of(|t| t.float_data = vec![0.5; 576]), &["tensor `w2`", "raw_data and float_data"]),
        case("int32_data", of(|t| t.int32_data = vec![1]), &["tensor `w2`", "raw_data and int32_data"]),
        case("segment", of(|t| t.segment = Some(Default::default())), &["tensor `w2`", "segment"]),
    ]);
}

#[test]
fn row_18_types_are_known_and_are_numbers() {
    refused([
        case("none", of(|t| t.data_type = None), &["tensor `w2`", "data type 0"]),
        case("undefined", of(|t| t.data_type = Some(0)), &["tensor `w2`", "data type 0"]),
        case("unknown", of(|t| t.data_type = Some(99)), &["tensor `w2`", "data type 99"]),
        case("negative", of(|t| t.data_type = Some(-1)), &["tensor `w2`", "data type -1"]),
        case("string", of(|t| t.data_type = Some(8)), &["tensor `w2`", "string"]),
        case("bool", of(|t| (t.data_type, t.raw_data) = (Some(9), Some(vec![1; 576].into()))), &["`conv2` (Conv)", "bool"]),
        case("complex", of(|t| (t.data_type, t.raw_data) = (Some(14), Some(vec![0; 4608].into()))), &["`conv2` (Conv)", "complex64"]),
    ]);
}

#[test]
fn rows_14_to_18_hold_in_constants_and_subgraphs_too() {
    let constant = |tensor: TensorProto| {
        regraphed(|g| {
            g.initializer.retain(|old| old.name.as_deref() != Some("w2"));
            g.node.push(with(node("Constant", "k", &[], &["w2"]), [tensor_attribute("value", tensor)]));
        })
    };
    let good = || weights("w2", &[8, 8, 3, 3]);
    taken(constant(good()), &[], &[]);
    let within = |tensor: TensorProto| {
        let mut body = GraphProto { name: Some("body".into()), output: vec![value("inner", &[1])], ..Default::default() };
        body.initializer.push(tensor);
        body.node.push(node("Neg", "neg", &["w9"], &["inner"]));
        regraphed(|g| {
            g.initializer.push(raw("yes", 9, &[], vec![1]));
            let branches = [graph_attribute("then_branch", body.clone()), graph_attribute("else_branch", body)];
            g.node.push(with(node("If", "choose", &["yes"], &["chosen"]), branches));
            g.output.push(value("chosen", &[1]));
        })
    };
    let short = |mut tensor: TensorProto| {
        tensor.dims[0] += 1;
        tensor
    };
    let negative = |mut tensor: TensorProto| {
        tensor.dims[0] = -1;
        tensor
    };
    let nan = |mut tensor: TensorProto| {
        tensor.raw_data = Some(f32::NAN.to_le_bytes().repeat(576).into());
        tensor
    };
    refused([
        case("short constant", constant(short(good())), &["node `k` (Constant)", "bytes of raw_data"]),
        case("negative constant", constant(negative(good())), &["node `k` (Constant)", "-1 is negative"]),
        case("NaN constant", constant(nan(good())), &["node `k` (Constant)", "element 0 is NaN"]),
        case(
            "two values",
            regraphed(|g| g.node.push(with(node("Constant", "k", &[], &["z"]), [int("value_int", 1), float("value_float", 1.0)]))),
            &["node `k` (Constant)"],
        ),
        case("no value", regraphed(|g| g.node.push(node("Constant", "k", &[], &["z"]))), &["node `k` (Constant)", "no value"]),
        case("short in a subgraph", within(short(weights("w9", &[1]))), &["`w9`", "raw_data"]),
        case("negative in a subgraph", within(negative(weights("w9", &[1]))), &["`w9`", "-1 is negative"]),
    ]);
}

#[test]
fn row_42_numbers_that_are_not_finite_are_found() {
    for (number, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let says = ["tensor `w2`", "element 7 is"];
        let model = of(|t| {
            let mut bytes = t.raw_data.clone().unwrap().to_vec();
            bytes[28..32].copy_from_slice(&number.to_le_bytes());
            t.raw_data = Some(bytes.into());
        });
        refused([case(name, model, &says)]);
    }
    let half = |bits: u16| of(|t| (t.data_type, t.raw_data) = (Some(10), Some(bits.to_le_bytes().repeat(576).into())));
    refused([case("half", half(0x7e00), &["tensor `w2`", "element 0 is NaN"])]);
    refused([case("attribute", renode("head", |n| reset(n, float("alpha", f32::NAN))), &["node `head` (Gemm)", "alpha"])]);
}

#[test]
fn row_49_what_is_quantized_already_is_refused() {
    let quantized = |codes: (&str, i32)| {
        regraphed(|g| {
            g.initializer.extend([floats("s", &[], &[0.1]), raw("z", codes.1, &[], vec![0])]);
            g.node.insert(0, node("QuantizeLinear", "q", &["x", "s", "z"], &["xq"]));
            g.node.insert(1, node(codes.0, "dq", &["xq", "s", "z"], &["xd"]));
            find(g, "conv").input[0] = "xd".into();
        })
    };
    refused([case("QDQ", quantized(("DequantizeLinear", 2)), &["already quantized", "`q` (QuantizeLinear)", "--requantize"])]);
    let operator = regraphed(|g| {
        let names = ["xq", "s", "z", "wq", "s", "z", "s", "z"];
        g.initializer.extend([floats("s", &[], &[0.1]), raw("z", 2, &[], vec![0]), raw("wq", 2, &[1, 3, 1, 1], vec![1; 3])]);
        g.node.insert(0, node("QuantizeLinear", "q", &["x", "s", "z"], &["xq"]));
        g.node.insert(1, node("QLinearConv", "qconv", &names, &["yq"]));
        g.node.insert(2, node("DequantizeLinear", "dq", &["yq", "s", "z"], &["yd"]));
        g.output.push(value("yd", &[]));
    });
    refused([case("QOperator", operator, &["already quantized", "--requantize"])]);
    taken(quantized(("DequantizeLinear", 2)), &["--requantize"], &[]);
}

#[test]
fn row_54_channels_without_signal_are_taken() {
    let dead = |numbers: [f32; 576]| of(|t| *t = floats("w2", &[8, 8, 3, 3], &numbers));
    let mut one = [0.25; 576];
    one[..72].fill(0.0);
    taken(dead(one), &[], &[]);
    taken(dead([0.0; 576]), &[], &[]);
    let constant = regraphed(|g| *tensor(g, "wh") = floats("wh", &[4, 8], &[0.0; 32]));
    taken(constant, &[], &[]);
    let relu = regraphed(|g| {
        *tensor(g, "norm.bias") = floats("norm.bias", &[8], &[-100.0; 8]);
    });
    taken(relu, &[], &[]);
}

#[test]
fn row_55_weights_of_any_size_are_taken() {
    for number in [1e-30f32, 1e-38, 1e-45, 1e10, 1e30] {
        let model = of(|t| {
            let mut numbers = [0.25f32; 576];
            for (index, x) in numbers[..72].iter_mut().enumerate() {
                *x = number * if index % 2 == 0 { 1.0 } else { -0.5 };
            }
            *t = floats("w2", &[8, 8, 3, 3], &numbers);
        });
        taken(model, &[], &[]);
    }
}

#[test]
fn row_56_narrow_types_are_decoded_or_refused() {
    let typed = |code: i32, bytes: Vec<u8>| of(|t| (t.data_type, t.raw_data) = (Some(code), Some(bytes.into())));
    refused([
        case("bf16", typed(16, vec![0; 1152]), &["`conv2` (Conv)", "bf16"]),
        case("fp8", typed(17, vec![0; 576]), &["`conv2` (Conv)", "float8e4m3fn"]),
        case("int4", typed(22, vec![0; 288]), &["`conv2` (Conv)", "i4"]),
        case("fp4", typed(23, vec![0; 288]), &["`conv2` (Conv)", "float4e2m1"]),
        case("fp8 that is short", typed(17, vec![0; 575]), &["tensor `w2`", "575"]),
        case("int4 that is short", typed(22, vec![0; 287]), &["tensor `w2`", "287"]),
    ]);
    let cast = regraphed(|g| {
        let numbers: Vec<u8> = (0..576).flat_map(|i: u16| [0, if i.is_multiple_of(2) { 0x3e } else { 0xbe }]).collect();
        *tensor(g, "w2") = raw("half", 16, &[8, 8, 3, 3], numbers);
        g.node.insert(0, with(node("Cast", "widen", &["half"], &["w2"]), [int("to", 1)]));
    });
    written(cast, &[], &[]);
}
