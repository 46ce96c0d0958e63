//! Convolution in both directions and the gradient of its weights, one strategy per window.

use std::sync::Arc;

use super::aligned::{SLACK, align};
use super::depthwise::Depthwise;
use super::indirect::{Indirection, Sweep};
use super::isa::Isa;
use super::outer::OuterSweep;
use super::scatter::Scatter;
use super::window::{Direction, Frame, Window};

/// A convolution of f32, channels last. See [`Window`] for the two sides and the weights.
pub struct Convolution {
    window: Window,
    isa: Isa,
    to_map: Side,
    to_image: Side,
    weight_gradient: Option<OuterSweep>,
}

/// How one side is computed from the other.
struct Side {
    source_len: usize,
    target_len: usize,
    /// Whether the slides write every element of the target.
    complete: bool,
    strategy: Strategy,
}

enum Strategy {
    Dense { frame: Frame, sweeps: Vec<Sweep> },
    Depthwise(Depthwise),
    Scatter(Scatter),
}

impl Convolution {
    pub fn new(window: &Window, isa: Isa) -> Self {
        let image = Window { batch: 1, ..window.clone() };
        let (to_map, addresses) = Side::new(&image, Direction::ToMap, isa);
        let (to_image, _) = Side::new(&image, Direction::ToImage, isa);
        let weight_gradient = addresses.map(|addresses| OuterSweep::new(addresses, isa));
        Convolution { window: window.clone(), isa, to_map, to_image, weight_gradient }
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::ToMap => &self.to_map,
            Direction::ToImage => &self.to_image,
        }
    }

    /// Elements of the weights as packed for `direction`.
    pub fn packed_len(&self, direction: Direction) -> usize {
        match &self.side(direction).strategy {
            Strategy::Dense { sweeps, .. } => sweeps.iter().map(Sweep::packed_len).sum(),
            Strategy::Depthwise(_) => self.window.weight_len(),
            Strategy::Scatter(scatter) => scatter.packed_len(),
        }
    }

    /// Elements of scratch memory that any call needs.
    pub fn scratch(&self) -> usize {
        let frame = |side: &Side| match &side.strategy {
            Strategy::Dense { frame, .. } if !frame.is_source() => frame.len() + SLACK,
            Strategy::Scatter(scatter) => scatter.scratch(),
            _ => 0,
        };
        frame(&self.to_map).max(frame(&self.to_image))
    }

    /// Packs weights for [`Convolution::run`].
    pub fn pack(&self, direction: Direction, weights: &[f32], packed: &mut [f32]) {
        match &self.side(direction).strategy {
            Strategy::Dense { sweeps, .. } => {
                let mut rest = packed;
                for sweep in sweeps {
                    let (now, later) = rest.split_at_mut(sweep.packed_len());
                    sweep.pack(weights, 1.0, now);
                    rest = later;
                }
            }
            Strategy::Depthwise(_) => packed[..weights.len()].copy_from_slice(weights),
            Strategy::Scatter(scatter) => scatter.pack(weights, packed),
        }
    }

    /// Writes, or adds to, all of `target`. `bias` has one value per target channel or is empty.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        direction: Direction,
        source: &[f32],
        packed: &[f32],
        bias: &[f32],
        accumulate: bool,
        target: &mut [f32],
        scratch: &mut [f32],
    ) {
        let side = self.side(direction);
        for image in 0..self.window.batch {
            let source = &source[image * side.source_len..][..side.source_len];
            let target = &mut target[image * side.target_len..][..side.target_len];
            if !side.complete && !accumulate {
                fill_rows(target, bias, self.window.target(direction).1);
            }
            side.run(source, packed, bias, accumulate, target, scratch);
        }
    }

    /// Adds to `weights` the gradient of the weights, given `map`, the gradient of a sum toward the map; or, for a sum
    /// toward the image, its source `map` and its gradient `image`.
    pub fn add_weight_gradient(&self, image: &[f32], map: &[f32], weights: &mut [f32], scratch: &mut [f32]) {
        let side = &self.to_map;
        for index in 0..self.window.batch {
            let image = &image[index * side.source_len..][..side.source_len];
            let map = &map[index * side.target_len..][..side.target_len];
            match (&side.strategy, &self.weight_gradient) {
                (Strategy::Dense { frame, .. }, Some(sweep)) => sweep.run(framed(frame, image, scratch), map, weights),
                (Strategy::Depthwise(depthwise), _) => depthwise.add_weight_gradient(image, map, weights),
                _ => {}
            }
        }
    }

    /// Adds to `bias` the sum of `gradient` over all positions of the side that `direction` writes.
    pub fn add_bias_gradient(&self, direction: Direction, gradient: &[f32], bias: &mut [f32]) {
        let channels = self.window.target(direction).1;
        self.isa.run(
            #[inline(always)]
            || add_rows(gradient, &mut bias[..channels]),
        );
    }
}

