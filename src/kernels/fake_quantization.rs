//! A quantizer and its dequantizer in one pass over memory.

use super::Isa;
use super::elementwise::sum;
use super::traversal::{Traversal, axis_strides};
use crate::ops::operator::{BackwardCall, Gradient, Kernel, Layout};

const BLOCK: usize = 512;

/// y = (clamp(round_half_even(x / scale) + zero_point) − zero_point) · scale over inputs (x, scale, zero_point).
/// An omitted zero point is 0.
///
/// Backward is straight-through for x inside the range and 0 outside; the gradient of the scale is that of learned
/// step sizes without its normalization: round(x / s) − x / s inside, qmin − zero_point or qmax − zero_point outside.
/// Paper: Esser et al. 2020, arXiv:1902.08153, eq. 3.
pub struct FakeQuantization {
    traversal: Traversal<1>,
    range: (f32, f32),
    isa: Isa,
}

/// The scale and zero point of a block: numbers for all of it, or one of each per element.
#[derive(Clone, Copy)]
struct Quantizer<'a> {
    scale: &'a [f32],
    zero_point: &'a [f32],
}

impl FakeQuantization {
    /// `layout` is that of x and y; `axis` the dimension that `scale_len` scales lie along (ignored for one scale);
    /// `range` the smallest and largest quantized number.
    pub fn new(layout: &Layout, axis: Option<usize>, range: (f32, f32), scale_len: usize, isa: Isa) -> Self {
        let axis = axis.filter(|_| scale_len > 1);
        let strides = axis_strides(layout.shape.len(), axis);
        FakeQuantization { traversal: Traversal::new(layout, [&strides]), range, isa }
    }

    /// Calls `visit(start, len, channel)` for each block of at most [`BLOCK`] elements.
    #[inline(always)]
    fn for_each_block(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let stride = self.traversal.strides[0];
        for (run, [offset]) in self.traversal.offsets.iter().enumerate() {
            for start in (0..self.traversal.inner).step_by(BLOCK) {
                let len = BLOCK.min(self.traversal.inner - start);
                visit(run * self.traversal.inner + start, len, offset + start * stride);
            }
        }
    }

    #[inline(always)]
    fn quantizer<'a>(&self, inputs: &[&'a [f32]], channel: usize, len: usize) -> Quantizer<'a> {
        let len = if self.traversal.strides[0] == 0 { 1 } else { len };
        let part = |index: usize| inputs.get(index).filter(|all| !all.is_empty()).map_or(&[][..], |all| &all[channel..][..len]);
        Quantizer { scale: part(1), zero_point: part(2) }
    }
}

