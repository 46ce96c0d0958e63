//! Tensors that stay where they are until somebody reads them: a model may be larger than the memory.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prost::bytes::Bytes;
use rayon::prelude::*;
use sha1::{Digest, Sha1};

use super::load::hexadecimal;
use super::raw_element::RawElement;
use crate::error::{Error, Result};
use crate::tensor::Source;

/// Bytes that are read at a time; a multiple of every element.
const CHUNK: usize = 1 << 20;

/// Whether a tensor of so many bytes stays where it is.
pub fn is_large(bytes: u64) -> bool {
    bytes >= 1 << 20
}

/// Parts by the name of the initializer whose elements they hold.
pub type Left = HashMap<String, Part>;

/// A file that is read as long as it stays what it was.
#[derive(Debug)]
pub struct OpenFile {
    pub path: PathBuf,
    pub size: u64,
    modified: Option<SystemTime>,
    file: Mutex<File>,
}

impl OpenFile {
    /// # Errors
    /// If the system does not tell what `file` is.
    pub fn new(path: &Path, file: File) -> io::Result<Arc<Self>> {
        let metadata = file.metadata()?;
        let (size, modified) = (metadata.len(), metadata.modified().ok());
        Ok(Arc::new(OpenFile { path: path.to_path_buf(), size, modified, file: Mutex::new(file) }))
    }

    /// Fills `bytes` with what stands from `offset` on.
    ///
    /// # Errors
    /// If it cannot be read, or somebody wrote into the file since it was opened.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)?;
        let same = |now: &Metadata| now.len() == self.size && now.modified().ok() == self.modified;
        if same(&file.metadata()?) { Ok(()) } else { Err(io::Error::other("was changed while it was in use")) }
    }

    /// The part from `offset` on, of `len` bytes.
    pub fn part(self: &Arc<Self>, offset: u64, len: u64) -> Part {
        Part::File { file: self.clone(), offset, len: usize::try_from(len).unwrap_or(usize::MAX) }
    }

    /// The SHA-1 of the whole file, in hexadecimal digits.
    ///
    /// # Errors
    /// If it cannot be read, or somebody wrote into it since it was opened.
    pub fn sha1(self: &Arc<Self>) -> io::Result<String> {
        let (mut digest, whole) = (Sha1::new(), self.part(0, self.size));
        for start in (0..whole.len()).step_by(CHUNK) {
            digest.update(&whole.range(start, CHUNK.min(whole.len() - start))?);
        }
        Ok(hexadecimal(&digest.finalize()))
    }
}

/// A model's file, and what stands in it; no file where the model came from memory.
pub struct Whole {
    pub file: Option<Arc<OpenFile>>,
    pub bytes: Bytes,
}

impl Whole {
    /// Where `raw`, which was decoded from these bytes, may stay, if it is large.
    pub fn part(&self, raw: &Bytes) -> Option<Part> {
        let large = is_large(raw.len() as u64);
        match &self.file {
            Some(file) => {
                let offset = (raw.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
                let inside = offset.checked_add(raw.len()).is_some_and(|end| end <= self.bytes.len());
                (large && inside).then(|| file.part(offset as u64, raw.len() as u64))
            }
            None => large.then(|| Part::Memory(raw.clone())),
        }
    }
}

/// Bytes that lie somewhere.
#[derive(Clone, Debug)]
pub enum Part {
    File { file: Arc<OpenFile>, offset: u64, len: usize },
    Memory(Bytes),
}

impl Part {
    pub fn len(&self) -> usize {
        match self {
            Part::File { len, .. } => *len,
            Part::Memory(bytes) => bytes.len(),
        }
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`Part::range`].
    pub fn read(&self) -> io::Result<Bytes> {
        self.range(0, self.len())
    }

    /// `len` bytes from `start` on.
    ///
    /// # Errors
    /// If they cannot be read, or somebody wrote into their file since it was opened.
    fn range(&self, start: usize, len: usize) -> io::Result<Bytes> {
        match self {
            Part::File { file, offset, .. } => {
                let mut bytes = vec![0; len];
                file.read(offset + start as u64, &mut bytes)?;
                Ok(bytes.into())
            }
            Part::Memory(bytes) => Ok(bytes.slice(start..start + len)),
        }
    }

    fn path(&self) -> Cow<'_, Path> {
        match self {
            Part::File { file, .. } => Cow::Borrowed(&file.path),
            Part::Memory(_) => Cow::Borrowed(Path::new("memory")),
        }
    }
}

/// As many elements as are packed in a part.
#[derive(Debug)]
pub struct PackedElements {
    pub part: Part,
    pub count: usize,
}

impl<T: RawElement> Source<T> for PackedElements {
    fn read(&self) -> Result<Vec<T>> {
        let per_chunk = CHUNK * 8 / T::DATA_TYPE.bits().unwrap_or(8);
        let mut elements = vec![T::default(); self.count];
        let read = |(index, elements): (usize, &mut [T])| {
            let start = index * CHUNK;
            let bytes = self.part.range(start, CHUNK.min(self.part.len() - start))?;
            elements.copy_from_slice(&T::unpack(&bytes, elements.len()));
            Ok(())
        };
        let read: io::Result<()> = elements.par_chunks_mut(per_chunk).enumerate().try_for_each(read);
        read.map_err(|error| Error::file(self.part.path(), error))?;
        Ok(elements)
    }
}
