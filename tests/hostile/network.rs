//! A small good network, and parts to make it bad with.

use zeroq::onnx::messages::*;

pub fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

pub fn node(op_type: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.into()),
        name: Some(name.into()),
        input: strings(inputs),
        output: strings(outputs),
        ..Default::default()
    }
}

pub fn with(mut node: NodeProto, attributes: impl IntoIterator<Item = AttributeProto>) -> NodeProto {
    node.attribute.extend(attributes);
    node
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind), ..Default::default() }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, attribute_type::INT) }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, attribute_type::INTS) }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, attribute_type::FLOAT) }
}

pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.into()), ..attribute(name, attribute_type::STRING) }
}

pub fn tensor_attribute(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(Box::new(tensor)), ..attribute(name, attribute_type::TENSOR) }
}

pub fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(Box::new(graph)), ..attribute(name, attribute_type::GRAPH) }
}

pub fn size(size: i64) -> DimensionProto {
    DimensionProto { dim_value: Some(size), ..Default::default() }
}

pub fn open(name: &str) -> DimensionProto {
    DimensionProto { dim_param: Some(name.into()), ..Default::default() }
}

pub fn typed(name: &str, code: i32, dims: &[DimensionProto]) -> ValueInfoProto {
    let tensor_type = TensorTypeProto { elem_type: Some(code), shape: Some(TensorShapeProto { dim: dims.to_vec() }) };
    let r#type = TypeProto { tensor_type: Some(tensor_type), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(r#type), ..Default::default() }
}

pub fn value(name: &str, sizes: &[i64]) -> ValueInfoProto {
    typed(name, 1, &sizes.iter().copied().map(size).collect::<Vec<_>>())
}

pub fn raw(name: &str, code: i32, dims: &[i64], bytes: Vec<u8>) -> TensorProto {
    TensorProto { name: Some(name.into()), dims: dims.to_vec(), data_type: Some(code), raw_data: Some(bytes.into()), ..Default::default() }
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    raw(name, 1, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

pub fn longs(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    raw(name, 7, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// Numbers between −0.5 and 0.5 that look like weights.
pub fn weights(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>();
    let number = |i: i64| ((i * 2_654_435_761 + 12_345) % 1000) as f32 / 1000.0 - 0.5;
    floats(name, dims, &(0..count).map(number).collect::<Vec<_>>())
}

pub fn norm(graph: &mut GraphProto, name: &str, channels: i64, input: &str, output: &str) {
    let part = |part: &str| format!("{name}.{part}");
    let of = |part: &str, low: f32| {
        let values: Vec<f32> = (0..channels).map(|c| low + 0.1 * c as f32).collect();
        floats(&format!("{name}.{part}"), &[channels], &values)
    };
    graph.initializer.extend([of("scale", 0.8), of("bias", 0.1), of("mean", -0.2), of("variance", 0.5)]);
    let inputs = [input.to_string(), part("scale"), part("bias"), part("mean"), part("variance")];
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    graph.node.push(node("BatchNormalization", name, &inputs, &[output]));
}

pub fn model(opset: i64, graph: GraphProto) -> ModelProto {
    let import = OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) };
    ModelProto { ir_version: Some(8), opset_import: vec![import], graph: Some(graph), ..Default::default() }
}

/// `x [batch, 3, 8, 8] → conv → norm → relu → conv2 → norm2 → relu2 → pool → flat → head → y [batch, 4]`.
pub fn network() -> ModelProto {
    let mut graph = GraphProto { name: Some("network".into()), ..Default::default() };
    let image = [open("batch"), size(3), size(8), size(8)];
    graph.input = vec![typed("x", 1, &image)];
    graph.output = vec![typed("y", 1, &[open("batch"), size(4)])];
    graph.initializer = vec![weights("w", &[8, 3, 3, 3]), weights("w2", &[8, 8, 3, 3]), weights("wh", &[4, 8]), weights("bh", &[4])];
    let pads = || ints("pads", &[1, 1, 1, 1]);
    graph.node.push(with(node("Conv", "conv", &["x", "w"], &["c"]), [pads()]));
    norm(&mut graph, "norm", 8, "c", "n");
    graph.node.push(node("Relu", "relu", &["n"], &["r"]));
    graph.node.push(with(node("Conv", "conv2", &["r", "w2"], &["c2"]), [pads()]));
    norm(&mut graph, "norm2", 8, "c2", "n2");
    graph.node.push(node("Relu", "relu2", &["n2"], &["r2"]));
    graph.node.push(node("GlobalAveragePool", "pool", &["r2"], &["p"]));
    graph.node.push(node("Flatten", "flat", &["p"], &["f"]));
    graph.node.push(with(node("Gemm", "head", &["f", "wh", "bh"], &["y"]), [int("transB", 1)]));
    model(17, graph)
}

/// The network, changed.
pub fn changed(change: impl FnOnce(&mut ModelProto, &mut GraphProto)) -> ModelProto {
    let mut model = network();
    let mut graph = model.graph.take().unwrap();
    change(&mut model, &mut graph);
    model.graph = Some(graph);
    model
}

/// The network with another graph around the same nodes.
pub fn regraphed(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    changed(|_, graph| change(graph))
}

/// The network with the node of that name changed.
pub fn renode(name: &str, change: impl FnOnce(&mut NodeProto)) -> ModelProto {
    regraphed(|graph| change(find(graph, name)))
}

/// The network with other weights in the tensor of that name.
pub fn reweighted(name: &str, change: impl FnOnce(&mut TensorProto)) -> ModelProto {
    regraphed(|graph| change(tensor(graph, name)))
}

pub fn find<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut NodeProto {
    graph.node.iter_mut().find(|node| node.name.as_deref() == Some(name)).unwrap()
}

pub fn tensor<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut TensorProto {
    graph.initializer.iter_mut().find(|tensor| tensor.name.as_deref() == Some(name)).unwrap()
}

/// Replaces the attributes of a node of that name, but keeps those of other names.
pub fn reset(node: &mut NodeProto, attribute: AttributeProto) {
    node.attribute.retain(|old| old.name != attribute.name);
    node.attribute.push(attribute);
}
