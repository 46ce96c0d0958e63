//! Register tiles: the innermost loops of dense convolution and matrix products.
#![allow(clippy::needless_range_loop)] // Indices are constants of the tile, which unrolls.
#![allow(unsafe_op_in_unsafe_fn)] // Every function here is the body of one unsafe call, checked by the caller.

use super::indirect::Run;
use super::isa::Isa;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Plain, Vector};

/// What one tile of positions × columns works on.
pub struct TileCall {
    pub source: *const f32,
    pub sources: *const u32,
    pub targets: *const u32,
    pub runs: *const Run,
    pub run_count: usize,
    pub weights: *const f32,
    /// Null where there is none.
    pub bias: *const f32,
    pub output: *mut f32,
    /// Lanes in use in the last vector.
    pub lanes: usize,
    pub accumulate: bool,
}

/// What one tile of the weights' gradient works on.
pub struct OuterCall {
    /// First of the source elements that belong to the tile's rows, for position 0.
    pub source: *const f32,
    pub sources: *const u32,
    pub gradient: *const f32,
    pub targets: *const u32,
    pub positions: usize,
    pub weights: *mut f32,
    pub row_pitch: usize,
    pub lanes: usize,
}

pub type Tile = unsafe fn(&TileCall);
pub type Outer = unsafe fn(&OuterCall);

/// The tiles of one instruction set: `[vectors − 1][positions or rows − 1]`.
#[derive(Clone, Copy)]
pub struct Tiles {
    pub lanes: usize,
    pub sums: &'static [&'static [Tile]],
    pub outers: &'static [&'static [Outer]],
}

impl Tiles {
    /// The tiles of `isa` for `width` columns, portable ones if it is not available.
    pub fn of(isa: Isa, width: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        match isa {
            Isa::Avx512 if isa.is_available() && width > Avx2::LANES => {
                return Tiles { lanes: Avx512::LANES, sums: &AVX512_SUMS, outers: &AVX512_OUTERS };
            }
            Isa::Avx512 | Isa::Avx2 if isa.is_available() => return Tiles { lanes: Avx2::LANES, sums: &AVX2_SUMS, outers: &AVX2_OUTERS },
            _ => {}
        }
        #[cfg(target_arch = "aarch64")]
        if isa == Isa::Neon {
            return Tiles { lanes: Neon::LANES, sums: &NEON_SUMS, outers: &NEON_OUTERS };
        }
        Tiles { lanes: Plain::LANES, sums: &PLAIN_SUMS, outers: &PLAIN_OUTERS }
    }

    /// Vectors per block of sums for `width` columns: two or three where there are positions enough to reuse the weights.
    pub fn sum_vectors(&self, width: usize, positions: usize) -> usize {
        if positions < 4 { self.sums.len() } else { self.sums.len().min(self.even_vectors(width)) }
    }

    /// Vectors per block of outer products for `width` columns.
    pub fn outer_vectors(&self, width: usize) -> usize {
        self.outers.len().min(self.even_vectors(width))
    }

    fn even_vectors(&self, width: usize) -> usize {
        if width.div_ceil(self.lanes).is_multiple_of(2) { 2 } else { 3 }
    }
}

#[inline(always)]
unsafe fn sum<V: Vector, const P: usize, const N: usize>(call: &TileCall) {
    let mask = V::mask(call.lanes);
    let mut sums = [[V::splat(0.0); N]; P];
    if !call.bias.is_null() {
        let bias = load_row::<V, N>(call.bias, mask);
        sums = [bias; P];
    }
    let mut weights = call.weights;
    for index in 0..call.run_count {
        let run = &*call.runs.add(index);
        let mut from = [call.source; P];
        for p in 0..P {
            from[p] = call.source.add((*call.sources.add(p) + run.source) as usize);
        }
        for k in 0..run.length as usize {
            let mut row = [V::splat(0.0); N];
            for n in 0..N {
                row[n] = V::load(weights.add(n * V::LANES));
            }
            for p in 0..P {
                let value = V::splat(*from[p].add(k));
                for n in 0..N {
                    sums[p][n] = sums[p][n].mul_add(value, row[n]);
                }
            }
            weights = weights.add(N * V::LANES);
        }
    }
    for p in 0..P {
        let to = call.output.add(*call.targets.add(p) as usize);
        if call.accumulate {
            add_row::<V, N>(sums[p], to, mask);
        } else {
            store_row::<V, N>(sums[p], to, mask);
        }
    }
}

#[inline(always)]
unsafe fn outer<V: Vector, const P: usize, const N: usize>(call: &OuterCall) {
    if call.lanes == V::LANES {
        outer_lanes::<V, P, N, false>(call);
    } else {
        outer_lanes::<V, P, N, true>(call);
    }
}

#[inline(always)]
unsafe fn outer_lanes<V: Vector, const P: usize, const N: usize, const MASKED: bool>(call: &OuterCall) {
    let mask = V::mask(call.lanes);
    let mut sums = [[V::splat(0.0); N]; P];
    for position in 0..call.positions {
        let from = call.source.add(*call.sources.add(position) as usize);
        let gradient = call.gradient.add(*call.targets.add(position) as usize);
        let row = if MASKED { load_row::<V, N>(gradient, mask) } else { load_full_row::<V, N>(gradient) };
        for p in 0..P {
            let value = V::splat(*from.add(p));
            for n in 0..N {
                sums[p][n] = sums[p][n].mul_add(value, row[n]);
            }
        }
    }
    for p in 0..P {
        add_row::<V, N>(sums[p], call.weights.add(p * call.row_pitch), mask);
    }
}

