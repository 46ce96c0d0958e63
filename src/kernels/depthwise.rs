//! Depthwise convolution: one channel of the map from one channel of the image, vectors along the channels.

use super::isa::Isa;
use super::stripe::{Factor, StripeCall, Stripes};
use super::window::{Axis, Direction, Slide, Tap, Window};

/// Neighbouring target positions of one row that use the same kernel positions.
struct Piece {
    source: u32,
    target: u32,
    positions: u32,
    /// Index into the lists of factors.
    factors: u32,
}

/// One direction of a depthwise convolution. Weights lie as `[kD, kH, kW, channels]`, unpacked.
pub struct Depthwise {
    channels: usize,
    stripes: Stripes,
    slides: Vec<SlidePieces>,
    source_len: usize,
    target_len: usize,
    weight_len: usize,
}

struct SlidePieces {
    pieces: Vec<Piece>,
    factors: Vec<Vec<Factor>>,
    source_step: usize,
    target_step: usize,
}

impl Depthwise {
    /// `window` must be depthwise with a batch of one.
    pub fn new(window: &Window, direction: Direction, isa: Isa) -> Self {
        let (source, channels) = window.source(direction);
        let (target, _) = window.target(direction);
        let slides = window.slides(direction);
        Depthwise {
            channels,
            stripes: Stripes::of(isa, channels),
            slides: slides.iter().map(|slide| SlidePieces::new(slide, source, target, window.kernel, channels)).collect(),
            source_len: source.iter().product::<usize>() * channels,
            target_len: target.iter().product::<usize>() * channels,
            weight_len: window.weight_len(),
        }
    }

    /// Writes, or adds to, all of `target`. `bias` has one value per channel or is empty.
    ///
    /// # Panics
    /// If a slice is too short.
    pub fn run(&self, source: &[f32], weights: &[f32], bias: &[f32], accumulate: bool, target: &mut [f32]) {
        self.check(source.len(), target.len(), weights.len());
        assert!(bias.is_empty() || bias.len() >= self.channels);
        for slide in &self.slides {
            for piece in &slide.pieces {
                let factors = &slide.factors[piece.factors as usize];
                let mut call = StripeCall {
                    source: source[piece.source as usize..].as_ptr(),
                    source_step: slide.source_step,
                    target: target[piece.target as usize..].as_mut_ptr(),
                    target_step: slide.target_step,
                    factors: factors.as_ptr(),
                    factor_count: factors.len(),
                    weights: weights.as_ptr(),
                    bias: if bias.is_empty() { std::ptr::null() } else { bias.as_ptr() },
                    channels: self.channels,
                    accumulate,
                };
                // SAFETY: the lengths of all slices were checked against the window that the pieces were cut from.
                unsafe { self.stripes.sum(&mut call, piece.positions as usize) };
            }
        }
    }

    /// Adds the gradient of the weights of a sum toward the map, given the gradient of the map.
    ///
    /// # Panics
    /// If a slice is too short.
    pub fn add_weight_gradient(&self, source: &[f32], gradient: &[f32], weights: &mut [f32]) {
        self.check(source.len(), gradient.len(), weights.len());
        for slide in &self.slides {
            for piece in &slide.pieces {
                let factors = &slide.factors[piece.factors as usize];
                // SAFETY: as in `run`.
                unsafe {
                    self.stripes.gradient(
                        source[piece.source as usize..].as_ptr(),
                        slide.source_step,
                        gradient[piece.target as usize..].as_ptr(),
                        piece.positions as usize,
                        factors,
                        weights.as_mut_ptr(),
                        self.channels,
                    );
                }
            }
        }
    }

    fn check(&self, source: usize, target: usize, weights: usize) {
        assert!(source >= self.source_len && target >= self.target_len && weights >= self.weight_len);
    }
}

impl SlidePieces {
    fn new(slide: &Slide, source: [usize; 3], target: [usize; 3], kernel: [usize; 3], channels: usize) -> Self {
        let mut made = SlidePieces {
            pieces: Vec::new(),
            factors: Vec::new(),
            source_step: slide[2].source_step * channels,
            target_step: slide[2].step * channels,
        };
        for depth in spans(&slide[0], source[0], true) {
            for height in spans(&slide[1], source[1], true) {
                for width in spans(&slide[2], source[2], false) {
                    made.push([&depth, &height, &width], slide, source, target, kernel, channels);
                }
            }
        }
        made
    }

    fn push(&mut self, spans: [&Span; 3], slide: &Slide, source: [usize; 3], target: [usize; 3], kernel: [usize; 3], channels: usize) {
        let place = |size: [usize; 3], at: [usize; 3]| ((at[0] * size[1] + at[1]) * size[2] + at[2]) * channels;
        let axis = |f: &dyn Fn(usize) -> usize| [f(0), f(1), f(2)];
        let lowest = axis(&|i| spans[i].lowest_source(&slide[i]));
        let offset = |i: usize, tap: &Tap| (tap.offset - spans[i].taps[0].offset) as usize;
        let mut factors = Vec::new();
        for depth in spans[0].taps {
            for height in spans[1].taps {
                for width in spans[2].taps {
                    factors.push(Factor {
                        source: place(source, [offset(0, depth), offset(1, height), offset(2, width)]) as u32,
                        weight: place(kernel, [depth.index, height.index, width.index]) as u32,
                    });
                }
            }
        }
        let known = self.factors.iter().position(|list| *list == factors);
        let index = known.unwrap_or_else(|| {
            self.factors.push(factors);
            self.factors.len() - 1
        });
        self.pieces.push(Piece {
            source: if spans.iter().any(|span| span.taps.is_empty()) { 0 } else { place(source, lowest) as u32 },
            target: place(target, axis(&|i| slide[i].start + slide[i].step * spans[i].first)) as u32,
            positions: spans[2].count as u32,
            factors: index as u32,
        });
    }
}

/// Neighbouring positions along an axis whose taps fall inside the source: the same taps for all.
struct Span<'a> {
    first: usize,
    count: usize,
    taps: &'a [Tap],
}

impl Span<'_> {
    fn lowest_source(&self, axis: &Axis) -> usize {
        self.taps.first().map_or(0, |tap| ((axis.source_step * self.first) as isize + tap.offset).max(0) as usize)
    }
}

fn spans<'a>(axis: &'a Axis, source: usize, single: bool) -> Vec<Span<'a>> {
    let mut spans: Vec<Span<'a>> = Vec::new();
    for position in 0..axis.count {
        let at = |tap: &Tap| (axis.source_step * position) as isize + tap.offset;
        let first = axis.taps.partition_point(|tap| at(tap) < 0);
        let end = axis.taps.partition_point(|tap| at(tap) < source as isize).max(first);
        let taps = &axis.taps[first..end];
        match spans.last_mut() {
            Some(last) if !single && last.taps == taps => last.count += 1,
            _ => spans.push(Span { first: position, count: 1, taps }),
        }
    }
    spans
}
