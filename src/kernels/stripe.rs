//! Register tiles of depthwise convolution: a few positions of one row, all channels, any kernel.
#![allow(clippy::needless_range_loop)] // Indices are constants of the tile, which unrolls.
#![allow(unsafe_op_in_unsafe_fn)] // Every function here is the body of one unsafe call, checked by the caller.

use super::indirect::even_parts;
use super::isa::Isa;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Plain, Vector};

/// One kernel position: offsets of its first channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    pub source: u32,
    pub weight: u32,
}

pub struct StripeCall {
    pub source: *const f32,
    pub source_step: usize,
    pub target: *mut f32,
    pub target_step: usize,
    pub factors: *const Factor,
    pub factor_count: usize,
    pub weights: *const f32,
    /// Null where there is none.
    pub bias: *const f32,
    pub channels: usize,
    pub accumulate: bool,
}

pub struct StripeGradientCall {
    source: *const f32,
    source_step: usize,
    gradient: *const f32,
    positions: usize,
    factors: *const Factor,
    weights: *mut f32,
    channels: usize,
}

type Stripe = unsafe fn(&StripeCall);
type StripeGradient = unsafe fn(&StripeGradientCall);

/// The stripes of one instruction set: sums by positions, gradients by kernel positions.
#[derive(Clone, Copy)]
pub struct Stripes {
    sums: &'static [Stripe],
    gradients: &'static [StripeGradient],
}

impl Stripes {
    /// The stripes of `isa` for `channels`, portable ones if it is not available.
    pub fn of(isa: Isa, channels: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        match isa {
            Isa::Avx512 if isa.is_available() && channels > Avx2::LANES => {
                return Stripes { sums: AVX512_SUMS, gradients: AVX512_GRADIENTS };
            }
            Isa::Avx512 | Isa::Avx2 if isa.is_available() => return Stripes { sums: AVX2_SUMS, gradients: AVX2_GRADIENTS },
            _ => {}
        }
        #[cfg(target_arch = "aarch64")]
        if isa == Isa::Neon {
            return Stripes { sums: NEON_SUMS, gradients: NEON_GRADIENTS };
        }
        Stripes { sums: PLAIN_SUMS, gradients: PLAIN_GRADIENTS }
    }

    /// # Safety
    /// All addresses of `positions` positions must be valid.
    pub unsafe fn sum(&self, call: &mut StripeCall, positions: usize) {
        for count in even_parts(positions, self.sums.len()) {
            self.sums[count - 1](call);
            call.source = call.source.wrapping_add(count * call.source_step);
            call.target = call.target.wrapping_add(count * call.target_step);
        }
    }

    /// # Safety
    /// All addresses of `positions` positions must be valid; the gradient's positions are `channels` apart.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn gradient(
        &self,
        source: *const f32,
        source_step: usize,
        gradient: *const f32,
        positions: usize,
        factors: &[Factor],
        weights: *mut f32,
        channels: usize,
    ) {
        let mut rest = factors;
        for count in even_parts(factors.len(), self.gradients.len()) {
            let (now, later) = rest.split_at(count);
            rest = later;
            let factors = now.as_ptr();
            self.gradients[count - 1](&StripeGradientCall { source, source_step, gradient, positions, factors, weights, channels });
        }
    }
}

#[inline(always)]
unsafe fn sum<V: Vector, const P: usize>(call: &StripeCall) {
    let mut channel = 0;
    while channel + V::LANES <= call.channels {
        sum_channels::<V, P, false>(call, channel, V::mask(0));
        channel += V::LANES;
    }
    if channel < call.channels {
        sum_channels::<V, P, true>(call, channel, V::mask(call.channels - channel));
    }
}

#[inline(always)]
unsafe fn sum_channels<V: Vector, const P: usize, const MASKED: bool>(call: &StripeCall, channel: usize, mask: V::Mask) {
    let mut sums = [V::splat(0.0); P];
    if !call.bias.is_null() {
        sums = [load::<V, MASKED>(call.bias.add(channel), mask); P];
    }
    for index in 0..call.factor_count {
        let factor = &*call.factors.add(index);
        let weight = load::<V, MASKED>(call.weights.add(factor.weight as usize + channel), mask);
        let from = call.source.add(factor.source as usize + channel);
        for p in 0..P {
            sums[p] = sums[p].mul_add(load::<V, MASKED>(from.add(p * call.source_step), mask), weight);
        }
    }
    for p in 0..P {
        let to = call.target.add(p * call.target_step + channel);
        if call.accumulate {
            sums[p] = load::<V, MASKED>(to, mask).add(sums[p]);
        }
        store::<V, MASKED>(sums[p], to, mask);
    }
}

