//! MaxPool and AveragePool over gathered positions.

use candle_core::{Device, Result, Tensor};

use super::gather::Gather;
use super::step::{Call, Step, mask, required};
use crate::kernels::pool::{Pooling, Slide};
use crate::ops::operator::FILL;

pub(super) struct Pool {
    pooling: Pooling,
    gather: Gather,
    taps: usize,
    /// What each position's sum is multiplied by.
    shares: Tensor,
    output: Vec<usize>,
}

impl Pool {
    /// `slides` are of the spatial dimensions, `output` is the shape of one sample.
    ///
    /// # Errors
    /// If `device` has no memory for the positions.
    pub fn new(pooling: Pooling, slides: &[Slide], output: &[usize], device: &Device) -> Result<Option<Self>> {
        let taps: usize = slides.iter().map(|slide| slide.kernel).product();
        let places: usize = slides.iter().map(|slide| slide.output).product();
        let image: usize = slides.iter().map(|slide| slide.input).product();
        let (mut map, mut counts) = (Vec::with_capacity(taps * places), vec![0u32; places]);
        for tap in 0..taps {
            for (place, count) in counts.iter_mut().enumerate() {
                let (at, counts) = position(slides, tap, place, pooling);
                map.push(at);
                *count += u32::from(counts);
            }
        }
        let shares = counts.iter().map(|count| 1.0 / (*count).max(1) as f32).collect::<Vec<f32>>();
        let gather = Gather::new(&map, image, device)?;
        let shares = Tensor::from_vec(shares, places, device)?;
        Ok(gather.map(|gather| Pool { pooling, gather, taps, shares, output: output.to_vec() }))
    }

    /// `[b, N, C, image…]` as `[b, N · C, taps, places]`.
    fn unfold(&self, x: &Tensor) -> Result<Tensor> {
        let fill = if self.pooling == Pooling::Max { f64::NEG_INFINITY } else { 0.0 };
        let planes = self.output[..2].iter().product::<usize>();
        let found = self.gather.forward(&x.reshape((x.dim(0)?, planes, ()))?, fill)?;
        found.reshape((x.dim(0)?, planes, self.taps, self.gather.len() / self.taps))
    }

    /// Of several largest elements, the first.
    fn chosen(&self, unfolded: &Tensor, largest: &Tensor) -> Result<Tensor> {
        let mut free = largest.ones_like()?;
        let mut chosen = Vec::with_capacity(self.taps);
        for tap in 0..self.taps {
            let hit = (mask(unfolded.narrow(2, tap, 1)?.eq(largest))? * &free)?;
            free = (free - &hit)?;
            chosen.push(hit);
        }
        Tensor::cat(&chosen, 2)
    }
}

impl Step for Pool {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        let unfolded = self.unfold(x)?;
        let y = match self.pooling {
            Pooling::Max => unfolded.max(2)?,
            Pooling::Average { .. } => unfolded.sum(2)?.broadcast_mul(&self.shares)?,
            Pooling::Length { .. } => candle_core::bail!("{NO_LENGTHS}"),
        };
        y.reshape([&[x.dim(0)?], self.output.as_slice()].concat())
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = required(call.inputs, 0)?;
        let planes = self.output[..2].iter().product::<usize>();
        let places = self.gather.len() / self.taps;
        let plane = |tensor: &Tensor| tensor.reshape((x.dim(0)?, planes, 1, places));
        let g = plane(call.gradient)?;
        let spread = match self.pooling {
            Pooling::Max => self.chosen(&self.unfold(x)?, &plane(call.output)?)?.broadcast_mul(&g)?,
            Pooling::Average { .. } => g.broadcast_mul(&self.shares)?.broadcast_as((x.dim(0)?, planes, self.taps, places))?.contiguous()?,
            Pooling::Length { .. } => candle_core::bail!("{NO_LENGTHS}"),
        };
        let spread = spread.reshape((x.dim(0)?, planes, self.gather.len()))?;
        Ok(vec![Some(self.gather.backward(&spread)?.reshape(x.dims())?)])
    }
}

const NO_LENGTHS: &str = "LpPool has no form on tensors";

/// The input position under kernel position `tap` at output position `place`, and whether it counts in a mean.
fn position(slides: &[Slide], tap: usize, place: usize, pooling: Pooling) -> (u32, bool) {
    let (mut tap, mut place) = (tap, place);
    let (mut at, mut step, mut inside, mut padded) = (0, 1, true, true);
    for slide in slides.iter().rev() {
        let reached = place % slide.output * slide.stride + tap % slide.kernel * slide.dilation;
        padded &= reached < slide.before + slide.input + slide.after;
        match reached.checked_sub(slide.before).filter(|at| *at < slide.input) {
            Some(found) => at += found * step,
            None => inside = false,
        }
        step *= slide.input;
        tap /= slide.kernel;
        place /= slide.output;
    }
    let counts = if pooling == (Pooling::Average { count_include_pad: true }) { padded } else { inside };
    (if inside { at as u32 } else { FILL }, counts)
}
