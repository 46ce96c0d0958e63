//! Convolution as matrix products over gathered positions, on any device.

use candle_core::{Device, Result, Tensor};

use super::convolution::Form;
use super::gather::Gather;
use crate::kernels::Window;
use crate::ops::operator::FILL;

pub(super) struct Gathered {
    window: Window,
    /// From the positions of the image to every kernel position of every map position.
    gather: Gather,
}

impl Gathered {
    /// `None` where image positions are read so unevenly that going back would read too much.
    ///
    /// # Errors
    /// If `device` has no memory for the positions.
    pub fn new(window: &Window, device: &Device) -> Result<Option<Self>> {
        let gather = Gather::new(&positions(window), window.image.iter().product(), device)?;
        Ok(gather.map(|gather| Gathered { window: window.clone(), gather }))
    }

    fn taps(&self) -> usize {
        self.window.kernel.iter().product()
    }

    fn is_depthwise(&self) -> bool {
        self.window.group == self.window.channels && self.window.group == self.window.features
    }

    /// Weights as `[1, group, features, channels · taps]`, per group.
    fn rows(&self, weights: &Tensor) -> Result<Tensor> {
        let Window { group, features, channels, .. } = self.window;
        weights.reshape((1, group, features / group, channels / group * self.taps()))
    }

    /// An image as `[batch, group, channels · taps, places]`, per group.
    fn unfold(&self, image: &Tensor) -> Result<Tensor> {
        let (batch, &Window { group, channels, map, .. }) = (image.dim(0)?, &self.window);
        let columns = self.gather.forward(&image.flatten_from(2)?, 0.0)?;
        columns.reshape((batch, group, channels / group * self.taps(), map.iter().product::<usize>()))
    }

    /// A map as `[batch, group, features, places]`, per group.
    fn grouped(&self, map: &Tensor) -> Result<Tensor> {
        let Window { group, features, .. } = self.window;
        map.reshape((map.dim(0)?, group, features / group, ()))
    }
}

impl Form for Gathered {
    fn to_map(&self, image: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let (columns, rows) = (self.unfold(image)?, self.rows(weights)?);
        if self.is_depthwise() {
            return rows.transpose(2, 3)?.broadcast_mul(&columns)?.sum_keepdim(2);
        }
        rows.broadcast_matmul(&columns)
    }

    fn to_image(&self, map: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let (map, turned) = (self.grouped(map)?, self.rows(weights)?.transpose(2, 3)?);
        let columns = if self.is_depthwise() { turned.broadcast_mul(&map)? } else { turned.contiguous()?.broadcast_matmul(&map)? };
        self.gather.backward(&columns.reshape((map.dim(0)?, self.window.channels, self.gather.len()))?)
    }

    fn to_weights(&self, image: &Tensor, map: &Tensor) -> Result<Tensor> {
        let (columns, map) = (self.unfold(image)?, self.grouped(map)?);
        if self.is_depthwise() {
            return map.broadcast_mul(&columns)?.sum(0)?.sum_keepdim(2);
        }
        map.matmul(&columns.transpose(2, 3)?.contiguous()?)?.sum(0)
    }
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
