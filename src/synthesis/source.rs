//! What a source is: the numbers behind the images of one batch, and how they follow a gradient.

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
#[derive(Clone, Copy, Debug)]
pub struct SourceKind {
    /// Kebab-case.
    pub name: &'static str,
    pub open: fn(&Setting<'_>) -> Result<Box<dyn Source>>,
}
