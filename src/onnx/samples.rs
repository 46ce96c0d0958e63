//! Small models for the tests of this module.

use prost::Message;

use super::messages::*;

pub fn encoded(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

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

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(attribute_type::INTS), ints: values.to_vec(), ..Default::default() }
}

pub fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(attribute_type::GRAPH), g: Some(Box::new(graph)), ..Default::default() }
}

pub fn value(name: &str, dims: &[Result<i64, &str>]) -> ValueInfoProto {
    let dim = |dim: &Result<i64, &str>| match dim {
        Ok(size) => DimensionProto { dim_value: Some(*size), ..Default::default() },
        Err(symbol) => DimensionProto { dim_param: Some(symbol.to_string()), ..Default::default() },
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: Some(1), shape });
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type, ..Default::default() }), ..Default::default() }
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(1),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..Default::default()
    }
}

pub fn model(opset: i64, graph: GraphProto) -> ModelProto {
    let import = OperatorSetIdProto { domain: Some(String::new()), version: Some(opset) };
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("sample".into()),
        opset_import: vec![import],
        metadata_props: vec![StringStringEntryProto { key: Some("origin".into()), value: Some("test".into()) }],
        graph: Some(graph),
        ..Default::default()
    }
}

/// `x [batch, 1, 3, 3] → Conv → Relu → y [batch, 2, 2, 2]`.
pub fn convolution() -> ModelProto {
    let mut conv = node("Conv", "conv", &["x", "w"], &["c"]);
    conv.attribute = vec![ints("kernel_shape", &[2, 2])];
    model(
        17,
        GraphProto {
            name: Some("sample".into()),
            node: vec![conv, node("Relu", "relu", &["c"], &["y"])],
            initializer: vec![floats("w", &[2, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0, -1.0, -2.0, -3.0, -4.0])],
            input: vec![value("x", &[Err("batch"), Ok(1), Ok(3), Ok(3)])],
            output: vec![value("y", &[Err("batch"), Ok(2), Ok(2), Ok(2)])],
            value_info: vec![value("c", &[Err("batch"), Ok(2), Ok(2), Ok(2)])],
            ..Default::default()
        },
    )
}
