//! Rows 35 to 41, 43 to 48, 50 to 53 and 69: nodes whose numbers contradict each other, and nodes that are only odd.

use zeroq::onnx::messages::*;

use super::network::*;
use super::program::*;

fn conv(attribute: AttributeProto) -> ModelProto {
    renode("conv2", |n| reset(n, attribute))
}

#[test]
fn row_35_groups_divide_the_channels() {
    refused([
        case("0", conv(int("group", 0)), &["node `conv2` (Conv)", "group=0"]),
        case("negative", conv(int("group", -1)), &["node `conv2` (Conv)", "group=-1"]),
        case("not dividing", conv(int("group", 3)), &["node `conv2` (Conv)", "3"]),
        case("huge", conv(int("group", i64::MAX)), &["node `conv2` (Conv)"]),
        case("of another type", conv(float("group", 1.0)), &["node `conv2` (Conv)", "group"]),
    ]);
    let uneven = regraphed(|g| {
        *tensor(g, "w2") = weights("w2", &[8, 4, 3, 3]);
        reset(find(g, "conv2"), int("group", 2));
        *tensor(g, "w") = weights("w", &[8, 1, 3, 3]);
        reset(find(g, "conv"), int("group", 3));
    });
    refused([case("outputs", uneven, &["node `conv` (Conv)", "group=3 does not divide 8"])]);
}

#[test]
fn row_36_strides_dilations_kernels_and_pads_are_sizes_of_the_right_number() {
    let name = "node `conv2` (Conv)";
    refused([
        case("stride 0", conv(ints("strides", &[0, 0])), &[name, "strides"]),
        case("stride negative", conv(ints("strides", &[-1, 1])), &[name, "strides"]),
        case("one stride", conv(ints("strides", &[1])), &[name, "strides=[1] has 1 entries, expected 2"]),
        case("dilation 0", conv(ints("dilations", &[0, 1])), &[name, "dilations"]),
        case("three dilations", conv(ints("dilations", &[1, 1, 1])), &[name, "dilations"]),
        case("huge dilation", conv(ints("dilations", &[i64::MAX, i64::MAX])), &[name, "out of range"]),
        case("kernel of rank 1", conv(ints("kernel_shape", &[3])), &[name, "kernel_shape"]),
        case("another kernel", conv(ints("kernel_shape", &[5, 5])), &[name, "kernel_shape=[5, 5]"]),
        case("kernel 0", conv(ints("kernel_shape", &[0, 0])), &[name, "kernel_shape"]),
        case("negative pads", conv(ints("pads", &[-1, 0, 0, 0])), &[name, "pads"]),
        case("two pads", conv(ints("pads", &[1, 1])), &[name, "pads=[1, 1] has 2 entries, expected 4"]),
        case("large dilation", conv(ints("dilations", &[1 << 30, 1 << 30])), &[name, "does not fit"]),
        case("pads of 2^40", conv(ints("pads", &[1 << 40, 0, 1 << 40, 0])), &[name, "out of range"]),
        case("pads of 2^20", conv(ints("pads", &[1 << 20, 1 << 20, 0, 0])), &[name, "elements"]),
        case("pads of 2^62", conv(ints("pads", &[1 << 62, 1 << 62, 1 << 62, 1 << 62])), &[name, "out of range"]),
        case("auto_pad", conv(text("auto_pad", "MAYBE")), &[name, "auto_pad=MAYBE"]),
        case("unknown attribute", conv(int("colour", 1)), &[name, "colour"]),
        case("attribute twice", renode("conv2", |n| n.attribute.push(n.attribute[0].clone())), &[name, "`pads` stands twice"]),
        case("attribute without name", renode("conv2", |n| n.attribute[0].name = None), &[name, "no name"]),
    ]);
}

