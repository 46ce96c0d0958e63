//! From a [`Model`] to the bytes of its files: all in one, or large tensors in a second.

use prost::Message;
use prost::bytes::Bytes;
use prost::length_delimiter_len;
use sha2::{Digest, Sha256};

use super::external_data::EXTERNAL;
use super::load::hexadecimal;
use super::messages::{ModelProto, StringStringEntryProto, TensorProto};
use super::model::Model;
use super::part::Whole;
use super::tensor_proto::{can_be_left, leave, raw_data, raw_len};
use super::write_graph::{Draft, write_model};
use crate::error::{Error, Result};
use crate::tensor::{TensorData, check_sources};

/// Protobuf readers refuse messages that are larger.
const GREATEST_MESSAGE: u64 = i32::MAX as u64;
/// Tensors begin at multiples of this, which lets readers map the file into memory.
const ALIGNMENT: u64 = 4096;
/// Of the digest that the name of the other file has.
const DIGITS: usize = 16;

/// When tensors go into a file of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Only where one file would be larger than protobuf allows.
    AsNeeded,
    External,
}

/// The bytes of a model's files.
#[derive(Debug)]
pub struct Encoded {
    pub model: Bytes,
    /// Tensors of the other file, with where each begins; empty where all stand in the model.
    external: Vec<(u64, TensorData)>,
    /// Name of the other file, which tells what is in it: see [`is_data_of`].
    pub data_name: String,
}

impl Encoded {
    /// Bytes of both files.
    pub fn len(&self) -> u64 {
        self.model.len() as u64 + self.external_len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is another file.
    pub fn has_data(&self) -> bool {
        !self.external.is_empty()
    }

    /// What stands in the other file, one tensor at a time, with where each begins.
    pub fn data(&self) -> impl Iterator<Item = (u64, Bytes)> {
        self.external.iter().map(|(offset, tensor)| (*offset, raw_data(tensor)))
    }

    /// From now on large constants of `model`, which these are the bytes of, are read from here: they are in memory once.
    ///
    /// # Errors
    /// If these are not the bytes of a model.
    pub fn hold(&self, model: &mut Model) -> Result<()> {
        let proto = ModelProto::decode(self.model.clone()).map_err(|error| Error::Internal(error.to_string()))?;
        let whole = Whole { file: None, bytes: self.model.clone() };
        for tensor in proto.graph.into_iter().flat_map(|graph| graph.initializer).filter(can_be_left) {
            let value = tensor.name.as_deref().and_then(|name| model.graph.find_value(name));
            if let (Some(value), Some(part)) = (value, tensor.raw_data.as_ref().and_then(|raw| whole.part(raw))) {
                model.graph.set_constant(value, leave(&tensor, part, u64::MAX).map_err(Error::Internal)?);
            }
        }
        Ok(())
    }

    fn external_len(&self) -> u64 {
        self.external.last().map_or(0, |(offset, tensor)| offset + raw_len(tensor).unwrap_or(0))
    }
}

/// The model as the bytes of an ONNX file, all tensors inside.
///
/// # Errors
/// If the graph is not well-formed, a tensor cannot be read, or the file would have 2 GiB or more.
pub fn to_bytes(model: &Model) -> Result<Vec<u8>> {
    join(write_model(model)?, GREATEST_MESSAGE)
}

/// Bytes of the model's files together, were they written now.
///
/// # Errors
/// If the graph is not well-formed.
pub fn encoded_len(model: &Model) -> Result<u64> {
    Ok(joined_len(&write_model(model)?))
}

/// The model as the bytes of its files; the first one is to be called `name`, and the second one, if there is one, lies beside
/// it under a name made of that and of its own digest: another model's data never stands in its way.
///
/// # Errors
/// If the graph is not well-formed, a tensor cannot be read, or the first file would have 2 GiB or more.
pub fn encode(model: &Model, name: &str, placement: Placement) -> Result<Encoded> {
    split(write_model(model)?, name, placement, GREATEST_MESSAGE)
}

/// Whether `file` is what [`encode`] calls the data of a model called `model`.
pub fn is_data_of(file: &str, model: &str) -> bool {
    let digest = file.strip_prefix(model).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".data"));
    digest.is_some_and(|digest| digest.len() == DIGITS && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn split(mut draft: Draft, name: &str, placement: Placement, greatest: u64) -> Result<Encoded> {
    if draft.large.is_empty() || placement == Placement::AsNeeded && joined_len(&draft) <= greatest {
        return Ok(Encoded { model: join(draft, greatest)?.into(), external: Vec::new(), data_name: String::new() });
    }
    let mut external: Vec<(u64, TensorData)> = Vec::new();
    let (mut digest, mut end) = (Sha256::new(), 0u64);
    for (_, tensor) in &draft.large {
        let bytes = raw_data(tensor);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(&bytes);
        external.push((end.next_multiple_of(ALIGNMENT), tensor.clone()));
        end = end.next_multiple_of(ALIGNMENT) + bytes.len() as u64;
    }
    let data_name = format!("{name}.{}.data", &hexadecimal(&digest.finalize())[..DIGITS]);
    let initializers = &mut draft.proto.graph.get_or_insert_default().initializer;
    for ((index, _), (offset, tensor)) in draft.large.iter().zip(&external) {
        point_out(&mut initializers[*index], &data_name, *offset, raw_len(tensor).unwrap_or(0));
    }
    Ok(Encoded { model: encode_message(&draft.proto, greatest)?.into(), external, data_name })
}

/// Bytes of the message with all tensors inside.
fn joined_len(draft: &Draft) -> u64 {
    let field = |len: u64| 1 + length_delimiter_len(len as usize) as u64 + len;
    let Some(graph) = &draft.proto.graph else { return draft.proto.encoded_len() as u64 };
    let grown = |(index, tensor): &(usize, TensorData)| {
        let head = graph.initializer[*index].encoded_len() as u64;
        field(head + field(raw_len(tensor).unwrap_or(0))) - field(head)
    };
    let before = graph.encoded_len() as u64;
    let after = before + draft.large.iter().map(grown).sum::<u64>();
    draft.proto.encoded_len() as u64 + field(after) - field(before)
}

fn join(mut draft: Draft, greatest: u64) -> Result<Vec<u8>> {
    let length = joined_len(&draft);
    if length > greatest {
        return Err(too_long(length, greatest));
    }
    let initializers = &mut draft.proto.graph.get_or_insert_default().initializer;
    for (index, tensor) in draft.large {
        initializers[index].raw_data = Some(raw_data(&tensor));
    }
    encode_message(&draft.proto, greatest)
}

/// Says that the bytes of `tensor` lie in the other file.
fn point_out(tensor: &mut TensorProto, location: &str, offset: u64, length: u64) {
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_string()), value: Some(value) };
    let place = [("location", location.to_string()), ("offset", offset.to_string()), ("length", length.to_string())];
    tensor.external_data = place.into_iter().map(|(key, value)| entry(key, value)).collect();
    tensor.data_location = Some(EXTERNAL);
}

