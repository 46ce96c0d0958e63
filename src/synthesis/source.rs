//! What a source is: the numbers behind the images of one batch, and how they follow a gradient.

use std::fmt;

use super::frame::Frame;
use super::input::Input;
use super::matching::Sample;
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::kernels::Isa;

/// The numbers behind the images of one batch.
pub trait Source {
    /// Brings the elements of every sample up to date.
    fn render(&mut self, samples: &mut [Sample]);

    /// Moves by one step against the gradients of all samples.
    ///
    /// # Errors
    /// If the numbers cannot be changed.
    fn descend(&mut self, samples: &mut [Sample], frame: &Frame, at: Moment) -> Result<()>;

    /// All that [`Source::descend`] changes but the samples, for [`Source::restore`].
    ///
    /// # Errors
    /// If it cannot be put into bytes.
    fn state(&self) -> postcard::Result<Vec<u8>>;

    /// Goes on from a `state` of a source opened with the same setting.
    ///
    /// # Errors
    /// If it is not one.
    fn restore(&mut self, state: &[u8]) -> postcard::Result<()>;
}

/// What a source starts from.
pub struct Setting<'a> {
    pub inputs: &'a [Input],
    pub samples: usize,
    /// Largest step of a pixel, as a part of its range.
    pub rate: f32,
    pub seed: u64,
    /// Which batch of the set.
    pub batch: u64,
    pub isa: Isa,
}

/// A source by its name.
#[derive(Clone, Copy)]
pub struct SourceKind {
    /// Kebab-case.
    pub name: &'static str,
    pub open: fn(&Setting<'_>) -> Result<Box<dyn Source>>,
}

impl fmt::Debug for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