impl Kernel for FakeQuantization {
    fn scratch(&self) -> usize {
        2 * BLOCK
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        let (zeros, _) = scratch.split_at_mut(BLOCK);
        zeros.fill(0.0);
        self.isa.run(
            #[inline(always)]
            || {
                self.for_each_block(
                    #[inline(always)]
                    |start, len, channel| {
                        let (x, y) = (&inputs[0][start..][..len], &mut output[start..][..len]);
                        match self.quantizer(inputs, channel, len) {
                            Quantizer { scale: [s], zero_point } => quantize_alike(x, *s, first(zero_point), self.range, y),
                            Quantizer { scale, zero_point: [] } => quantize_each(x, scale, &zeros[..len], self.range, y),
                            Quantizer { scale, zero_point } => quantize_each(x, scale, zero_point, self.range, y),
                        }
                    },
                );
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, scratch, .. } = call;
        let (inner, outer) = scratch.split_at_mut(BLOCK);
        let mut slots = input_gradients.iter_mut();
        let [mut dx, mut dscale, dzero] = std::array::from_fn(|_| slots.next().and_then(Option::as_mut));
        dscale.as_mut().map(|gradient| gradient.open());
        self.isa.run(
            #[inline(always)]
            || {
                self.for_each_block(
                    #[inline(always)]
                    |start, len, channel| {
                        let (x, g) = (&inputs[0][start..][..len], &output_gradient[start..][..len]);
                        let quantizer = self.quantizer(inputs, channel, len);
                        let (dx_block, ds_block) = (&mut inner[..len], &mut outer[..len]);
                        gradients(x, g, quantizer, self.range, dx_block, ds_block);
                        if let Some(gradient) = &mut dx {
                            store(dx_block, gradient.accumulate, &mut gradient.values[start..][..len]);
                        }
                        if let Some(gradient) = &mut dscale {
                            add_to_channel(ds_block, quantizer.scale.len(), &mut gradient.values[channel..]);
                        }
                    },
                );
            },
        );
        if let Some(gradient) = dzero {
            self.zero_point_gradient(inputs, output_gradient, gradient);
        }
    }
}

impl FakeQuantization {
    /// −scale outside the range, 0 inside.
    fn zero_point_gradient(&self, inputs: &[&[f32]], g: &[f32], gradient: &mut Gradient<'_>) {
        let values = gradient.open();
        let stride = self.traversal.strides[0];
        self.for_each_block(
            #[inline(always)]
            |start, len, channel| {
                for i in 0..len {
                    let at = channel + i * stride;
                    let (s, z) = (inputs[1][at], inputs[2].get(at).copied().unwrap_or(0.0));
                    let q = (inputs[0][start + i] / s).round_ties_even() + z;
                    if q < self.range.0 || q > self.range.1 {
                        values[at] -= g[start + i] * s;
                    }
                }
            },
        );
    }
}

fn first(values: &[f32]) -> f32 {
    values.first().copied().unwrap_or(0.0)
}

/// The quantized number before the zero point is added, within `low..=high`.
#[inline(always)]
fn level(x: f32, scale: f32, low: f32, high: f32) -> f32 {
    let rounded = (x / scale).round_ties_even();
    let raised = if rounded < low { low } else { rounded };
    if raised > high { high } else { raised }
}

#[inline(always)]
fn quantize_alike(x: &[f32], scale: f32, zero_point: f32, range: (f32, f32), y: &mut [f32]) {
    let (low, high) = (range.0 - zero_point, range.1 - zero_point);
    for (y, x) in y.iter_mut().zip(x) {
        *y = level(*x, scale, low, high) * scale;
    }
}

#[inline(always)]
fn quantize_each(x: &[f32], scale: &[f32], zero_point: &[f32], range: (f32, f32), y: &mut [f32]) {
    for (((y, x), s), z) in y.iter_mut().zip(x).zip(scale).zip(zero_point) {
        *y = level(*x, *s, range.0 - z, range.1 - z) * s;
    }
}

/// Gradients of x, and of each element's own scale.
#[inline(always)]
fn gradient(x: f32, g: f32, scale: f32, low: f32, high: f32) -> (f32, f32) {
    let ratio = x / scale;
    let rounded = ratio.round_ties_even();
    let raised = if rounded < low { low } else { rounded };
    let level = if raised > high { high } else { raised };
    let inside = level == rounded;
    (if inside { g } else { 0.0 }, g * (level - if inside { ratio } else { 0.0 }))
}

#[inline(always)]
fn gradients(x: &[f32], g: &[f32], quantizer: Quantizer<'_>, range: (f32, f32), dx: &mut [f32], ds: &mut [f32]) {
    let pairs = dx.iter_mut().zip(ds).zip(x.iter().zip(g));
    match quantizer {
        Quantizer { scale: [s], zero_point } => {
            let (low, high) = (range.0 - first(zero_point), range.1 - first(zero_point));
            pairs.for_each(|((dx, ds), (x, g))| (*dx, *ds) = gradient(*x, *g, *s, low, high));
        }
        Quantizer { scale, zero_point: [] } => {
            pairs.zip(scale).for_each(|(((dx, ds), (x, g)), s)| (*dx, *ds) = gradient(*x, *g, *s, range.0, range.1));
        }
        Quantizer { scale, zero_point } => pairs.zip(scale.iter().zip(zero_point)).for_each(|(((dx, ds), (x, g)), (s, z))| {
            (*dx, *ds) = gradient(*x, *g, *s, range.0 - z, range.1 - z);
        }),
    }
}

#[inline(always)]
fn store(values: &[f32], accumulate: bool, target: &mut [f32]) {
    if accumulate {
        target.iter_mut().zip(values).for_each(|(t, v)| *t += v);
    } else {
        target.copy_from_slice(values);
    }
}

/// Adds each element to its own channel, or their sum to one.
#[inline(always)]
fn add_to_channel(values: &[f32], scale_len: usize, target: &mut [f32]) {
    if scale_len == 1 {
        target[0] += sum(values);
    } else {
        target.iter_mut().zip(values).for_each(|(t, v)| *t += v);
    }
}
