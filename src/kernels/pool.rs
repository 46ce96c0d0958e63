//! Pooling over up to three spatial dimensions.

use std::ops::Range;

use super::Isa;
use crate::ops::operator::{BackwardCall, Kernel, Layout};

/// How a window slides along one spatial dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slide {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    /// Distance between neighbours under the window.
    pub dilation: usize,
    /// Zeros before the input.
    pub before: usize,
    /// Zeros after the input.
    pub after: usize,
}

impl Slide {
    /// A dimension that is not there.
    pub const NONE: Slide = Slide { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// Input positions under the window at output position `place`.
    #[inline(always)]
    fn covered(&self, place: usize) -> Covered {
        let start = place * self.stride;
        let skipped = self.before.saturating_sub(start).div_ceil(self.dilation);
        let end = (start + (self.kernel - 1) * self.dilation + 1).saturating_sub(self.before).min(self.input);
        Covered { range: (start + skipped * self.dilation).saturating_sub(self.before)..end, step: self.dilation }
    }

    /// Positions under the window, zeros included; what lies beyond the zeros does not count.
    #[inline(always)]
    fn padded(&self, place: usize) -> usize {
        let room = self.before + self.input + self.after - place * self.stride;
        room.div_ceil(self.dilation).min(self.kernel)
    }
}

/// Every `step`-th position of a range.
struct Covered {
    range: Range<usize>,
    step: usize,
}

impl Covered {
    #[inline(always)]
    fn positions(&self) -> impl Iterator<Item = usize> + use<> {
        self.range.clone().step_by(self.step)
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.range.len().div_ceil(self.step)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pooling {
    /// Of several largest elements the first takes the gradient.
    Max,
    Average {
        count_include_pad: bool,
    },
    /// The p-th root of the sum of p-th powers of magnitudes.
    Length {
        p: f32,
    },
}

/// MaxPool and AveragePool.
pub struct Pool {
    pooling: Pooling,
    slides: [Slide; 3],
    /// Where each image, or each channel of it where channels are not contiguous, starts in input and output.
    starts: Vec<(usize, usize)>,
    /// Contiguous channels.
    lane: usize,
    input_strides: [usize; 3],
    output_strides: [usize; 3],
    isa: Isa,
}

impl Pool {
    /// Layouts are of `[N, C, …]` with one to three spatial dimensions, one of `slides` for each.
    pub fn new(pooling: Pooling, slides: &[Slide], input: &Layout, output: &Layout, isa: Isa) -> Self {
        let channels = input.shape[1];
        let lane = if input.strides[1] == 1 && output.strides[1] == 1 { channels } else { 1 };
        let places = (0..input.shape[0]).flat_map(|n| (0..channels).step_by(lane.max(1)).map(move |c| (n, c)));
        let at = |layout: &Layout, n: usize, c: usize| n * layout.strides[0] + c * layout.strides[1];
        let starts = places.map(|(n, c)| (at(input, n, c), at(output, n, c))).collect();
        let (input_strides, output_strides) = (last_three(&input.strides[2..], 0), last_three(&output.strides[2..], 0));
        Pool { pooling, slides: last_three(slides, Slide::NONE), starts, lane, input_strides, output_strides, isa }
    }

    /// Calls `visit(window, offset)` for every output position: the input under it and its own place in memory.
    #[inline(always)]
    fn for_each_window(&self, mut visit: impl FnMut(Window<'_>, usize)) {
        let [depth, height, width] = &self.slides;
        for (from, to) in &self.starts {
            for d in 0..depth.output {
                for h in 0..height.output {
                    for w in 0..width.output {
                        let covered = [depth.covered(d), height.covered(h), width.covered(w)];
                        let [sd, sh, sw] = self.output_strides;
                        let window = Window { start: *from, covered, strides: &self.input_strides, places: [d, h, w] };
                        visit(window, to + d * sd + h * sh + w * sw);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn count(&self, window: &Window<'_>) -> f32 {
        let padded = matches!(self.pooling, Pooling::Average { count_include_pad: true });
        let sizes = (0..3).map(|axis| if padded { self.slides[axis].padded(window.places[axis]) } else { window.covered[axis].count() });
        sizes.product::<usize>() as f32
    }

    #[inline(always)]
    fn write_maxima(&self, x: &[f32], output: &mut [f32]) {
        self.for_each_window(
            #[inline(always)]
            |window, at| {
                let y = &mut output[at..][..self.lane];
                y.fill(f32::NEG_INFINITY);
                window.for_each(
                    #[inline(always)]
                    |from| y.iter_mut().zip(&x[from..][..self.lane]).for_each(|(y, x)| *y = if *x > *y { *x } else { *y }),
                );
            },
        );
    }

    #[inline(always)]
    fn write_means(&self, x: &[f32], output: &mut [f32]) {
        self.for_each_window(
            #[inline(always)]
            |window, at| {
                let y = &mut output[at..][..self.lane];
                y.fill(0.0);
                window.for_each(
                    #[inline(always)]
                    |from| y.iter_mut().zip(&x[from..][..self.lane]).for_each(|(y, x)| *y += x),
                );
                let count = self.count(&window);
                y.iter_mut().for_each(|y| *y /= count);
            },
        );
    }

    #[inline(always)]
    fn give_to_first(&self, x: &[f32], y: &[f32], g: &[f32], left: &mut [f32], dx: &mut [f32]) {
        self.for_each_window(
            #[inline(always)]
            |window, at| {
                let y = &y[at..][..self.lane];
                left.copy_from_slice(&g[at..][..self.lane]);
                window.for_each(
                    #[inline(always)]
                    |from| {
                        let (x, dx) = (&x[from..][..self.lane], &mut dx[from..][..self.lane]);
                        for (((x, y), left), dx) in x.iter().zip(y).zip(left.iter_mut()).zip(dx) {
                            let taken = if x == y { *left } else { 0.0 };
                            *dx += taken;
                            *left = if x == y { 0.0 } else { *left };
                        }
                    },
                );
            },
        );
    }

    fn write_lengths(&self, p: f32, x: &[f32], output: &mut [f32]) {
        self.for_each_window(|window, at| {
            let y = &mut output[at..][..self.lane];
            y.fill(0.0);
            window.for_each(|from| y.iter_mut().zip(&x[from..][..self.lane]).for_each(|(y, x)| *y += x.abs().powf(p)));
            y.iter_mut().for_each(|y| *y = y.powf(1.0 / p));
        });
    }

    /// dx = g · sign(x) · (|x| / y)^(p − 1), and 0 where y is 0.
    fn spread_along(&self, p: f32, x: &[f32], y: &[f32], g: &[f32], dx: &mut [f32]) {
        self.for_each_window(|window, at| {
            let (y, g) = (&y[at..][..self.lane], &g[at..][..self.lane]);
            window.for_each(|from| {
                for (channel, (y, g)) in y.iter().zip(g).enumerate().filter(|(_, (y, _))| **y > 0.0) {
                    let x = x[from + channel];
                    dx[from + channel] += g * x.signum() * (x.abs() / y).powf(p - 1.0);
                }
            });
        });
    }

    #[inline(always)]
    fn spread(&self, g: &[f32], dx: &mut [f32]) {
        self.for_each_window(
            #[inline(always)]
            |window, at| {
                let (g, share) = (&g[at..][..self.lane], 1.0 / self.count(&window));
                window.for_each(
                    #[inline(always)]
                    |from| dx[from..][..self.lane].iter_mut().zip(g).for_each(|(d, g)| *d += g * share),
                );
            },
        );
    }
}

/// Where the largest element under each window stands: the second output of MaxPool.
pub struct PoolIndices {
    pub pool: Pool,
    /// The number of each input element, by its place in memory.
    pub numbers: Vec<u32>,
}

impl Kernel for PoolIndices {
    fn scratch(&self) -> usize {
        self.pool.lane
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        let lane = self.pool.lane;
        let largest = &mut scratch[..lane];
        self.pool.for_each_window(|window, at| {
            let mut is_first = true;
            window.for_each(|from| {
                for channel in 0..lane {
                    let x = inputs[0][from + channel];
                    if is_first || x > largest[channel] {
                        (largest[channel], output[at + channel]) = (x, self.numbers[from + channel] as f32);
                    }
                }
                is_first = false;
            });
        });
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        call.input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

/// The input under one output position.
struct Window<'a> {
    start: usize,
    covered: [Covered; 3],
    strides: &'a [usize; 3],
    places: [usize; 3],
}

impl Window<'_> {
    /// Calls `visit` with the place in memory of each position, row-major.
    #[inline(always)]
    fn for_each(&self, mut visit: impl FnMut(usize)) {
        let [depth, height, width] = &self.covered;
        for d in depth.positions() {
            for h in height.positions() {
                for w in width.positions() {
                    visit(self.start + d * self.strides[0] + h * self.strides[1] + w * self.strides[2]);
                }
            }
        }
    }
}

fn last_three<T: Copy>(values: &[T], fill: T) -> [T; 3] {
    let mut three = [fill; 3];
    for (slot, value) in three.iter_mut().rev().zip(values.iter().rev()) {
        *slot = *value;
    }
    three
}

impl Kernel for Pool {
    fn scratch(&self) -> usize {
        if self.pooling == Pooling::Max { self.lane } else { 0 }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.isa.run(
            #[inline(always)]
            || match self.pooling {
                Pooling::Max => self.write_maxima(inputs[0], output),
                Pooling::Average { .. } => self.write_means(inputs[0], output),
                Pooling::Length { p } => self.write_lengths(p, inputs[0], output),
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output, output_gradient, input_gradients, scratch } = call;
        let Some(Some(gradient)) = input_gradients.first_mut() else { return };
        let dx = gradient.open();
        self.isa.run(
            #[inline(always)]
            || match self.pooling {
                Pooling::Max => self.give_to_first(inputs[0], output, output_gradient, &mut scratch[..self.lane], dx),
                Pooling::Average { .. } => self.spread(output_gradient, dx),
                Pooling::Length { p } => self.spread_along(p, inputs[0], output, output_gradient, dx),
            },
        );
    }

    fn backward_needs_inputs(&self) -> bool {
        !matches!(self.pooling, Pooling::Average { .. })
    }

    fn backward_needs_output(&self) -> bool {
        self.backward_needs_inputs()
    }
}
