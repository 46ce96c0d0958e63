//! Attributes between their ONNX message and [`Attribute`].

use prost::Message;

use super::messages::{AttributeProto, attribute_type};
use super::tensor_proto;
use crate::ops::{Attribute, Attributes, Refusal};

/// Attributes of a node by name.
///
/// # Errors
/// If an attribute has no name, stands twice, or holds a malformed tensor.
pub fn read_all(protos: &[AttributeProto], limit: u64) -> Result<Attributes, Refusal> {
    let mut attributes = Attributes::default();
    for proto in protos {
        let name = proto.name.as_deref().filter(|name| !name.is_empty()).ok_or("an attribute has no name")?;
        let value = read(proto, limit).map_err(|reason| format!("attribute `{name}`: {reason}"))?;
        if attributes.0.insert(name.to_string(), value).is_some() {
            return Err(format!("attribute `{name}` stands twice"));
        }
    }
    Ok(attributes)
}

fn read(proto: &AttributeProto, limit: u64) -> Result<Attribute, Refusal> {
    let opaque = || Attribute::Opaque(proto.encode_to_vec());
    if proto.ref_attr_name.as_deref().is_some_and(|name| !name.is_empty()) {
        return Ok(opaque());
    }
    Ok(match kind(proto) {
        attribute_type::FLOAT => Attribute::Float(proto.f.unwrap_or_default()),
        attribute_type::INT => Attribute::Int(proto.i.unwrap_or_default()),
        attribute_type::STRING => text(proto.s.as_deref().unwrap_or_default()).map_or_else(opaque, Attribute::String),
        attribute_type::TENSOR => match &proto.t {
            Some(tensor) if tensor.data_type == Some(tensor_proto::STRING) => {
                tensor_proto::check(tensor, limit)?;
                opaque()
            }
            Some(tensor) => Attribute::Tensor(tensor_proto::read(tensor, limit)?),
            None => return Err("the tensor is missing".to_string()),
        },
        attribute_type::FLOATS => Attribute::Floats(proto.floats.clone()),
        attribute_type::INTS => Attribute::Ints(proto.ints.clone()),
        attribute_type::STRINGS => proto.strings.iter().map(|s| text(s)).collect::<Option<_>>().map_or_else(opaque, Attribute::Strings),
        _ => opaque(),
    })
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// The declared type; old files leave it out, then the field that is set tells.
fn kind(proto: &AttributeProto) -> i32 {
    if let Some(kind) = proto.r#type.filter(|kind| *kind != 0) {
        return kind;
    }
    let set = [
        (proto.f.is_some(), attribute_type::FLOAT),
        (proto.i.is_some(), attribute_type::INT),
        (proto.s.is_some(), attribute_type::STRING),
        (proto.t.is_some(), attribute_type::TENSOR),
        (!proto.floats.is_empty(), attribute_type::FLOATS),
        (!proto.ints.is_empty(), attribute_type::INTS),
        (!proto.strings.is_empty(), attribute_type::STRINGS),
    ];
    set.iter().find(|(is_set, _)| *is_set).map_or(0, |(_, kind)| *kind)
}

/// The messages of `attributes`, sorted by name.
///
/// # Errors
/// If the bytes of an opaque attribute are not those of a message.
pub fn write_all(attributes: &Attributes) -> Result<Vec<AttributeProto>, Refusal> {
    let one = |(name, value): (&String, &Attribute)| write(name, value).map_err(|reason| format!("attribute `{name}`: {reason}"));
    attributes.0.iter().map(one).collect()
}

fn write(name: &str, value: &Attribute) -> Result<AttributeProto, Refusal> {
    let typed = |kind| AttributeProto { name: Some(name.to_string()), r#type: Some(kind), ..Default::default() };
    Ok(match value {
        Attribute::Int(i) => AttributeProto { i: Some(*i), ..typed(attribute_type::INT) },
        Attribute::Float(f) => AttributeProto { f: Some(*f), ..typed(attribute_type::FLOAT) },
        Attribute::String(s) => AttributeProto { s: Some(s.clone().into_bytes()), ..typed(attribute_type::STRING) },
        Attribute::Tensor(tensor) => {
            let tensor = tensor_proto::write(None, tensor)?;
            AttributeProto { t: Some(Box::new(tensor)), ..typed(attribute_type::TENSOR) }
        }
        Attribute::Ints(ints) => AttributeProto { ints: ints.clone(), ..typed(attribute_type::INTS) },
        Attribute::Floats(floats) => AttributeProto { floats: floats.clone(), ..typed(attribute_type::FLOATS) },
        Attribute::Strings(strings) => {
            AttributeProto { strings: strings.iter().map(|s| s.clone().into_bytes()).collect(), ..typed(attribute_type::STRINGS) }
        }
        Attribute::Opaque(bytes) => AttributeProto::decode(&bytes[..]).map_err(|error| error.to_string())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::GraphProto;
    use crate::tensor::TensorData;

    #[test]
    fn attributes_survive_writing_and_reading() {
        let graph = AttributeProto {
            name: Some("body".into()),
            r#type: Some(attribute_type::GRAPH),
            g: Some(Box::new(GraphProto { name: Some("inner".into()), ..Default::default() })),
            ..Default::default()
        };
        let attributes = Attributes::default()
            .int("i", 0)
            .float("f", 0.5)
            .string("s", "")
            .ints("ints", &[1, -2])
            .with("floats", Attribute::Floats(vec![0.0, 1.0]))
            .with("strings", Attribute::Strings(vec!["a".into()]))
            .with("t", Attribute::Tensor(TensorData::vector(vec![1i64])))
            .with("body", Attribute::Opaque(graph.encode_to_vec()));
        assert_eq!(read_all(&write_all(&attributes).unwrap(), 1 << 20).unwrap(), attributes);
    }

    #[test]
    fn tells_the_type_where_an_old_file_leaves_it_out() {
        let proto = AttributeProto { name: Some("axis".into()), i: Some(3), ..Default::default() };
        assert_eq!(read_all(&[proto], 1).unwrap(), Attributes::default().int("axis", 3));
    }

    #[test]
    fn refuses_attributes_without_name_or_twice() {
        let named = AttributeProto { name: Some("axis".into()), i: Some(3), ..Default::default() };
        assert!(read_all(&[AttributeProto::default()], 1).unwrap_err().contains("no name"));
        assert!(read_all(&[named.clone(), named], 1).unwrap_err().contains("stands twice"));
    }
}
