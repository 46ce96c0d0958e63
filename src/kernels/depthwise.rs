//! Depthwise convolution: every channel has its own filter, vectors run along channels.

use super::Isa;
use super::correlation::Pass;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Vector};

/// What to do for every pixel of a pass.
enum Work<'a> {
    /// target[pixel] (+)= bias + Σ_taps source · weight[row]
    Correlate { weights: &'a [f32], bias: Option<&'a [f32]>, target: *mut f32, accumulate: bool },
    /// gradient[row] += Σ_pixels source · other[pixel]
    WeightGradient { other: *const f32, gradient: *mut f32 },
}

struct Call<'a> {
    pass: &'a Pass,
    channels: usize,
    source: *const f32,
    work: Work<'a>,
}

/// Lengths that offsets of a pass stay within.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub channels: usize,
    pub source_len: usize,
    pub target_len: usize,
    pub isa: Isa,
}

/// `target[pixel] (+)= bias + Σ_taps source[base + tap] · weights[row]`, channel by channel; `weights` is `[row][channel]`.
pub fn correlate(
    passes: &[Pass],
    extent: Extent,
    source: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    target: &mut [f32],
    accumulate: bool,
) {
    assert!(source.len() >= extent.source_len && target.len() >= extent.target_len, "buffers are too short");
    for pass in passes {
        let rows = pass.taps.iter().map(|(_, row)| *row as usize + 1).max().unwrap_or(0);
        assert!(weights.len() >= rows * extent.channels && bias.is_none_or(|bias| bias.len() >= extent.channels), "weights are too short");
        let work = Work::Correlate { weights, bias, target: target.as_mut_ptr(), accumulate };
        let call = Call { pass, channels: extent.channels, source: source.as_ptr(), work };
        // SAFETY: all offsets lie within the lengths checked above.
        unsafe { call.dispatch(extent.isa) };
    }
}

/// `gradient[row] += Σ_pixels source[base + tap] · other[pixel]`, channel by channel.
pub fn add_weight_gradient(passes: &[Pass], extent: Extent, source: &[f32], other: &[f32], gradient: &mut [f32]) {
    assert!(source.len() >= extent.source_len && other.len() >= extent.target_len, "buffers are too short");
    for pass in passes {
        let rows = pass.taps.iter().map(|(_, row)| *row as usize + 1).max().unwrap_or(0);
        assert!(gradient.len() >= rows * extent.channels, "gradient is too short");
        let work = Work::WeightGradient { other: other.as_ptr(), gradient: gradient.as_mut_ptr() };
        let call = Call { pass, channels: extent.channels, source: source.as_ptr(), work };
        // SAFETY: all offsets lie within the lengths checked above.
        unsafe { call.dispatch(extent.isa) };
    }
}

impl Call<'_> {
    unsafe fn dispatch(&self, isa: Isa) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            unsafe fn avx512(call: &Call<'_>) {
                unsafe { call.all::<Avx512>() }
            }
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(call: &Call<'_>) {
                unsafe { call.all::<Avx2>() }
            }
            match isa {
                Isa::Avx512 => return unsafe { avx512(self) },
                Isa::Avx2 => return unsafe { avx2(self) },
                Isa::Portable => {}
            }
        }
        let _ = isa;
        unsafe { self.all::<Portable>() }
    }

    #[inline(always)]
    unsafe fn all<V: Vector>(&self) {
        for channel in (0..self.channels).step_by(V::LANES) {
            let lanes = (self.channels - channel).min(V::LANES);
            match &self.work {
                Work::Correlate { weights, bias, target, accumulate } => {
                    let mut pixels = self.pass.pixels.as_slice();
                    while !pixels.is_empty() {
                        let count = if pixels.len() >= 4 { 4 } else { 1 };
                        unsafe {
                            let start = match bias {
                                Some(bias) => V::load(bias.as_ptr().add(channel), lanes),
                                None => V::splat(0.0),
                            };
                            let store = Store { target: target.add(channel), lanes, accumulate: *accumulate };
                            let weights = weights.as_ptr().add(channel);
                            match count {
                                4 => self.tile::<V, 4>(&pixels[..4], channel, weights, start, &store),
                                _ => self.tile::<V, 1>(&pixels[..1], channel, weights, start, &store),
                            }
                        }
                        pixels = &pixels[count..];
                    }
                }
                Work::WeightGradient { other, gradient } => {
                    for taps in self.pass.taps.chunks(9) {
                        unsafe { self.gradient_tile::<V>(taps, channel, lanes, other.add(channel), gradient.add(channel)) };
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Vector, const P: usize>(&self, pixels: &[(u32, u32)], channel: usize, weights: *const f32, start: V, store: &Store) {
        unsafe {
            let mut sums = [start; P];
            for (offset, row) in &self.pass.taps {
                let w = V::load(weights.add(*row as usize * self.channels), store.lanes);
                let tap = self.source.add(*offset as usize + channel);
                for (sum, (base, _)) in sums.iter_mut().zip(pixels) {
                    *sum = sum.add_product(V::load(tap.add(*base as usize), store.lanes), w);
                }
            }
            for (sum, (_, to)) in sums.iter().zip(pixels) {
                let to = store.target.add(*to as usize);
                let sum = if store.accumulate { sum.add(V::load(to, store.lanes)) } else { *sum };
                sum.store(to, store.lanes);
            }
        }
    }

    #[inline(always)]
    unsafe fn gradient_tile<V: Vector>(&self, taps: &[(u32, u32)], channel: usize, lanes: usize, other: *const f32, gradient: *mut f32) {
        unsafe {
            let mut sums = [V::splat(0.0); 9];
            for (base, at) in &self.pass.pixels {
                let g = V::load(other.add(*at as usize), lanes);
                for (sum, (offset, _)) in sums.iter_mut().zip(taps) {
                    let x = V::load(self.source.add(*base as usize + *offset as usize + channel), lanes);
                    *sum = sum.add_product(x, g);
                }
            }
            for (sum, (_, row)) in sums.iter().zip(taps) {
                let to = gradient.add(*row as usize * self.channels);
                sum.add(V::load(to, lanes)).store(to, lanes);
            }
        }
    }
}

/// Where a tile goes.
struct Store {
    target: *mut f32,
    lanes: usize,
    accumulate: bool,
}