#[test]
fn row_36_pools_slide_by_the_same_rules() {
    let pool = |op_type: &str, attributes: Vec<AttributeProto>| {
        renode("pool", |n| {
            n.op_type = Some(op_type.into());
            n.attribute = attributes;
        })
    };
    let name = |op_type: &str| if op_type == "MaxPool" { "node `pool` (MaxPool)" } else { "node `pool` (AveragePool)" };
    for op_type in ["MaxPool", "AveragePool"] {
        let kernel = || ints("kernel_shape", &[8, 8]);
        refused([
            case("no kernel", pool(op_type, vec![]), &[name(op_type), "kernel_shape"]),
            case("kernel 0", pool(op_type, vec![ints("kernel_shape", &[0, 8])]), &[name(op_type), "kernel_shape"]),
            case("kernel too large", pool(op_type, vec![ints("kernel_shape", &[9, 9])]), &[name(op_type), "does not fit"]),
            case("kernel of rank 1", pool(op_type, vec![ints("kernel_shape", &[8])]), &[name(op_type)]),
            case("stride 0", pool(op_type, vec![kernel(), ints("strides", &[0, 1])]), &[name(op_type), "strides"]),
            case("pads of 2^40", pool(op_type, vec![kernel(), ints("pads", &[1 << 40; 4])]), &[name(op_type)]),
            case("negative pads", pool(op_type, vec![kernel(), ints("pads", &[-1, 0, 0, 0])]), &[name(op_type), "pads"]),
        ]);
    }
}

#[test]
fn row_37_weights_fit_their_input() {
    let of = |dims: &[i64]| regraphed(|g| *tensor(g, "w2") = weights("w2", dims));
    let name = "node `conv2` (Conv)";
    let gemm = |dims: &[i64]| regraphed(|g| *tensor(g, "wh") = weights("wh", dims));
    refused([
        case("rank 3", of(&[8, 8, 3]), &[name, "rank 4"]),
        case("rank 5", of(&[8, 8, 3, 3, 1]), &[name, "rank 4"]),
        case("rank 0", of(&[]), &[name, "rank 4"]),
        case("channels", of(&[8, 7, 3, 3]), &[name, "8 channels", "7"]),
        case("outputs", of(&[9, 8, 3, 3]), &["node `norm2` (BatchNormalization)", "8", "9"]),
        case("empty", of(&[0, 8, 3, 3]), &[name, "empty"]),
        case("empty kernel", of(&[8, 8, 0, 3]), &[name, "empty"]),
        case("type", regraphed(|g| *tensor(g, "w2") = longs("w2", &[1, 8, 1, 1], &[1; 8])), &[name, "i64"]),
        case("Gemm", gemm(&[4, 9]), &["node `head` (Gemm)", "9"]),
        case("Gemm rank", gemm(&[4, 8, 1]), &["node `head` (Gemm)"]),
        case("Gemm bias", regraphed(|g| *tensor(g, "bh") = weights("bh", &[5])), &["node `head` (Gemm)", "5"]),
    ]);
}

