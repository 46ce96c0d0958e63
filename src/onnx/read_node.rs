//! What a node is: a constant, an operator we know, or one that is carried through.

use std::collections::{BTreeSet, HashSet};

use super::attribute_proto::read_all;
use super::capture::subgraphs;
use super::header::canonical_domain;
use super::messages::NodeProto;
use crate::ops::{self, Attribute, Foreign, NodeForm, Parsed, Refusal};
use crate::tensor::TensorData;

pub fn name(node: &NodeProto) -> &str {
    node.name.as_deref().unwrap_or_default()
}

pub fn op_type(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or_default()
}

pub fn domain(node: &NodeProto) -> &str {
    canonical_domain(node.domain.as_deref().unwrap_or_default())
}

/// The node for messages.
pub fn describe(node: &NodeProto) -> String {
    format!("`{}` ({})", name(node), op_type(node))
}

pub fn is_constant(node: &NodeProto) -> bool {
    op_type(node) == "Constant" && domain(node).is_empty()
}

/// What a node may refer to beside its own message.
pub struct Surroundings {
    pub opset: i64,
    pub tensor_elements: u64,
    /// Domain and name of the model's own functions.
    pub functions: HashSet<(String, String)>,
}

pub enum ReadNode {
    Known(Parsed),
    Foreign(Foreign),
}

/// # Errors
/// If zeroq knows the operator and refuses these attributes.
pub fn read_node(node: &NodeProto, surroundings: &Surroundings) -> Result<ReadNode, Refusal> {
    let own_function = surroundings.functions.contains(&(domain(node).to_string(), op_type(node).to_string()));
    let foreign = |reason: &str| read_foreign(node, reason.to_string(), surroundings.tensor_elements).map(ReadNode::Foreign);
    if own_function {
        return foreign("it calls a function that the model itself defines");
    }
    if !domain(node).is_empty() {
        return foreign(&format!("operators of domain `{}` are not supported", domain(node)));
    }
    if !ops::names().any(|known| known == op_type(node)) {
        return foreign("the operator is not supported");
    }
    let form = NodeForm {
        attributes: read_all(&node.attribute, surroundings.tensor_elements)?,
        opset: surroundings.opset,
        input_count: present(&node.input).len(),
        output_count: present(&node.output).len(),
    };
    match ops::parse(op_type(node), form) {
        Some(parsed) => parsed.map(ReadNode::Known),
        None => foreign("the operator is not supported"),
    }
}

/// `names` without the empty ones at the end, which mean nothing.
pub fn present(names: &[String]) -> &[String] {
    let length = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    &names[..length]
}

fn read_foreign(node: &NodeProto, reason: String, limit: u64) -> Result<Foreign, Refusal> {
    let (op_type, domain) = (op_type(node).to_string(), domain(node).to_string());
    let attributes = read_all(&node.attribute, limit)?;
    Ok(Foreign { op_type, domain, attributes, own_inputs: node.input.len(), inner: inner_operators(node), reason })
}

fn inner_operators(node: &NodeProto) -> BTreeSet<String> {
    let mut operators = BTreeSet::new();
    for inner in subgraphs(&node.attribute).flat_map(|graph| &graph.node) {
        operators.extend(inner_operators(inner));
        if domain(inner).is_empty() {
            operators.insert(op_type(inner).to_string());
        }
    }
    operators
}

/// The tensor of a Constant node.
///
/// # Errors
/// If it has not exactly one value, or one of a kind that is not supported.
pub fn read_constant(node: &NodeProto, limit: u64) -> Result<TensorData, Refusal> {
    let mut attributes = read_all(&node.attribute, limit)?;
    let (name, value) = attributes.0.pop_first().ok_or("it has no value")?;
    attributes.finish()?;
    match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => Ok(tensor),
        ("value_float", Attribute::Float(value)) => Ok(TensorData::scalar(value)),
        ("value_floats", Attribute::Floats(values)) => Ok(TensorData::vector(values)),
        ("value_int", Attribute::Int(value)) => Ok(TensorData::scalar(value)),
        ("value_ints", Attribute::Ints(values)) => Ok(TensorData::vector(values)),
        // Some writers leave the type out of a list without elements.
        ("value_floats", Attribute::Opaque(_)) => Ok(TensorData::vector::<f32>(Vec::new())),
        ("value_ints", Attribute::Opaque(_)) => Ok(TensorData::vector::<i64>(Vec::new())),
        (name, _) => Err(format!("attribute `{name}` is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{AttributeProto, SparseTensorProto, TensorProto, attribute_type};

    fn constant(attributes: Vec<AttributeProto>) -> NodeProto {
        NodeProto { op_type: Some("Constant".into()), attribute: attributes, ..Default::default() }
    }

    fn attribute(name: &str, kind: i32) -> AttributeProto {
        AttributeProto { name: Some(name.into()), r#type: Some(kind), ..Default::default() }
    }

    #[test]
    fn reads_every_kind_of_constant() {
        let tensor = TensorProto { data_type: Some(7), int64_data: vec![5], ..Default::default() };
        let cases = [
            (AttributeProto { t: Some(Box::new(tensor)), ..attribute("value", attribute_type::TENSOR) }, TensorData::scalar(5i64)),
            (AttributeProto { f: Some(0.5), ..attribute("value_float", attribute_type::FLOAT) }, TensorData::scalar(0.5f32)),
            (AttributeProto { i: Some(-2), ..attribute("value_int", attribute_type::INT) }, TensorData::scalar(-2i64)),
            (AttributeProto { floats: vec![1.0], ..attribute("value_floats", attribute_type::FLOATS) }, TensorData::vector(vec![1.0f32])),
            (AttributeProto { ints: vec![1, 2], ..attribute("value_ints", attribute_type::INTS) }, TensorData::vector(vec![1i64, 2])),
            (attribute("value_ints", attribute_type::INTS), TensorData::vector::<i64>(vec![])),
        ];
        for (proto, wanted) in cases {
            assert_eq!(read_constant(&constant(vec![proto]), 1 << 20), Ok(wanted));
        }
    }

    #[test]
    fn refuses_constants_it_cannot_hold() {
        let sparse = AttributeProto {
            sparse_tensor: Some(Box::new(SparseTensorProto::default())),
            ..attribute("sparse_value", attribute_type::SPARSE_TENSOR)
        };
        let cases = [
            (vec![], "no value"),
            (vec![sparse], "`sparse_value` is not supported"),
            (vec![attribute("value_string", attribute_type::STRING)], "`value_string` is not supported"),
            (vec![attribute("value_int", attribute_type::INT), attribute("value_float", attribute_type::FLOAT)], "is not supported"),
        ];
        for (attributes, wanted) in cases {
            let message = read_constant(&constant(attributes), 1 << 20).unwrap_err();
            assert!(message.contains(wanted), "{message} should say {wanted}");
        }
    }
}