#[inline(always)]
unsafe fn gradient<V: Vector, const T: usize>(call: &StripeGradientCall) {
    let mut channel = 0;
    while channel + V::LANES <= call.channels {
        gradient_channels::<V, T, false>(call, channel, V::mask(0));
        channel += V::LANES;
    }
    if channel < call.channels {
        gradient_channels::<V, T, true>(call, channel, V::mask(call.channels - channel));
    }
}

#[inline(always)]
unsafe fn gradient_channels<V: Vector, const T: usize, const MASKED: bool>(call: &StripeGradientCall, channel: usize, mask: V::Mask) {
    let mut sums = [V::splat(0.0); T];
    let mut from = [call.source; T];
    for t in 0..T {
        from[t] = call.source.add((*call.factors.add(t)).source as usize + channel);
    }
    let mut position = 0;
    let mut gradient = call.gradient.add(channel);
    for _ in 0..call.positions {
        let value = load::<V, MASKED>(gradient, mask);
        for t in 0..T {
            sums[t] = sums[t].mul_add(load::<V, MASKED>(from[t].add(position), mask), value);
        }
        position += call.source_step;
        gradient = gradient.wrapping_add(call.channels);
    }
    for t in 0..T {
        let to = call.weights.add((*call.factors.add(t)).weight as usize + channel);
        store::<V, MASKED>(load::<V, MASKED>(to, mask).add(sums[t]), to, mask);
    }
}

#[inline(always)]
unsafe fn load<V: Vector, const MASKED: bool>(from: *const f32, mask: V::Mask) -> V {
    if MASKED { V::load_masked(from, mask) } else { V::load(from) }
}

#[inline(always)]
unsafe fn store<V: Vector, const MASKED: bool>(value: V, to: *mut f32, mask: V::Mask) {
    if MASKED { value.store_masked(to, mask) } else { value.store(to) }
}

unsafe fn plain_sum<const P: usize>(call: &StripeCall) {
    sum::<Plain, P>(call);
}

unsafe fn plain_gradient<const T: usize>(call: &StripeGradientCall) {
    gradient::<Plain, T>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_sum<const P: usize>(call: &StripeCall) {
    sum::<Avx2, P>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_gradient<const T: usize>(call: &StripeGradientCall) {
    gradient::<Avx2, T>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn avx512_sum<const P: usize>(call: &StripeCall) {
    sum::<Avx512, P>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn avx512_gradient<const T: usize>(call: &StripeGradientCall) {
    gradient::<Avx512, T>(call);
}

#[cfg(target_arch = "aarch64")]
unsafe fn neon_sum<const P: usize>(call: &StripeCall) {
    sum::<Neon, P>(call);
}

#[cfg(target_arch = "aarch64")]
unsafe fn neon_gradient<const T: usize>(call: &StripeGradientCall) {
    gradient::<Neon, T>(call);
}

/// A function for every count.
macro_rules! counts {
    ($function:ident, $($count:literal)*) => { &[$($function::<$count>),*] };
}

static PLAIN_SUMS: &[Stripe] = counts!(plain_sum, 1 2 3 4);
static PLAIN_GRADIENTS: &[StripeGradient] = counts!(plain_gradient, 1 2 3 4 5);
#[cfg(target_arch = "aarch64")]
static NEON_SUMS: &[Stripe] = counts!(neon_sum, 1 2 3 4 5 6 7 8);
#[cfg(target_arch = "aarch64")]
static NEON_GRADIENTS: &[StripeGradient] = counts!(neon_gradient, 1 2 3 4 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
static AVX2_SUMS: &[Stripe] = counts!(avx2_sum, 1 2 3 4 5 6 7 8);
#[cfg(target_arch = "x86_64")]
static AVX2_GRADIENTS: &[StripeGradient] = counts!(avx2_gradient, 1 2 3 4 5 6 7 8 9);
#[cfg(target_arch = "x86_64")]
static AVX512_SUMS: &[Stripe] = counts!(avx512_sum, 1 2 3 4 5 6 7 8);
#[cfg(target_arch = "x86_64")]
static AVX512_GRADIENTS: &[StripeGradient] = counts!(avx512_gradient, 1 2 3 4 5 6 7 8 9 10 11 12);
