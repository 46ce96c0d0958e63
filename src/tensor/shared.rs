//! Elements that clones share: in memory, or elsewhere until somebody reads them.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::Element;
use crate::error::{Error, Result};

/// Where elements lie that are not in memory.
pub trait Source<T>: Debug + Send + Sync {
    /// All elements, row-major.
    ///
    /// # Errors
    /// If they cannot be read any more.
    fn read(&self) -> Result<Vec<T>>;
}

/// A tensor whose elements, row-major, are shared between clones.
#[derive(Clone, Debug)]
pub struct Shared<T> {
    shape: Arc<[usize]>,
    storage: Storage<T>,
}

#[derive(Clone, Debug)]
enum Storage<T> {
    Memory(Arc<Vec<T>>),
    Elsewhere(Arc<dyn Source<T>>),
}

/// The first failure to read elements: what was given instead means nothing.
static LOST: Mutex<Option<Error>> = Mutex::new(None);

/// To be asked before anything is made of what was read: a tensor whose source fails gives zeros.
///
/// # Errors
/// If a source of a tensor could not be read since this was asked last.
pub fn check_sources() -> Result<()> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}

impl<T: Element> Shared<T> {
    pub(super) fn new(shape: &[usize], elements: Vec<T>) -> Self {
        Shared { shape: shape.into(), storage: Storage::Memory(Arc::new(elements)) }
    }

    pub(super) fn elsewhere(shape: &[usize], source: Arc<dyn Source<T>>) -> Self {
        Shared { shape: shape.into(), storage: Storage::Elsewhere(source) }
    }

    /// The same elements under another shape of as many.
    pub(super) fn reshape(&self, shape: &[usize]) -> Self {
        Shared { shape: shape.into(), storage: self.storage.clone() }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major. Reads them where they are not in memory; see [`check_sources`].
    pub fn elements(&self) -> Cow<'_, [T]> {
        let source = match &self.storage {
            Storage::Memory(elements) => return Cow::Borrowed(elements),
            Storage::Elsewhere(source) => source,
        };
        let len = self.shape.iter().product();
        let read = source.read().and_then(|elements| match elements.len() == len {
            true => Ok(elements),
            false => Err(Error::Internal(format!("a tensor of {len} elements has {} in its file", elements.len()))),
        });
        Cow::Owned(read.unwrap_or_else(|error| {
            LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            vec![T::default(); len]
        }))
    }
}

impl<S: Element> Shared<S> {
    /// `map` of each element and its index: at once where the elements are in memory, else whenever they are read.
    pub fn map<T: Element>(&self, map: impl Fn(usize, S) -> T + Send + Sync + 'static) -> Shared<T> {
        match &self.storage {
            Storage::Memory(elements) => Shared::new(&self.shape, elements.iter().enumerate().map(|(index, x)| map(index, *x)).collect()),
            Storage::Elsewhere(_) => Shared::elsewhere(&self.shape, Arc::new(Mapped { from: self.clone(), map })),
        }
    }
}

/// Elements that are computed from others whenever they are read.
struct Mapped<S, F> {
    from: Shared<S>,
    map: F,
}

impl<S: Element, T: Element, F: Fn(usize, S) -> T + Send + Sync> Source<T> for Mapped<S, F> {
    fn read(&self) -> Result<Vec<T>> {
        Ok(self.from.elements().par_iter().enumerate().map(|(index, x)| (self.map)(index, *x)).collect())
    }
}

impl<S: Debug, F> Debug for Mapped<S, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").field("from", &self.from).finish_non_exhaustive()
    }
}

impl<T: Element + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.elements() == other.elements()
    }
}
