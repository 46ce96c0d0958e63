//! Tensors of a `.safetensors` file, read without trust.

use std::io::{BufRead, Read, Seek, SeekFrom};

use safetensors::tensor::{Dtype, Metadata};

use super::array::{Array, ArrayFile, Element};
use super::write::METADATA;

/// Bytes that tell how long the header is.
const PREFIX: u64 = 8;
/// Longest header, as the format has it.
const MAX_HEADER: u64 = 100_000_000;

/// A `.safetensors` file.
pub struct TensorFile<R> {
    file: R,
    arrays: Vec<(String, Array)>,
    /// Where each array lies in the file.
    places: Vec<(u64, u64)>,
    /// What zeroq wrote into it about itself.
    pub description: Option<String>,
}

impl<R: BufRead + Seek> TensorFile<R> {
    /// # Errors
    /// Says what is wrong with the file.
    pub fn new(mut file: R) -> Result<Self, String> {
        let (metadata, start) = read_metadata(&mut file).map_err(|error| format!("not a .safetensors file: {error}"))?;
        let tensors = metadata.tensors();
        let mut names: Vec<&String> = tensors.keys().collect();
        names.sort_unstable();
        let (mut arrays, mut places) = (Vec::new(), Vec::new());
        for name in names {
            let tensor = tensors[name];
            let element = element(tensor.dtype).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
            arrays.push((name.clone(), Array { shape: tensor.shape.clone(), element, big_endian: false, fortran_order: false }));
            let (from, to) = tensor.data_offsets;
            places.push((start + from as u64, (to - from) as u64));
        }
        let description = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA)).cloned();
        Ok(TensorFile { file, arrays, places, description })
    }
}

impl<R: BufRead + Seek> ArrayFile for TensorFile<R> {
    fn arrays(&self) -> &[(String, Array)] {
        &self.arrays
    }

    fn open(&mut self, index: usize) -> Result<Box<dyn BufRead + '_>, String> {
        let (start, len) = self.places[index];
        self.file.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
        Ok(Box::new((&mut self.file).take(len)))
    }
}

/// What stands before the numbers, and where these begin. The tensors lie without a gap up to the end of the file.
fn read_metadata(file: &mut (impl BufRead + Seek)) -> Result<(Metadata, u64), String> {
    let len = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
    file.rewind().map_err(|error| error.to_string())?;
    let mut prefix = [0; PREFIX as usize];
    file.read_exact(&mut prefix).map_err(|_| "it is too short for a header")?;
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER.min(len - PREFIX) {
        return Err(format!("its header would have {header} bytes"));
    }
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text).map_err(|error| error.to_string())?;
    let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let (wanted, there) = (metadata.data_len() as u64, len - PREFIX - header);
    if wanted != there {
        return Err(format!("its tensors need {wanted} bytes, but it has {there}"));
    }
    Ok((metadata, PREFIX + header))
}

fn element(data_type: Dtype) -> Result<Element, String> {
    match data_type {
        Dtype::F32 => Ok(Element::F32),
        Dtype::F64 => Ok(Element::F64),
        Dtype::F16 => Ok(Element::F16),
        Dtype::U8 => Ok(Element::U8),
        Dtype::BOOL => Ok(Element::Bool),
        other => Err(format!("elements of type {other} are not supported")),
    }
}
