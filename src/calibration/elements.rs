//! Numbers of many samples, which need not all be in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Bytes that one input's samples may take in memory.
pub(super) const IN_MEMORY: usize = 64 << 20;

/// Samples of one length; clones and slices share them.
#[derive(Clone, Debug)]
pub struct Elements {
    store: Arc<Store>,
    sample_len: usize,
    /// The part of the store that these are.
    range: Range<usize>,
}

#[derive(Debug)]
enum Store {
    Memory(Vec<f32>),
    /// A file without a name: it goes with the process, however that ends.
    File(Mutex<File>),
}

impl Elements {
    /// Zeros for `count` samples of `sample_len` numbers, to be written with [`Elements::write`]. Where they are more than
    /// 64 MiB they are kept in the system's temporary folder.
    ///
    /// # Errors
    /// If there is no such folder, or it cannot be written into.
    pub fn zeros(sample_len: usize, count: usize) -> Result<Self> {
        Self::with_memory(sample_len, count, IN_MEMORY)
    }

    fn with_memory(sample_len: usize, count: usize, in_memory: usize) -> Result<Self> {
        let bytes = size_of::<f32>().checked_mul(sample_len).and_then(|bytes| bytes.checked_mul(count));
        let store = match bytes {
            Some(bytes) if bytes <= in_memory => Store::Memory(vec![0.0; sample_len * count]),
            Some(bytes) => Store::File(Mutex::new(unnamed(bytes as u64).map_err(|error| at_rest(&error))?)),
            None => return Err(Error::Data(format!("{count} samples of {sample_len} numbers are more than any memory holds"))),
        };
        Ok(Elements { store: Arc::new(store), sample_len, range: 0..count })
    }

    /// Samples of `sample_len` numbers that stand one after another; what is left of them is dropped.
    ///
    /// # Errors
    /// As [`Elements::zeros`].
    pub fn of(sample_len: usize, elements: Vec<f32>) -> Result<Self> {
        let count = elements.len() / sample_len.max(1);
        if size_of_val(elements.as_slice()) <= IN_MEMORY {
            return Ok(Elements { store: Arc::new(Store::Memory(elements)), sample_len, range: 0..count });
        }
        let mut stored = Self::zeros(sample_len, count)?;
        elements.chunks_exact(sample_len.max(1)).enumerate().try_for_each(|(index, sample)| stored.write(index, sample))?;
        Ok(stored)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The samples `range` of these; beyond the last one there are none.
    pub fn slice(&self, range: Range<usize>) -> Elements {
        let at = |index: usize| self.range.start.saturating_add(index).min(self.range.end);
        Elements { range: at(range.start)..at(range.end), ..self.clone() }
    }

    /// Whether these and others are slices of the same.
    #[cfg(feature = "candle")]
    pub fn share_a_store(&self, other: &Elements) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
    }

    /// Which sample `index` is of all that its slice was cut from.
    #[cfg(feature = "candle")]
    pub fn place_in_store(&self, index: usize) -> usize {
        self.range.start + index
    }

    /// # Errors
    /// If there is no sample `index`, or it cannot be read back.
    pub fn sample(&self, index: usize) -> Result<Cow<'_, [f32]>> {
        let place = self.place(index)?;
        match &*self.store {
            Store::Memory(elements) => elements.get(place).map(Cow::Borrowed).ok_or_else(|| missing(index)),
            Store::File(file) => read(file, &place).map(Cow::Owned).map_err(|error| at_rest(&error)),
        }
    }

    /// Replaces one sample of elements that nobody shares.
    ///
    /// # Errors
    /// If there is no sample `index` of this length, or it cannot be stored.
    pub fn write(&mut self, index: usize, sample: &[f32]) -> Result<()> {
        let place = self.place(index)?;
        let store = Arc::get_mut(&mut self.store).ok_or_else(|| Error::Internal("samples are written while they are shared".into()))?;
        match store {
            Store::Memory(elements) => {
                let to = elements.get_mut(place).filter(|to| to.len() == sample.len());
                to.ok_or_else(|| missing(index))?.copy_from_slice(sample);
                Ok(())
            }
            Store::File(file) if place.len() == sample.len() => write(file, &place, sample).map_err(|error| at_rest(&error)),
            Store::File(_) => Err(missing(index)),
        }
    }

    /// Where the numbers of sample `index` lie in the store.
    fn place(&self, index: usize) -> Result<Range<usize>> {
        let at = self.range.clone().nth(index).ok_or_else(|| missing(index))?;
        Ok(at * self.sample_len..(at + 1) * self.sample_len)
    }
}

/// What cannot be read back is equal to nothing.
impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        let same = |index: usize| matches!((self.sample(index), other.sample(index)), (Ok(one), Ok(two)) if one == two);
        self.len() == other.len() && self.sample_len == other.sample_len && (0..self.len()).all(same)
    }
}

fn missing(index: usize) -> Error {
    Error::Internal(format!("there is no sample {index} of this length"))
}

fn at_rest(error: &io::Error) -> Error {
    Error::file(std::env::temp_dir(), format!("samples are kept in this temporary folder (TMPDIR names another): {error}"))
}

fn unnamed(bytes: u64) -> io::Result<File> {
    let file = tempfile::tempfile()?;
    file.set_len(bytes)?;
    Ok(file)
}

fn offset(place: &Range<usize>) -> SeekFrom {
    SeekFrom::Start((place.start * size_of::<f32>()) as u64)
}

fn read(file: &Mutex<File>, place: &Range<usize>) -> io::Result<Vec<f32>> {
    let mut bytes = vec![0; place.len() * size_of::<f32>()];
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(offset(place))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect())
}

fn write(file: &Mutex<File>, place: &Range<usize>, sample: &[f32]) -> io::Result<()> {
    let bytes: Vec<u8> = sample.iter().flat_map(|x| x.to_ne_bytes()).collect();
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(offset(place))?;
    file.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_memory_keeps() {
        let mut kept = [Elements::with_memory(3, 5, 0).unwrap(), Elements::with_memory(3, 5, 60).unwrap()];
        assert!(matches!((&*kept[0].store, &*kept[1].store), (Store::File(_), Store::Memory(_))));
        for elements in &mut kept {
            for index in [4, 0, 2] {
                elements.write(index, &[index as f32, -0.5, f32::MAX]).unwrap();
            }
            assert!(elements.write(5, &[0.0; 3]).is_err() && elements.write(1, &[0.0; 2]).is_err());
            for (index, first) in [0.0, 0.0, 2.0, 0.0, 4.0].into_iter().enumerate() {
                let rest = if index % 2 == 0 { [-0.5, f32::MAX] } else { [0.0; 2] };
                assert_eq!(*elements.sample(index).unwrap(), [[first].as_slice(), &rest].concat());
            }
            assert!(elements.sample(5).is_err());
        }
    }

    #[test]
    fn slices_share_and_are_not_written() {
        let mut elements = Elements::of(2, (0..8).map(|i| i as f32).collect()).unwrap();
        let part = elements.slice(1..9).slice(1..3);
        assert_eq!((part.len(), part.slice(2..2).is_empty()), (2, true));
        assert_eq!(*part.sample(1).unwrap(), [6.0, 7.0]);
        assert!(part.sample(2).is_err() && elements.write(0, &[0.0; 2]).is_err());
        drop(part);
        elements.write(0, &[9.0; 2]).unwrap();
        assert_eq!(*elements.sample(0).unwrap(), [9.0; 2]);
    }

    #[test]
    fn sizes_that_no_memory_holds_are_refused() {
        assert!(Elements::zeros(usize::MAX / 2, 3).is_err());
    }
}