#[inline(always)]
unsafe fn load_row<V: Vector, const N: usize>(from: *const f32, mask: V::Mask) -> [V; N] {
    let mut row = [V::splat(0.0); N];
    for n in 0..N - 1 {
        row[n] = V::load(from.add(n * V::LANES));
    }
    row[N - 1] = V::load_masked(from.add((N - 1) * V::LANES), mask);
    row
}

#[inline(always)]
unsafe fn load_full_row<V: Vector, const N: usize>(from: *const f32) -> [V; N] {
    let mut row = [V::splat(0.0); N];
    for n in 0..N {
        row[n] = V::load(from.add(n * V::LANES));
    }
    row
}

#[inline(always)]
unsafe fn store_row<V: Vector, const N: usize>(row: [V; N], to: *mut f32, mask: V::Mask) {
    for n in 0..N - 1 {
        row[n].store(to.add(n * V::LANES));
    }
    row[N - 1].store_masked(to.add((N - 1) * V::LANES), mask);
}

#[inline(always)]
unsafe fn add_row<V: Vector, const N: usize>(mut row: [V; N], to: *mut f32, mask: V::Mask) {
    let before = load_row::<V, N>(to, mask);
    for n in 0..N {
        row[n] = before[n].add(row[n]);
    }
    store_row::<V, N>(row, to, mask);
}

unsafe fn plain_sum<const P: usize, const N: usize>(call: &TileCall) {
    sum::<Plain, P, N>(call);
}

unsafe fn plain_outer<const P: usize, const N: usize>(call: &OuterCall) {
    outer::<Plain, P, N>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_sum<const P: usize, const N: usize>(call: &TileCall) {
    sum::<Avx2, P, N>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_outer<const P: usize, const N: usize>(call: &OuterCall) {
    outer::<Avx2, P, N>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn avx512_sum<const P: usize, const N: usize>(call: &TileCall) {
    sum::<Avx512, P, N>(call);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn avx512_outer<const P: usize, const N: usize>(call: &OuterCall) {
    outer::<Avx512, P, N>(call);
}

#[cfg(target_arch = "aarch64")]
unsafe fn neon_sum<const P: usize, const N: usize>(call: &TileCall) {
    sum::<Neon, P, N>(call);
}

#[cfg(target_arch = "aarch64")]
unsafe fn neon_outer<const P: usize, const N: usize>(call: &OuterCall) {
    outer::<Neon, P, N>(call);
}

/// One column of a table: a tile function for every count of positions.
macro_rules! column {
    ($function:ident, $vectors:literal, $($positions:literal)*) => { &[$($function::<$positions, $vectors>),*] };
}

static PLAIN_SUMS: [&[Tile]; 2] = [column!(plain_sum, 1, 1 2 3 4 5), column!(plain_sum, 2, 1 2)];
static PLAIN_OUTERS: [&[Outer]; 2] = [column!(plain_outer, 1, 1 2 3 4 5), column!(plain_outer, 2, 1 2)];

// Like AVX-512, NEON has 32 registers.
#[cfg(target_arch = "aarch64")]
static NEON_SUMS: [&[Tile]; 4] = [
    column!(neon_sum, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
    column!(neon_sum, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
    column!(neon_sum, 3, 1 2 3 4 5 6 7 8),
    column!(neon_sum, 4, 1 2 3 4 5 6),
];
#[cfg(target_arch = "aarch64")]
static NEON_OUTERS: [&[Outer]; 3] = [
    column!(neon_outer, 1, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16),
    column!(neon_outer, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
    column!(neon_outer, 3, 1 2 3 4 5 6 7 8),
];

#[cfg(target_arch = "x86_64")]
static AVX2_SUMS: [&[Tile]; 4] = [
    column!(avx2_sum, 1, 1 2 3 4 5 6 7 8 9 10),
    column!(avx2_sum, 2, 1 2 3 4 5 6),
    column!(avx2_sum, 3, 1 2 3 4),
    column!(avx2_sum, 4, 1 2 3),
];
#[cfg(target_arch = "x86_64")]
static AVX2_OUTERS: [&[Outer]; 3] =
    [column!(avx2_outer, 1, 1 2 3 4 5 6 7 8 9 10), column!(avx2_outer, 2, 1 2 3 4 5 6), column!(avx2_outer, 3, 1 2 3 4)];

#[cfg(target_arch = "x86_64")]
static AVX512_SUMS: [&[Tile]; 4] = [
    column!(avx512_sum, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
    column!(avx512_sum, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
    column!(avx512_sum, 3, 1 2 3 4 5 6 7 8),
    column!(avx512_sum, 4, 1 2 3 4 5 6),
];
#[cfg(target_arch = "x86_64")]
static AVX512_OUTERS: [&[Outer]; 3] = [
    column!(avx512_outer, 1, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16),
    column!(avx512_outer, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
    column!(avx512_outer, 3, 1 2 3 4 5 6 7 8),
];
