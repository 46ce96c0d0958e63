//! Conv and ConvTranspose as matrix products over gathered positions, on any device.

use candle_core::{Device, Result, Tensor};

use super::gather::Gather;
use super::step::{Call, Step, required};
use crate::kernels::{Direction, Window};
use crate::ops::operator::FILL;

/// One sample is `[1, channels, image…]` on one side, `[1, features, map…]` on the other.
pub(super) struct Convolution {
    window: Window,
    direction: Direction,
    /// From the positions of the image to every kernel position of every map position.
    gather: Gather,
    output: Vec<usize>,
}

impl Convolution {
    /// `output` is the shape of one sample. `None` where a sample is several images.
    ///
    /// # Errors
    /// If `device` has no memory for the positions.
    pub fn new(window: Window, direction: Direction, output: &[usize], device: &Device) -> Result<Option<Self>> {
        if window.batch != 1 {
            return Ok(None);
        }
        let gather = Gather::new(&positions(&window), window.image.iter().product(), device)?;
        Ok(gather.map(|gather| Convolution { window, direction, gather, output: output.to_vec() }))
    }

    fn taps(&self) -> usize {
        self.window.kernel.iter().product()
    }

    fn places(&self) -> usize {
        self.window.map.iter().product()
    }

    fn is_depthwise(&self) -> bool {
        self.window.group == self.window.channels && self.window.group == self.window.features
    }

    /// Weights as `[group, features, channels · taps]`, per group.
    fn weights(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let Window { group, features, channels, .. } = self.window;
        required(inputs, 1)?.reshape((1, group, features / group, channels / group * self.taps()))
    }

    /// An image `[b, 1, channels, …]` as `[b, group, channels · taps, places]`, per group.
    fn unfold(&self, image: &Tensor) -> Result<Tensor> {
        let (batch, &Window { group, channels, .. }) = (image.dim(0)?, &self.window);
        let image = image.reshape((batch, channels, self.window.image.iter().product::<usize>()))?;
        self.gather.forward(&image, 0.0)?.reshape((batch, group, channels / group * self.taps(), self.places()))
    }

    /// What [`Convolution::unfold`] read, summed where it came from.
    fn fold(&self, columns: &Tensor) -> Result<Tensor> {
        let batch = columns.dim(0)?;
        self.gather.backward(&columns.reshape((batch, self.window.channels, self.taps() * self.places()))?)
    }

    /// A map `[b, 1, features, …]` as `[b, group, features, places]`, per group.
    fn grouped(&self, map: &Tensor) -> Result<Tensor> {
        let Window { group, features, .. } = self.window;
        map.reshape((map.dim(0)?, group, features / group, self.places()))
    }

    fn to_map(&self, weights: &Tensor, columns: &Tensor) -> Result<Tensor> {
        if self.is_depthwise() {
            return weights.transpose(2, 3)?.broadcast_mul(columns)?.sum_keepdim(2);
        }
        weights.broadcast_matmul(columns)
    }

    fn to_columns(&self, weights: &Tensor, map: &Tensor) -> Result<Tensor> {
        let turned = weights.transpose(2, 3)?;
        if self.is_depthwise() {
            return turned.broadcast_mul(map);
        }
        turned.contiguous()?.broadcast_matmul(map)
    }

    /// The gradient of the weights, summed over the batch.
    fn to_weights(&self, map: &Tensor, columns: &Tensor, like: &Tensor) -> Result<Tensor> {
        let summed = if self.is_depthwise() {
            map.broadcast_mul(columns)?.sum(0)?.sum_keepdim(2)?
        } else {
            map.matmul(&columns.transpose(2, 3)?.contiguous()?)?.sum(0)?
        };
        summed.reshape(like.dims())
    }
}

impl Step for Convolution {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        let weights = self.weights(inputs)?;
        let y = match self.direction {
            Direction::ToMap => self.to_map(&weights, &self.unfold(x)?)?,
            Direction::ToImage => self.fold(&self.to_columns(&weights, &self.grouped(x)?)?)?,
        };
        let y = y.reshape([&[x.dim(0)?], self.output.as_slice()].concat())?;
        match inputs.get(2) {
            Some(Some(bias)) => y.broadcast_add(&super::step::along(bias, 2, y.rank())?),
            _ => Ok(y),
        }
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, weight, g) = (required(call.inputs, 0)?, required(call.inputs, 1)?, call.gradient);
        let weights = self.weights(call.inputs)?;
        let mut found = vec![None, None, None];
        match self.direction {
            Direction::ToMap => {
                let map = self.grouped(g)?;
                if call.wants(0) {
                    found[0] = Some(self.fold(&self.to_columns(&weights, &map)?)?.reshape(x.dims())?);
                }
                if call.wants(1) {
                    found[1] = Some(self.to_weights(&map, &self.unfold(x)?, weight)?);
                }
            }
            Direction::ToImage => {
                let columns = self.unfold(g)?;
                if call.wants(0) {
                    found[0] = Some(self.to_map(&weights, &columns)?.reshape(x.dims())?);
                }
                if call.wants(1) {
                    found[1] = Some(self.to_weights(&self.grouped(x)?, &columns, weight)?);
                }
            }
        }
        if call.wants(2) {
            found[2] = Some(bias_gradient(g, required(call.inputs, 2)?)?);
        }
        Ok(found)
    }
}

/// The gradient of a bias: `[b, 1, channels, …]` summed per channel.
pub(super) fn bias_gradient(gradient: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let others: Vec<usize> = (0..gradient.rank()).filter(|dim| *dim != 2).collect();
    gradient.sum(others)?.reshape(bias.dims())
}

/// For every kernel position and map position, the image position that it reads; outermost the kernel positions.
fn positions(window: &Window) -> Vec<u32> {
    let along = |axis: usize, tap: usize, place: usize| {
        let at = (place * window.stride[axis] + tap * window.dilation[axis]).checked_sub(window.pad[axis])?;
        (at < window.image[axis]).then_some(at)
    };
    let [kd, kh, kw] = window.kernel;
    let [md, mh, mw] = window.map;
    let [_, ih, iw] = window.image;
    let mut map = Vec::with_capacity(kd * kh * kw * md * mh * mw);
    for tap in 0..kd * kh * kw {
        for place in 0..md * mh * mw {
            let d = along(0, tap / (kh * kw), place / (mh * mw));
            let h = along(1, tap / kw % kh, place / mw % mh);
            let w = along(2, tap % kw, place % mw);
            let at = d.zip(h).zip(w).map(|((d, h), w)| ((d * ih + h) * iw + w) as u32);
            map.push(at.unwrap_or(FILL));
        }
    }
    map
}
