//! From a [`Model`] to the bytes of its files: all in one, or large tensors in a second.

use prost::Message;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use super::external_data::EXTERNAL;
use super::load::hexadecimal;
use super::messages::{ModelProto, StringStringEntryProto, TensorProto};
use super::model::Model;
use super::write_graph::write_model;
use crate::error::{Error, Result};

/// Protobuf readers refuse messages that are larger.
const GREATEST_MESSAGE: usize = i32::MAX as usize;
/// Tensors of fewer bytes stay in the model, as other writers keep them.
const LEAST_EXTERNAL: usize = 1024;
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
    pub model: Vec<u8>,
    /// Tensors of the other file, with where each begins; empty where all stand in the model.
    pub external: Vec<(u64, Bytes)>,
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

    fn external_len(&self) -> u64 {
        self.external.last().map_or(0, |(offset, bytes)| offset + bytes.len() as u64)
    }
}

/// The model as the bytes of an ONNX file, all tensors inside.
///
/// # Errors
/// If the graph is not well-formed, or the file would have 2 GiB or more.
pub fn to_bytes(model: &Model) -> Result<Vec<u8>> {
    encode_message(&write_model(model)?, GREATEST_MESSAGE)
}

/// The model as the bytes of its files; the first one is to be called `name`, and the second one, if there is one, lies beside
/// it under a name made of that and of its own digest: another model's data never stands in its way.
///
/// # Errors
/// If the graph is not well-formed, or the first file would have 2 GiB or more.
pub fn encode(model: &Model, name: &str, placement: Placement) -> Result<Encoded> {
    split(write_model(model)?, name, placement, GREATEST_MESSAGE)
}

/// Whether `file` is what [`encode`] calls the data of a model called `model`.
pub fn is_data_of(file: &str, model: &str) -> bool {
    let digest = file.strip_prefix(model).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".data"));
    digest.is_some_and(|digest| digest.len() == DIGITS && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn split(mut proto: ModelProto, name: &str, placement: Placement, greatest: usize) -> Result<Encoded> {
    if placement == Placement::AsNeeded && proto.encoded_len() <= greatest {
        return Ok(Encoded { model: encode_message(&proto, greatest)?, external: Vec::new(), data_name: String::new() });
    }
    let initializers = proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    let mut large: Vec<&mut TensorProto> = initializers.filter(|tensor| is_large(tensor)).collect();
    let mut external: Vec<(u64, Bytes)> = Vec::new();
    let mut digest = Sha256::new();
    for bytes in large.iter_mut().filter_map(|tensor| tensor.raw_data.take()) {
        let end = external.last().map_or(0, |(offset, bytes)| offset + bytes.len() as u64);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(&bytes);
        external.push((end.next_multiple_of(ALIGNMENT), bytes));
    }
    let digits = &hexadecimal(&digest.finalize())[..DIGITS];
    let data_name = if external.is_empty() { String::new() } else { format!("{name}.{digits}.data") };
    for (tensor, (offset, bytes)) in large.into_iter().zip(&external) {
        point_out(tensor, &data_name, *offset, bytes.len());
    }
    Ok(Encoded { model: encode_message(&proto, greatest)?, external, data_name })
}

fn is_large(tensor: &TensorProto) -> bool {
    tensor.raw_data.as_ref().is_some_and(|bytes| bytes.len() >= LEAST_EXTERNAL)
}

/// Says that the bytes of `tensor` lie in the other file.
fn point_out(tensor: &mut TensorProto, location: &str, offset: u64, length: usize) {
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_string()), value: Some(value) };
    let place = [("location", location.to_string()), ("offset", offset.to_string()), ("length", length.to_string())];
    tensor.external_data = place.into_iter().map(|(key, value)| entry(key, value)).collect();
    tensor.data_location = Some(EXTERNAL);
}

fn encode_message(proto: &ModelProto, greatest: usize) -> Result<Vec<u8>> {
    let length = proto.encoded_len();
    if length > greatest {
        return Err(Error::Unsupported(vec![format!("the written model would have {length} bytes; ONNX files end at {greatest}")]));
    }
    Ok(proto.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::{convolution, floats};
    use crate::onnx::{Limits, load};

    /// Weights of 4000 and 2400 bytes, and small ones.
    fn model() -> ModelProto {
        let mut model = convolution();
        let graph = model.graph.get_or_insert_default();
        graph.initializer.push(floats("a", &[1000], &[0.5; 1000]));
        graph.initializer.push(floats("b", &[600], &[0.25; 600]));
        model
    }

    #[test]
    fn tensors_go_out_only_as_needed_or_as_told() {
        let whole = model().encoded_len();
        for (placement, greatest, external) in
            [(Placement::AsNeeded, whole, 0), (Placement::AsNeeded, whole - 1, 2), (Placement::External, whole, 2)]
        {
            let encoded = split(model(), "m.onnx", placement, greatest).unwrap();
            assert_eq!(encoded.external.len(), external, "{placement:?} {greatest}");
            assert_eq!(encoded.len() as usize, encoded.model.len() + if external == 0 { 0 } else { 4096 + 2400 });
        }
        let message = split(model(), "m.onnx", Placement::AsNeeded, 100).unwrap_err().to_string();
        assert!(message.contains("ONNX files end at 100"), "{message}");
    }

    #[test]
    fn other_data_have_another_name() {
        let name = |model: ModelProto| split(model, "m.onnx", Placement::External, GREATEST_MESSAGE).unwrap().data_name;
        let mut other = model();
        other.graph.get_or_insert_default().initializer.push(floats("c", &[600], &[0.25; 600]));
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
        for (offset, bytes) in &encoded.external {
            data[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        assert!(is_data_of(&encoded.data_name, "m.onnx"), "{}", encoded.data_name);
        std::fs::write(folder.path().join(&encoded.data_name), data).unwrap();
        std::fs::write(folder.path().join("m.onnx"), &encoded.model).unwrap();
        let mut read = ModelProto::decode(&encoded.model[..]).unwrap();
        let found = super::super::external_data::read_external_data(&mut read, folder.path(), &Limits::default()).unwrap();
        assert_eq!((read, found.bytes), (model(), 6400));
        assert_eq!(load(folder.path().join("m.onnx"), &Limits::default()).unwrap().external_files.len(), 1);
    }
}
