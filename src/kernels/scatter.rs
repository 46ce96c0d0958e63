//! Toward an image of very few channels: vectors along the channels would be mostly idle, so one matrix product makes
//! all contributions of a map row, and whole kernel rows are added into the image.
#![allow(unsafe_op_in_unsafe_fn)] // Every function here is the body of one unsafe call, checked by the caller.

use std::sync::Arc;

use super::aligned::{SLACK, align};
use super::indirect::{Indirection, Sweep};
use super::isa::Isa;
#[cfg(target_arch = "aarch64")]
use super::simd::Neon;
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Plain, Vector};
use super::window::{Direction, Frame, Window};

/// Most channels for which scattering is the faster way.
const FEW_CHANNELS: usize = 4;

/// Neighbours whose additions overlap are kept this many additions apart.
const SPREAD: usize = 4;

/// Adds a sum toward the image to what is there.
pub struct Scatter {
    product: Sweep,
    frame: Frame,
    map_row: usize,
    /// Where each map row adds its first element in the frame.
    rows: Vec<usize>,
    columns: usize,
    segments: Segments,
    isa: Isa,
}

/// The kernel rows that each map position adds.
struct Segments {
    /// Where each begins in the frame, as seen from the position.
    starts: Vec<usize>,
    len: usize,
    /// Distance between neighbouring positions in the frame.
    step: usize,
}

impl Scatter {
    pub fn suits(window: &Window) -> bool {
        let columns = (window.kernel.iter().product::<usize>()).saturating_mul(window.channels);
        let contributions = columns.saturating_mul(window.map[2]);
        let small = window.group == 1 && window.channels <= FEW_CHANNELS && contributions <= i32::MAX as usize;
        small && window.kernel[2] > 1 && window.dilation[2] == 1
    }

    /// `window` must suit and have a batch of one.
    pub fn new(window: &Window, isa: Isa) -> Self {
        let frame = Frame::new(window, Direction::ToMap, &window.slides(Direction::ToMap));
        let strides = frame.strides();
        let columns = window.kernel.iter().product::<usize>() * window.channels;
        let at = |index: usize, sizes: [usize; 3], steps: [usize; 3]| {
            index / sizes[1] * steps[0] * strides[0] + index % sizes[1] * steps[1] * strides[1]
        };
        let rows = (0..window.map[0] * window.map[1]).map(|row| at(row, window.map, window.stride));
        let starts = (0..window.kernel[0] * window.kernel[1]).map(|row| at(row, window.kernel, window.dilation));
        let product = Indirection::matrix(window.map[2], window.features, columns, 1, window.features);
        Scatter {
            product: Sweep::new(Arc::new(product), isa),
            map_row: window.map[2] * window.features,
            rows: rows.collect(),
            columns,
            segments: Segments {
                starts: starts.collect(),
                len: window.kernel[2] * window.channels,
                step: window.stride[2] * window.channels,
            },
            frame,
            isa,
        }
    }

    pub fn packed_len(&self) -> usize {
        self.product.packed_len()
    }

    pub fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        self.product.pack(weights, 1.0, packed);
    }

    fn contributions_len(&self) -> usize {
        (self.product.positions() * self.columns).next_multiple_of(SLACK)
    }

    pub fn scratch(&self) -> usize {
        let frame = if self.frame.is_source() { 0 } else { self.frame.len() };
        SLACK + self.contributions_len() + frame
    }

    /// Adds to `image`.
    pub fn run(&self, map: &[f32], packed: &[f32], image: &mut [f32], scratch: &mut [f32]) {
        let (contributions, rest) = align(scratch).split_at_mut(self.contributions_len());
        if self.frame.is_source() {
            return self.add_rows(map, packed, contributions, image);
        }
        let frame = &mut rest[..self.frame.len()];
        frame.fill(0.0);
        self.add_rows(map, packed, contributions, frame);
        self.frame.add_to_source(frame, image);
    }

    fn add_rows(&self, map: &[f32], packed: &[f32], contributions: &mut [f32], frame: &mut [f32]) {
        for (map_row, start) in map.chunks_exact(self.map_row).zip(&self.rows) {
            self.product.run(map_row, packed, &[], false, contributions);
            self.segments.add(self.isa, &contributions[..self.product.positions() * self.columns], &mut frame[*start..]);
        }
    }
}

impl Segments {
    /// Adds the contributions of one map row, `starts.len() · len` from each position.
    fn add(&self, isa: Isa, contributions: &[f32], frame: &mut [f32]) {
        let positions = contributions.len() / (self.starts.len() * self.len);
        let farthest = self.starts.iter().max().map_or(0, |start| start + self.len) + positions.saturating_sub(1) * self.step;
        assert!(frame.len() >= farthest);
        // SAFETY: the farthest element was just checked, and the chosen instruction set is available.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            match isa {
                Isa::Avx512 if isa.is_available() && self.len > Avx2::LANES => return avx512_add(self, contributions, positions, frame),
                Isa::Avx512 | Isa::Avx2 if isa.is_available() => return avx2_add(self, contributions, positions, frame),
                _ => {}
            }
            #[cfg(target_arch = "aarch64")]
            if isa == Isa::Neon {
                return add::<Neon>(self, contributions, positions, frame);
            }
            add::<Plain>(self, contributions, positions, frame);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_add(segments: &Segments, contributions: &[f32], positions: usize, frame: &mut [f32]) {
    add::<Avx2>(segments, contributions, positions, frame);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
unsafe fn avx512_add(segments: &Segments, contributions: &[f32], positions: usize, frame: &mut [f32]) {
    add::<Avx512>(segments, contributions, positions, frame);
}

#[inline(always)]
unsafe fn add<V: Vector>(segments: &Segments, contributions: &[f32], positions: usize, frame: &mut [f32]) {
    let tail = segments.len % V::LANES;
    let mask = V::mask(tail);
    for first in 0..SPREAD {
        let mut position = first;
        while position < positions {
            let mut from = contributions.as_ptr().add(position * segments.starts.len() * segments.len);
            let place = frame.as_mut_ptr().add(position * segments.step);
            for start in &segments.starts {
                let mut to = place.add(*start);
                for _ in 0..segments.len / V::LANES {
                    V::load(to).add(V::load(from)).store(to);
                    (from, to) = (from.add(V::LANES), to.add(V::LANES));
                }
                if tail > 0 {
                    V::load_masked(to, mask).add(V::load_masked(from, mask)).store_masked(to, mask);
                    from = from.add(tail);
                }
            }
            position += SPREAD;
        }
    }
}
