//! The one loop behind convolution, its gradients, transposed convolution and matrix products:
//! `target[p] (+)= bias + Σ_taps Σ_c source[base(p) + offset(tap) + c] · weight[tap][c]`.

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Vector};

/// Target pixels that use the same taps.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Source offset and target offset of each pixel's first channel.
    pub pixels: Vec<(u32, u32)>,
    /// Source offset of each tap, and which row of the weights it is.
    pub taps: Vec<(u32, u32)>,
}

/// Sums over taps and channels for every pixel of its passes. Channels are contiguous in source and target.
#[derive(Clone, Debug)]
pub struct Correlation {
    pub passes: Vec<Pass>,
    pub groups: usize,
    /// Channels of one group.
    pub source_channels: usize,
    pub target_channels: usize,
    /// Elements that the source and the target must have.
    pub source_len: usize,
    pub target_len: usize,
    pub isa: Isa,
}

/// Weights in the order in which the loop reads them: for each group, pass and block of target channels
/// `[tap][source channel][block]`, padded with zeros to whole vectors.
#[derive(Clone, Debug, Default)]
pub struct Packed(Vec<f32>);

/// Vectors of target channels that one tile makes.
const WIDE: usize = 2;

impl Correlation {
    fn lanes(&self) -> usize {
        match self.isa {
            Isa::Avx512 => 16,
            _ => 8,
        }
    }

    /// First channel and number of vectors of each block of target channels.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (lanes, channels) = (self.lanes(), self.target_channels);
        let step = WIDE * lanes;
        (0..channels).step_by(step).map(move |first| (first, if channels - first > lanes { WIDE } else { 1 }))
    }

    /// Packs weights; `weight(group, row, source channel, target channel)` gives each.
    pub fn pack(&self, weight: impl Fn(usize, usize, usize, usize) -> f32) -> Packed {
        let mut packed = Vec::new();
        for group in 0..self.groups {
            for pass in &self.passes {
                for (first, vectors) in self.blocks() {
                    let width = vectors * self.lanes();
                    for (_, row) in &pass.taps {
                        for source in 0..self.source_channels {
                            packed.extend((first..first + width).map(|target| {
                                if target < self.target_channels { weight(group, *row as usize, source, target) } else { 0.0 }
                            }));
                        }
                    }
                }
            }
        }
        Packed(packed)
    }

    /// Runs all passes. `bias` has one number for each target channel of all groups.
    pub fn run(&self, source: &[f32], weights: &Packed, bias: Option<&[f32]>, target: &mut [f32], accumulate: bool) {
        assert!(source.len() >= self.source_len && target.len() >= self.target_len, "buffers are too short");
        assert!(bias.is_none_or(|bias| bias.len() >= self.groups * self.target_channels), "bias is too short");
        let mut at = 0;
        for group in 0..self.groups {
            for pass in &self.passes {
                for (first, vectors) in self.blocks() {
                    let len = pass.taps.len() * self.source_channels * vectors * self.lanes();
                    let block = Block {
                        pass,
                        source: source[group * self.source_channels..].as_ptr(),
                        weights: weights.0[at..at + len].as_ptr(),
                        channels: self.source_channels,
                        bias: bias.map(|bias| bias[group * self.target_channels + first..].as_ptr()),
                        target: target[group * self.target_channels + first..].as_mut_ptr(),
                        width: (self.target_channels - first).min(vectors * self.lanes()),
                        accumulate,
                    };
                    at += len;
                    // SAFETY: `Geometry` builds offsets within source_len and target_len, which were checked above.
                    unsafe { block.dispatch(self.isa, vectors) };
                }
            }
        }
    }
}

/// One block of target channels over all pixels of a pass.
struct Block<'a> {
    pass: &'a Pass,
    source: *const f32,
    weights: *const f32,
    channels: usize,
    bias: Option<*const f32>,
    target: *mut f32,
    /// Channels to store.
    width: usize,
    accumulate: bool,
}