#[test]
fn row_38_a_convolution_with_computed_weights_stays_float() {
    let bent = regraphed(|g| {
        g.input = vec![value("x", &[1, 3, 8, 8]), value("k", &[8, 8, 3, 3])];
        find(g, "conv2").input[1] = "k".into();
    });
    let run = taken(bent, &["--input-range", "unit"], &[]);
    assert!((run.stdout.clone() + &run.stderr).contains("conv2"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn row_39_automatic_and_asymmetric_pads_are_taken() {
    for (attribute, kernel) in [("SAME_UPPER", 2), ("SAME_LOWER", 2), ("VALID", 3)] {
        let model = regraphed(|g| {
            *tensor(g, "w2") = weights("w2", &[8, 8, kernel, kernel]);
            find(g, "conv2").attribute = vec![text("auto_pad", attribute)];
        });
        taken(model, &[], &[]);
    }
    taken(conv(ints("pads", &[0, 2, 1, 0])), &[], &[]);
}

#[test]
fn row_40_inputs_are_measured_before_anything_is_allocated() {
    let of = |sizes: &[i64]| regraphed(|g| g.input[0] = value("x", sizes));
    refused([
        case("2^31 x 2^31", of(&[1, 3, 1 << 31, 1 << 31]), &["`x`", "tensor-elements"]),
        case("2^62", of(&[1, 3, 1 << 62, 1 << 62]), &["`x`", "elements"]),
        case("a batch of 2^40", of(&[1 << 40, 3, 8, 8]), &["`x`", "elements"]),
        case("40000 x 40000", of(&[1, 3, 40_000, 40_000]), &["`x`", "elements"]),
        case("20000 x 20000", of(&[1, 3, 20_000, 20_000]), &["`conv` (Conv)", "elements"]),
        case("no channels", of(&[1, 0, 8, 8]), &["input `x`", "0"]),
        case("no height", of(&[1, 3, 0, 8]), &["input `x`", "dimension 2 is 0", "--shape x="]),
        case("negative", of(&[1, 3, -8, 8]), &["input `x`", "-8"]),
        case("rank 0", of(&[]), &["`conv` (Conv)", "rank 0"]),
        case("rank 2", of(&[1, 192]), &["`conv` (Conv)", "rank 2"]),
        case("rank 9", of(&[1; 9]), &["`conv` (Conv)", "rank 9"]),
        case("five channels", of(&[1, 5, 8, 8]), &["`conv` (Conv)", "5 channels"]),
    ]);
}

#[test]
fn row_40_what_a_node_makes_is_measured_too() {
    let shaped = |op_type: &str, sizes: &[i64]| {
        let sizes = longs("sizes", &[sizes.len() as i64], sizes);
        regraphed(|g| {
            g.initializer.push(sizes);
            let inputs: &[&str] = if op_type == "ConstantOfShape" { &["sizes"] } else { &["bh", "sizes"] };
            g.node.push(node(op_type, "large", inputs, &["big"]));
            g.output.push(value("big", &[]));
        })
    };
    let resized = |scale: f32| {
        regraphed(|g| {
            g.initializer.push(floats("scales", &[4], &[1.0, 1.0, scale, scale]));
            g.node.push(node("Resize", "large", &["r2", "", "scales"], &["big"]));
            find(g, "pool").input[0] = "big".into();
        })
    };
    let name = "node `large`";
    refused([
        case("ConstantOfShape", shaped("ConstantOfShape", &[1 << 40]), &[name, "elements"]),
        case("ConstantOfShape that wraps", shaped("ConstantOfShape", &[1 << 32, 1 << 32]), &[name, "elements"]),
        case("ConstantOfShape negative", shaped("ConstantOfShape", &[-4]), &[name, "-4"]),
        case("Expand", shaped("Expand", &[1 << 40, 4]), &[name, "elements"]),
        case("Expand that wraps", shaped("Expand", &[1 << 31, 1 << 31, 4]), &[name, "elements"]),
        case("Resize", resized(1e6), &[name, "elements"]),
        case("Resize to infinity", resized(f32::MAX), &[name]),
        case("Resize to nothing", resized(1e-9), &[name]),
    ]);
}

#[test]
fn row_41_open_sizes_are_asked_for_and_an_open_batch_stays() {
    let of = |dims: &[DimensionProto]| regraphed(|g| g.input[0] = typed("x", 1, dims));
    let square = of(&[open("n"), size(3), open("side"), open("side")]);
    taken(square.clone(), &["--shape", "x=1x3x8x8"], &[]);
    taken(of(&[open(""), size(3), size(8), size(8)]), &[], &[]);
    let written = taken(network(), &[], &[]).written.graph.unwrap();
    assert_eq!(written.input, network().graph.unwrap().input);
    refused([
        case("channels", of(&[open("n"), open("c"), size(8), size(8)]), &["`x`", "--shape x="]),
        case("another rank", square.clone(), &["--shape x"]).flags(&["--shape", "x=1x3x8"]),
        case("no square", square.clone(), &["--shape x", "`side`", "8"]).flags(&["--shape", "x=1x3x8x10"]),
        case("another input", square, &["--shape z", "`x`"]).flags(&["--shape", "z=1x3x8x8"]),
        case("another size", network(), &["--shape x"]).flags(&["--shape", "x=1x3x9x8"]),
        case("no shape", regraphed(|g| g.input[0] = untyped_shape()), &["`x`", "--shape x="]),
    ]);
}

fn untyped_shape() -> ValueInfoProto {
    let tensor_type = TensorTypeProto { elem_type: Some(1), shape: None };
    ValueInfoProto {
        name: Some("x".into()),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type), ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn row_43_variances_are_positive() {
    let of = |values: [f32; 8]| regraphed(|g| *tensor(g, "norm.variance") = floats("norm.variance", &[8], &values));
    let nan = f32::NAN;
    let zero = regraphed(|g| {
        *tensor(g, "norm.variance") = floats("norm.variance", &[8], &[1., 1., 0., 1., 1., 1., 1., 1.]);
        reset(find(g, "norm"), float("epsilon", 0.0));
    });
    let name = "node `norm` (BatchNormalization)";
    refused([
        case("negative", of([1., 1., 1., -1., 1., 1., 1., 1.]), &[name, "variance", "3"]),
        case("NaN", of([1., nan, 1., 1., 1., 1., 1., 1.]), &["tensor `norm.variance`: element 1 is NaN"]),
        case("0 with epsilon 0", zero, &[name, "variance", "2"]),
        case("epsilon NaN", renode("norm", |n| reset(n, float("epsilon", nan))), &[name, "epsilon"]),
        case("epsilon negative", renode("norm", |n| reset(n, float("epsilon", -1.0))), &[name, "epsilon"]),
        case("length", regraphed(|g| *tensor(g, "norm.mean") = weights("norm.mean", &[7])), &[name, "7"]),
        case("rank", regraphed(|g| *tensor(g, "norm.mean") = weights("norm.mean", &[8, 1])), &[name, "rank 1"]),
        case("inputs", renode("norm", |n| n.input.truncate(4)), &[name, "input 4 is missing"]),
    ]);
    taken(of([1., 1., 0., 1., 1., 1., 1., 1.]), &[], &[]);
}

#[test]
fn row_44_a_norm_that_trains_becomes_inference_where_nobody_reads_its_statistics() {
    let old = changed(|m, g| {
        (m.ir_version, m.opset_import[0].version) = (Some(7), Some(12));
        find(g, "norm").output.extend(strings(&["m1", "v1", "m2", "v2"]));
    });
    taken(old, &[], &[]);
    let training = |outputs: &[&str]| {
        renode("norm", |n| {
            n.attribute.push(int("training_mode", 1));
            n.output.extend(strings(outputs));
        })
    };
    written(training(&["m1", "v1"]), &[], &["exported in training mode and are taken for inference", "`norm` (BatchNormalization)"]);
    let mut read = training(&["m1", "v1"]);
    read.graph.as_mut().unwrap().output.push(value("m1", &[8]));
    refused([case("read", read, &["node `norm` (BatchNormalization)", "training_mode=1"])]);
}

#[test]
fn row_45_a_norm_that_was_never_trained_is_told_of() {
    let model = regraphed(|g| {
        for name in ["norm", "norm2"] {
            for (part, number) in [("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0)] {
                let name = format!("{name}.{part}");
                *tensor(g, &name) = floats(&name, &[8], &[number; 8]);
            }
        }
    });
    taken(model, &["--input-range", "unit"], &["warning: ", "mean 0"]);
}

/// Without BatchNormalization.
fn folded() -> ModelProto {
    regraphed(|g| {
        g.node.retain(|node| node.op_type.as_deref() != Some("BatchNormalization"));
        find(g, "relu").input[0] = "c".into();
        find(g, "relu2").input[0] = "c2".into();
    })
}

#[test]
fn row_46_a_network_without_batch_normalization_is_taken_with_a_warning() {
    taken(folded(), &["--input-range", "unit"], &["warning: the model has no BatchNormalization"]);
    refused([case("required", folded(), &["BatchNormalization", "--require-bn"]).flags(&["--require-bn"])]);
    taken(network(), &["--require-bn"], &[]);
}

#[test]
fn row_48_nothing_to_quantize_is_an_error() {
    let plain = || {
        regraphed(|g| {
            g.node = vec![node("Relu", "relu", &["x"], &["y"])];
            g.initializer.clear();
            g.output = vec![typed("y", 1, &[open("batch"), size(3), size(8), size(8)])];
        })
    };
    refused([case("a Relu", plain(), &["nothing to quantize"]).flags(&["--input-range", "unit"])]);
}

#[test]
fn row_50_inputs_of_other_types() {
    let of = |code: i32| regraphed(|g| g.input[0] = typed("x", code, &[open("batch"), size(3), size(8), size(8)]));
    refused([
        case("fp16", of(10), &["`conv` (Conv)", "f16"]),
        case("double", of(11), &["`conv` (Conv)", "f64"]),
        case("uint8", of(2), &["`conv` (Conv)", "u8"]),
        case("int64", of(7), &["`conv` (Conv)", "i64"]),
        case("string", of(8), &["`conv` (Conv)", "type string"]),
        case("undefined", of(0), &["input `x`", "element type"]),
        case("unknown", of(99), &["`conv` (Conv)", "type99"]),
        case("negative", of(-1), &["input `x`", "element type"]),
    ]);
    let cast = regraphed(|g| {
        g.input[0] = typed("x", 2, &[open("batch"), size(3), size(8), size(8)]);
        g.initializer.push(floats("byte", &[], &[255.0]));
        g.node.insert(0, with(node("Cast", "cast", &["x"], &["xf"]), [int("to", 1)]));
        g.node.insert(1, node("Div", "div", &["xf", "byte"], &["xd"]));
        find(g, "conv").input[0] = "xd".into();
    });
    taken(cast, &[], &[]);
}

#[test]
fn row_51_several_inputs_are_synthesized_each_by_its_shape() {
    let model = regraphed(|g| {
        g.input.push(value("bonus", &[1, 4]));
        find(g, "head").output[0] = "h".into();
        g.node.push(node("Add", "add", &["h", "bonus"], &["y"]));
    });
    taken(model, &["--input-range", "unit"], &[]);
}

#[test]
fn row_52_weights_may_be_shared() {
    let twice = regraphed(|g| {
        g.node.insert(6, with(node("Conv", "conv3", &["r2", "w2"], &["c3"]), [ints("pads", &[1, 1, 1, 1])]));
        find(g, "pool").input[0] = "c3".into();
    });
    taken(twice, &[], &[]);
    let ordinary = regraphed(|g| {
        g.node.push(node("Add", "add", &["y", "bh"], &["z"]));
        g.output[0].name = Some("z".into());
        g.node.push(node("Relu", "abs", &["w2"], &["a"]));
        g.output.push(value("a", &[8, 8, 3, 3]));
    });
    taken(ordinary, &[], &[]);
}

#[test]
fn row_53_clip_bounds_are_attributes_inputs_or_missing() {
    let old = changed(|m, g| {
        (m.ir_version, m.opset_import[0].version) = (Some(6), Some(10));
        let relu = find(g, "relu");
        relu.op_type = Some("Clip".into());
        relu.attribute = vec![float("min", 0.0), float("max", 6.0)];
    });
    taken(old, &[], &[]);
    for bounds in [&["low", "high"][..], &["", "high"], &["low"], &[]] {
        let model = regraphed(|g| {
            g.initializer.extend([floats("low", &[], &[0.0]), floats("high", &[], &[6.0])]);
            let relu = find(g, "relu");
            relu.op_type = Some("Clip".into());
            relu.input.extend(strings(bounds));
        });
        taken(model, &[], &[]);
    }
}

#[test]
fn row_69_a_network_that_makes_no_numbers_is_refused() {
    let model = regraphed(|g| {
        g.initializer.push(floats("minus", &[], &[-1.0e9]));
        g.node.insert(3, node("Add", "sink", &["r", "minus"], &["s"]));
        g.node.insert(4, node("Sqrt", "root", &["s"], &["nan"]));
        find(g, "conv2").input[0] = "nan".into();
    });
    refused([case("NaN", model, &["`root`", "NaN"])]);
}
