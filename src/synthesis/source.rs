//! What a source is: the numbers behind the images of one batch, and how they follow a gradient.

use std::fmt;

#[cfg(feature = "candle")]
use candle_core::{Device, Tensor};

use super::canvas::Canvas;
use super::frame::Frame;
use super::input::Input;
#[cfg(feature = "candle")]
use super::matching::Image;
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::kernels::Isa;
#[cfg(feature = "candle")]
use crate::progress::Progress;

/// The numbers behind the images of one batch.
pub trait Source {
    /// Brings the elements of every sample up to date.
    fn render(&mut self, samples: &mut [Canvas]);

    /// Moves by one step against the gradients of all samples.
    ///
    /// # Errors
    /// If the numbers cannot be changed.
    fn descend(&mut self, samples: &mut [Canvas], frame: &Frame, at: Moment) -> Result<()>;

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

/// A source whose numbers are on devices, which share out the samples of the batch in their order.
#[cfg(feature = "candle")]
pub trait TensorSource {
    /// The images `[samples, …]` of each device, per input, as they are now. They may share memory with what moves.
    ///
    /// # Errors
    /// If a device fails.
    fn images(&mut self, progress: &dyn Progress) -> Result<Vec<Vec<Tensor>>>;

    /// Moves by one step against the gradients of all images, which are finite.
    ///
    /// # Errors
    /// If a device fails.
    fn descend(&mut self, gradients: &[Vec<Tensor>], at: Moment, progress: &dyn Progress) -> Result<()>;

    /// All that [`TensorSource::descend`] changes, for [`TensorSource::restore`].
    ///
    /// # Errors
    /// If a device fails.
    fn state(&self) -> Result<Vec<u8>>;

    /// Goes on from a `state` of a source opened with the same setting.
    ///
    /// # Errors
    /// If it is not one, or a device fails.
    fn restore(&mut self, state: &[u8]) -> Result<()>;
}

/// What a source on devices starts from.
#[cfg(feature = "candle")]
pub struct TensorSetting<'a> {
    pub setting: &'a Setting<'a>,
    pub devices: &'a [Device],
    /// Row-major images of each device; there may be fewer parts than devices.
    pub images: &'a [Vec<Image>],
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
    #[cfg(feature = "candle")]
    pub open_on_devices: fn(&TensorSetting<'_>) -> Result<Box<dyn TensorSource>>,
}

impl fmt::Debug for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
