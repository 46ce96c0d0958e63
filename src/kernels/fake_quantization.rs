//! Quantization and dequantization in one pass, with straight-through gradients.

use super::Isa;
use crate::ops::operator::{BackwardCall, Gradient, Kernel, Layout};

/// y = (saturate(round_half_even(x / scale) + zero_point) − zero_point) · scale. Inputs x, scale, zero point.
///
/// The gradient passes to x inside the range; scale gets round(x/s) − x/s inside and the end of the range outside.
/// Paper: Esser et al. 2020 (LSQ), arXiv:1902.08153, eq. 3.
pub struct FakeQuantization {
    channels: Channels,
    range: (f32, f32),
    isa: Isa,
}

/// How elements in memory order find their scale.
enum Channels {
    One,
    /// Neighbours cycle through the channels.
    Cyclic(usize),
    /// Channel of each element.
    Indexed(Vec<u32>),
}

impl FakeQuantization {
    /// `axis`: dimension of `layout` that has `scales` scales, or `None` for one scale.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn new(layout: &Layout, axis: Option<usize>, range: (f32, f32), scales: usize, isa: Isa) -> Result<Self, String> {
        let channels = match axis {
            None => Channels::One,
            Some(axis) if layout.shape.get(axis) != Some(&scales) => {
                return Err(format!("{scales} scales do not fit dimension {axis} of {:?}", layout.shape));
            }
            Some(axis) => {
                let inner: usize = layout.shape[axis + 1..].iter().product();
                let mut indices = vec![0u32; layout.len()];
                for (index, offset) in layout.offsets().into_iter().enumerate() {
                    indices[offset] = (index / inner % scales) as u32;
                }
                let cyclic = indices.iter().enumerate().all(|(i, channel)| *channel as usize == i % scales);
                if cyclic { Channels::Cyclic(scales) } else { Channels::Indexed(indices) }
            }
        };
        Ok(FakeQuantization { channels, range, isa })
    }

    fn channel(&self, index: usize) -> usize {
        match &self.channels {
            Channels::One => 0,
            Channels::Cyclic(count) => index % count,
            Channels::Indexed(indices) => indices[index] as usize,
        }
    }
}

#[inline(always)]
fn quantize(x: f32, scale: f32, low: f32, high: f32) -> f32 {
    (x / scale).round_ties_even().max(low).min(high)
}

#[inline(always)]
fn apply_one(x: &[f32], y: &mut [f32], scale: f32, low: f32, high: f32) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = quantize(*x, scale, low, high) * scale;
    }
}

/// Adds to `target` and returns the gradient of the scale, summed in chunks.
#[inline(always)]
fn apply_one_gradient(x: &[f32], g: &[f32], target: Option<&mut [f32]>, scale: f32, low: f32, high: f32) -> f64 {
    if let Some(target) = target {
        for ((t, x), g) in target.iter_mut().zip(x).zip(g) {
            let q = (*x / scale).round_ties_even();
            *t += if q >= low && q <= high { *g } else { 0.0 };
        }
    }
    let mut total = 0.0f64;
    for (x, g) in x.chunks(64).zip(g.chunks(64)) {
        let mut lanes = [0.0f32; 16];
        for (index, (x, g)) in x.iter().zip(g).enumerate() {
            let ratio = *x / scale;
            let q = ratio.round_ties_even();
            lanes[index % 16] += *g
                * if q < low {
                    low
                } else if q > high {
                    high
                } else {
                    q - ratio
                };
        }
        total += f64::from(lanes.iter().sum::<f32>());
    }
    total
}

impl Kernel for FakeQuantization {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let (x, scales, zeros) = (inputs[0], inputs[1], inputs[2]);
        if let Channels::One = self.channels {
            let (low, high) = (self.range.0 - zeros[0], self.range.1 - zeros[0]);
            return self.isa.run(|| apply_one(x, output, scales[0], low, high));
        }
        for (index, (y, x)) in output.iter_mut().zip(x).enumerate() {
            let channel = self.channel(index);
            let zero = zeros[channel.min(zeros.len() - 1)];
            *y = quantize(*x, scales[channel], self.range.0 - zero, self.range.1 - zero) * scales[channel];
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let (x, scales, zeros) = (call.inputs[0], call.inputs[1], call.inputs[2]);
        let [x_gradient, scale_gradient, ..] = call.input_gradients else { return };
        if let Channels::One = self.channels {
            let (low, high) = (self.range.0 - zeros[0], self.range.1 - zeros[0]);
            let target = x_gradient.as_mut().map(Gradient::open);
            let total = self.isa.run(|| apply_one_gradient(x, call.output_gradient, target, scales[0], low, high));
            if let Some(gradient) = scale_gradient {
                gradient.open()[0] += total as f32;
            }
            return;
        }
        let mut target = x_gradient.as_mut().map(Gradient::open);
        let mut by_scale = scale_gradient.as_mut().map(Gradient::open);
        for (index, (x, g)) in x.iter().zip(call.output_gradient).enumerate() {
            let channel = self.channel(index);
            let zero = zeros[channel.min(zeros.len() - 1)];
            let (low, high) = (self.range.0 - zero, self.range.1 - zero);
            let ratio = x / scales[channel];
            let q = ratio.round_ties_even();
            let inside = q >= low && q <= high;
            if let Some(target) = &mut target {
                target[index] += if inside { *g } else { 0.0 };
            }
            if let Some(by_scale) = &mut by_scale {
                by_scale[channel] += g * if inside { q - ratio } else { q.clamp(low, high) };
            }
        }
    }
}