impl Block<'_> {
    unsafe fn dispatch(&self, isa: Isa, vectors: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            unsafe fn avx512(block: &Block<'_>, vectors: usize) {
                match vectors {
                    1 => unsafe { block.all::<Avx512, 14, 1>() },
                    _ => unsafe { block.all::<Avx512, 12, 2>() },
                }
            }
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(block: &Block<'_>, vectors: usize) {
                match vectors {
                    1 => unsafe { block.all::<Avx2, 10, 1>() },
                    _ => unsafe { block.all::<Avx2, 6, 2>() },
                }
            }
            match isa {
                Isa::Avx512 => return unsafe { avx512(self, vectors) },
                Isa::Avx2 => return unsafe { avx2(self, vectors) },
                Isa::Portable => {}
            }
        }
        let _ = isa;
        match vectors {
            1 => unsafe { self.all::<Portable, 4, 1>() },
            _ => unsafe { self.all::<Portable, 4, 2>() },
        }
    }

    #[inline(always)]
    unsafe fn all<V: Vector, const P: usize, const N: usize>(&self) {
        let mut pixels = self.pass.pixels.as_slice();
        while pixels.len() >= P {
            unsafe { self.tile::<V, P, N>(&pixels[..P]) };
            pixels = &pixels[P..];
        }
        while pixels.len() >= 4 {
            unsafe { self.tile::<V, 4, N>(&pixels[..4]) };
            pixels = &pixels[4..];
        }
        for pixel in pixels {
            unsafe { self.tile::<V, 1, N>(std::slice::from_ref(pixel)) };
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Vector, const P: usize, const N: usize>(&self, pixels: &[(u32, u32)]) {
        unsafe {
            let mut sums = [[V::splat(0.0); N]; P];
            if let Some(bias) = self.bias {
                for n in 0..N {
                    let lanes = V::load(bias.add(n * V::LANES), self.lanes_of::<V>(n));
                    for row in &mut sums {
                        row[n] = lanes;
                    }
                }
            }
            let mut sources = [self.source; P];
            for (source, (base, _)) in sources.iter_mut().zip(pixels) {
                *source = self.source.add(*base as usize);
            }
            let mut weights = self.weights;
            for (offset, _) in &self.pass.taps {
                let offset = *offset as usize;
                for channel in offset..offset + self.channels {
                    let mut w = [V::splat(0.0); N];
                    for (n, w) in w.iter_mut().enumerate() {
                        *w = V::load_all(weights.add(n * V::LANES));
                    }
                    weights = weights.add(N * V::LANES);
                    for p in 0..P {
                        let x = V::splat(*sources[p].add(channel));
                        for n in 0..N {
                            sums[p][n] = sums[p][n].add_product(x, w[n]);
                        }
                    }
                }
            }
            for (row, (_, to)) in sums.iter().zip(pixels) {
                for (n, sum) in row.iter().enumerate() {
                    let (to, lanes) = (self.target.add(*to as usize + n * V::LANES), self.lanes_of::<V>(n));
                    let sum = if self.accumulate { sum.add(V::load(to, lanes)) } else { *sum };
                    sum.store(to, lanes);
                }
            }
        }
    }

    #[inline(always)]
    fn lanes_of<V: Vector>(&self, n: usize) -> usize {
        self.width.saturating_sub(n * V::LANES).min(V::LANES)
    }
}

/// Adds Σ_pixels source[base + tap + c] · other[pixel][o] to `gradient[row][c][group · O + o]`, the gradient of the weights of
/// `forward`, whose single pass pairs source pixels with the pixels of `other`.
pub fn add_weight_gradient(forward: &Correlation, source: &[f32], other: &[f32], gradient: &mut [f32]) {
    let (c, o) = (forward.source_channels, forward.target_channels);
    assert!(source.len() >= forward.source_len && other.len() >= forward.target_len, "buffers are too short");
    let row_stride = o * forward.groups;
    for pass in &forward.passes {
        for (tap, row) in &pass.taps {
            let rows = &mut gradient[*row as usize * c * row_stride..(*row as usize + 1) * c * row_stride];
            for group in 0..forward.groups {
                let product = OuterProduct {
                    pixels: &pass.pixels,
                    source: source[group * c..].as_ptr(),
                    tap: *tap as usize,
                    other: other[group * o..].as_ptr(),
                    gradient: rows[group * o..].as_mut_ptr(),
                    channels: (c, o),
                    row_stride,
                };
                // SAFETY: the same offsets as in `Correlation::run`, checked against the same lengths.
                unsafe { product.dispatch(forward.isa) };
            }
        }
    }
}

struct OuterProduct<'a> {
    pixels: &'a [(u32, u32)],
    source: *const f32,
    tap: usize,
    other: *const f32,
    gradient: *mut f32,
    channels: (usize, usize),
    row_stride: usize,
}

impl OuterProduct<'_> {
    unsafe fn dispatch(&self, isa: Isa) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            unsafe fn avx512(product: &OuterProduct<'_>) {
                unsafe { product.all::<Avx512, 12>() }
            }
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(product: &OuterProduct<'_>) {
                unsafe { product.all::<Avx2, 6>() }
            }
            match isa {
                Isa::Avx512 => return unsafe { avx512(self) },
                Isa::Avx2 => return unsafe { avx2(self) },
                Isa::Portable => {}
            }
        }
        let _ = isa;
        unsafe { self.all::<Portable, 4>() }
    }

    #[inline(always)]
    unsafe fn all<V: Vector, const Q: usize>(&self) {
        let (channels, others) = self.channels;
        let mut other = 0;
        while other < others {
            let wide = others - other > V::LANES;
            let mut channel = 0;
            while channel < channels {
                let rows = channels - channel;
                let step = if rows >= Q { Q } else { rows.min(4) };
                unsafe {
                    match (wide, rows >= Q) {
                        (true, true) => self.tile::<V, Q, 2>(channel, other, Q),
                        (true, false) => self.tile::<V, 4, 2>(channel, other, step),
                        (false, true) => self.tile::<V, Q, 1>(channel, other, Q),
                        (false, false) => self.tile::<V, 4, 1>(channel, other, step),
                    }
                }
                channel += step;
            }
            other += if wide { 2 * V::LANES } else { V::LANES };
        }
    }

    /// Rows `channel..channel + count` (`count ≤ Q`) of N vectors from `other` on.
    #[inline(always)]
    unsafe fn tile<V: Vector, const Q: usize, const N: usize>(&self, channel: usize, other: usize, count: usize) {
        unsafe {
            let left = self.channels.1 - other;
            let mut sums = [[V::splat(0.0); N]; Q];
            for (from, at) in self.pixels {
                let row = self.source.add(*from as usize + self.tap + channel);
                let mut g = [V::splat(0.0); N];
                for (n, g) in g.iter_mut().enumerate() {
                    let lanes = left.saturating_sub(n * V::LANES).min(V::LANES);
                    *g = V::load(self.other.add(*at as usize + other + n * V::LANES), lanes);
                }
                for (q, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*row.add(q.min(count - 1)));
                    for (sum, g) in sums.iter_mut().zip(g) {
                        *sum = sum.add_product(x, g);
                    }
                }
            }
            for (q, sums) in sums.iter().enumerate().take(count) {
                for (n, sum) in sums.iter().enumerate() {
                    let lanes = left.saturating_sub(n * V::LANES).min(V::LANES);
                    let to = self.gradient.add((channel + q) * self.row_stride + other + n * V::LANES);
                    sum.add(V::load(to, lanes)).store(to, lanes);
                }
            }
        }
    }
}
