//! Pixels that move by themselves.

use rayon::prelude::*;

use crate::error::Result;
use crate::execution::adam::{Adam, Decay, Moment};
use crate::kernels::Isa;
use crate::synthesis::frame::Frame;
use crate::synthesis::matching::Sample;
use crate::synthesis::source::{Setting, Source, SourceKind};

/// Every pixel is a number of its own, clamped to its range.
///
/// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.2; without rounding to the 8-bit grid after every step.
pub const PIXELS: SourceKind = SourceKind { name: "pixels", open };

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
    fn render(&mut self, _: &mut [Sample]) {}

    fn descend(&mut self, samples: &mut [Sample], frame: &Frame, at: Moment) -> Result<()> {
        let (rate, isa) = (self.rate * at.rate(), self.isa);
        samples.par_iter_mut().zip(&mut self.adam).for_each(|(sample, adam)| {
            for (index, adam) in adam.iter_mut().enumerate() {
                let (elements, gradient) = (&mut sample.elements[index], &mut sample.gradients[index]);
                adam.direct(gradient, isa);
                let (low, high) = (&frame.lows[index], &frame.highs[index]);
                isa.run(
                    #[inline(always)]
                    || descend(elements, gradient, low, high, rate),
                );
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

#[inline(always)]
fn descend(elements: &mut [f32], directions: &[f32], low: &[f32], high: &[f32], rate: f32) {
    let n = elements.len();
    let (directions, low, high) = (&directions[..n], &low[..n], &high[..n]);
    for i in 0..n {
        let moved = elements[i] - rate * (high[i] - low[i]) * directions[i];
        let raised = if moved < low[i] { low[i] } else { moved };
        elements[i] = if raised > high[i] { high[i] } else { raised };
    }
}
