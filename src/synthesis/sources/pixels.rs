//! Pixels that move by themselves.

use rayon::prelude::*;

use crate::error::Result;
use crate::execution::Motion;
use crate::execution::adam::{Adam, Decay, Moment};
use crate::kernels::Isa;
use crate::synthesis::canvas::Canvas;
use crate::synthesis::frame::Frame;
use crate::synthesis::source::{Setting, Source, SourceKind};

/// Every pixel is a number of its own, clamped to its range.
///
/// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.2; without rounding to the 8-bit grid after every step.
pub const PIXELS: SourceKind = SourceKind {
    name: "pixels",
    open,
    #[cfg(feature = "candle")]
    open_on_devices: super::tensor_pixels::open,
};

struct Pixels {
    /// Per sample and input.
    adam: Vec<Vec<Adam>>,
    rate: f32,
    isa: Isa,
}

fn open(setting: &Setting<'_>) -> Result<Box<dyn Source>> {
    let adam = || setting.inputs.iter().map(|input| Adam::new(input.len(), Decay::SHORT)).collect();
    Ok(Box::new(Pixels { adam: (0..setting.samples).map(|_| adam()).collect(), rate: setting.rate, isa: setting.isa }))
}

impl Source for Pixels {
    fn render(&mut self, _: &mut [Canvas]) {}

    fn descend(&mut self, samples: &mut [Canvas], frame: &Frame, at: Moment) -> Result<()> {
        let (rate, isa) = (self.rate * at.rate(), self.isa);
        samples.par_iter_mut().zip(&mut self.adam).for_each(|(sample, adam)| {
            for (index, adam) in adam.iter_mut().enumerate() {
                let within = Motion::Within { low: frame.lows[index].as_slice(), high: &frame.highs[index] };
                adam.step(&mut sample.elements[index], &sample.gradients[index], &within, rate, isa);
            }
        });
        Ok(())
    }

    fn state(&self) -> postcard::Result<Vec<u8>> {
        postcard::to_stdvec(&self.adam)
    }

    fn restore(&mut self, state: &[u8]) -> postcard::Result<()> {
        self.adam = postcard::from_bytes(state)?;
        Ok(())
    }
}