impl Side {
    fn new(window: &Window, direction: Direction, isa: Isa) -> (Self, Option<Arc<Indirection>>) {
        let len = |(size, channels): ([usize; 3], usize)| size.iter().product::<usize>() * channels;
        let slides = window.slides(direction);
        let written: usize = slides.iter().map(|slide| slide.iter().map(|axis| axis.count).product::<usize>()).sum();
        if direction == Direction::ToImage && Scatter::suits(window) {
            let strategy = Strategy::Scatter(Scatter::new(window, isa));
            return (
                Side { source_len: len(window.source(direction)), target_len: len(window.target(direction)), complete: false, strategy },
                None,
            );
        }
        let (strategy, first) = if window.is_depthwise() {
            (Strategy::Depthwise(Depthwise::new(window, direction, isa)), None)
        } else {
            let frame = Frame::new(window, direction, &slides);
            let addresses = slides.iter().map(|slide| Arc::new(Indirection::slide(window, direction, slide, &frame)));
            let addresses: Vec<Arc<Indirection>> = addresses.collect();
            let sweeps = addresses.iter().map(|addresses| Sweep::new(addresses.clone(), isa)).collect();
            (Strategy::Dense { frame, sweeps }, addresses.first().cloned())
        };
        let target = window.target(direction);
        let complete = written == target.0.iter().product::<usize>();
        (Side { source_len: len(window.source(direction)), target_len: len(target), complete, strategy }, first)
    }

    fn run(&self, source: &[f32], packed: &[f32], bias: &[f32], accumulate: bool, target: &mut [f32], scratch: &mut [f32]) {
        match &self.strategy {
            Strategy::Depthwise(depthwise) => depthwise.run(source, packed, bias, accumulate, target),
            Strategy::Scatter(scatter) => scatter.run(source, packed, target, scratch),
            Strategy::Dense { frame, sweeps } => {
                let source = framed(frame, source, scratch);
                let mut rest = packed;
                for sweep in sweeps {
                    let (now, later) = rest.split_at(sweep.packed_len());
                    sweep.run(source, now, bias, accumulate, target);
                    rest = later;
                }
            }
        }
    }
}

fn framed<'a>(frame: &Frame, source: &'a [f32], scratch: &'a mut [f32]) -> &'a [f32] {
    if frame.is_source() {
        return source;
    }
    let scratch = align(scratch);
    frame.fill(source, scratch);
    &scratch[..frame.len()]
}

fn fill_rows(target: &mut [f32], bias: &[f32], channels: usize) {
    if bias.is_empty() {
        return target.fill(0.0);
    }
    for row in target.chunks_exact_mut(channels) {
        row.copy_from_slice(&bias[..channels]);
    }
}

/// Adds every row of `rows`, as long as `sums`, to `sums`.
#[inline(always)]
fn add_rows(rows: &[f32], sums: &mut [f32]) {
    for row in rows.chunks_exact(sums.len().max(1)) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