fn encode_message(proto: &ModelProto, greatest: u64) -> Result<Vec<u8>> {
    check_sources()?;
    let length = proto.encoded_len() as u64;
    if length > greatest {
        return Err(too_long(length, greatest));
    }
    Ok(proto.encode_to_vec())
}

fn too_long(length: u64, greatest: u64) -> Error {
    Error::Unsupported(vec![format!("the written model would have {length} bytes; ONNX files end at {greatest}")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::convolution;
    use crate::onnx::tensor_proto::write_head;
    use crate::onnx::{Limits, load};

    /// Weights of 4000 and 2400 bytes, and small ones.
    fn model() -> Draft {
        let (mut proto, mut large) = (convolution(), Vec::new());
        let initializers = &mut proto.graph.get_or_insert_default().initializer;
        for (name, tensor) in [("a", TensorData::vector(vec![0.5f32; 1000])), ("b", TensorData::vector(vec![0.25f32; 600]))] {
            large.push((initializers.len(), tensor.clone()));
            initializers.push(write_head(Some(name), &tensor));
        }
        Draft { proto, large }
    }

    #[test]
    fn tensors_go_out_only_as_needed_or_as_told() {
        let whole = join(model(), GREATEST_MESSAGE).unwrap().len() as u64;
        assert_eq!(joined_len(&model()), whole);
        for (placement, greatest, external) in
            [(Placement::AsNeeded, whole, 0), (Placement::AsNeeded, whole - 1, 2), (Placement::External, whole, 2)]
        {
            let encoded = split(model(), "m.onnx", placement, greatest).unwrap();
            assert_eq!(encoded.external.len(), external, "{placement:?} {greatest}");
            assert_eq!(encoded.len(), encoded.model.len() as u64 + if external == 0 { 0 } else { 4096 + 2400 });
        }
        let message = split(model(), "m.onnx", Placement::AsNeeded, 100).unwrap_err().to_string();
        assert!(message.contains("ONNX files end at 100"), "{message}");
    }

    #[test]
    fn other_data_have_another_name() {
        let name = |model: Draft| split(model, "m.onnx", Placement::External, GREATEST_MESSAGE).unwrap().data_name;
        let mut other = model();
        other.large[1].1 = TensorData::vector(vec![0.5f32; 600]);
        assert_eq!(name(model()), name(model()));
        assert_ne!(name(model()), name(other));
        for file in ["m.onnx.data", "m.onnx", "m.onnx.0123456789abcdeF.data", "n.onnx.0123456789abcdef.data", "m.onnx.0123456789abcdef"] {
            assert!(!is_data_of(file, "m.onnx"), "{file}");
        }
    }

    #[test]
    fn what_is_written_outside_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let encoded = split(model(), "m.onnx", Placement::External, GREATEST_MESSAGE).unwrap();
        let mut data = vec![0; encoded.external_len() as usize];
        for (offset, bytes) in encoded.data() {
            data[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        assert!(is_data_of(&encoded.data_name, "m.onnx"), "{}", encoded.data_name);
        std::fs::write(folder.path().join(&encoded.data_name), data).unwrap();
        std::fs::write(folder.path().join("m.onnx"), &encoded.model).unwrap();
        let mut read = ModelProto::decode(&encoded.model[..]).unwrap();
        let found = super::super::external_data::read_external_data(
            &mut read,
            folder.path(),
            Whole { file: None, bytes: Bytes::new() },
            &Limits::default(),
        )
        .unwrap();
        assert_eq!((read.encode_to_vec(), found.bytes), (join(model(), GREATEST_MESSAGE).unwrap(), 6400));
        assert_eq!(load(folder.path().join("m.onnx"), &Limits::default()).unwrap().external_files.len(), 1);
    }
}
