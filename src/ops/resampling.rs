//! Which elements Resize mixes, and how.

use super::mix::Taps;
use super::operator::Refusal;
use super::resize::{CROP, Interpolation, OLD_ROUNDING, Resize};

/// Weighted sums along one dimension.
#[cfg(feature = "candle")]
pub struct Resampling {
    pub dim: usize,
    pub from: usize,
    pub to: usize,
    /// `[from, to]`, row-major.
    pub weights: Vec<f32>,
}

/// One dimension.
#[derive(Clone, Copy)]
struct Along {
    from: usize,
    to: usize,
    scale: f64,
    region: (f32, f32),
}

impl Resize {
    /// Position in the input of output index `at`.
    fn position(&self, at: usize, along: &Along) -> f64 {
        let Along { from, to, scale, region: (start, end) } = *along;
        let at = at as f64;
        match self.coordinates.as_str() {
            // ONNX Runtime computes these two in single precision, and what is rounded next depends on it.
            CROP if to > 1 => f64::from(start * (from as f32 - 1.0) + at as f32 * (end - start) * (from as f32 - 1.0) / (to as f32 - 1.0)),
            CROP => f64::from(0.5 * (start + end) * (from as f32 - 1.0)),
            "align_corners" if to > 1 => at * (from as f64 - 1.0) / (to as f64 - 1.0),
            "align_corners" => 0.0,
            // This one too.
            "asymmetric" => f64::from(at as f32 / scale as f32),
            "pytorch_half_pixel" if to <= 1 => 0.0,
            "half_pixel_symmetric" => {
                let adjustment = to as f64 / (from as f64 * scale);
                from as f64 / 2.0 * (1.0 - adjustment) + (at + 0.5) / scale - 0.5
            }
            _ => (at + 0.5) / scale - 0.5,
        }
    }

    fn nearest(&self, position: f64, scale: f64) -> f64 {
        match self.nearest_mode.as_str() {
            OLD_ROUNDING if scale < 1.0 => position.ceil(),
            OLD_ROUNDING => position.floor(),
            "floor" => position.floor(),
            "ceil" => position.ceil(),
            "round_prefer_ceil" => (position + 0.5).floor(),
            _ => (position - 0.5).ceil(),
        }
    }

    /// [`Resize::taps`] of every dimension, each of which is read from somewhere in `region`.
    pub(super) fn all_taps(
        &self,
        shape: &[usize],
        scales: Option<Vec<f32>>,
        sizes: Option<Vec<i64>>,
        region: Vec<(f32, f32)>,
    ) -> Result<Vec<Vec<Option<Taps>>>, Refusal> {
        let along = shape.iter().zip(self.target(shape, scales, sizes)?).zip(region);
        let along = along.map(|((from, (to, scale)), region)| Along { from: *from, to, scale, region });
        Ok(along.map(|along| self.taps(&along)).collect())
    }

    /// For each dimension of `shape` that changes, what output indices mix of input indices; `None` where some lie outside.
    ///
    /// # Errors
    /// If scales or sizes do not fit.
    #[cfg(feature = "candle")]
    pub fn weights(&self, shape: &[usize], scales: Option<Vec<f32>>, sizes: Option<Vec<i64>>) -> Result<Option<Vec<Resampling>>, Refusal> {
        if self.coordinates == CROP {
            return Ok(None);
        }
        let weights = |(dim, (from, taps)): (usize, (&usize, Vec<Option<Taps>>))| {
            let of = |to: usize| taps[to].iter().flatten();
            if (0..taps.len()).all(|to| of(to).all(|(at, weight)| *at == to && *weight == 1.0)) {
                return None;
            }
            let mut weights = vec![0.0; from * taps.len()];
            (0..taps.len()).for_each(|to| of(to).for_each(|(at, weight)| weights[at * taps.len() + to] += weight));
            Some(Resampling { dim, from: *from, to: taps.len(), weights })
        };
        let taps = self.all_taps(shape, scales, sizes, vec![(0.0, 1.0); shape.len()])?;
        Ok(Some(shape.iter().zip(taps).enumerate().filter_map(weights).collect()))
    }

    /// For each output index, what it mixes along one dimension; `None` outside of the image.
    fn taps(&self, along: &Along) -> Vec<Option<Taps>> {
        let Along { from, to, scale, region } = *along;
        let last = from as f64 - 1.0;
        let changes = from != to || region != (0.0, 1.0);
        let tap = |at: usize| {
            let position = self.position(at, along);
            let low = position.clamp(0.0, last).floor();
            let part = (position.clamp(0.0, last) - low) as f32;
            let inside = self.coordinates != CROP || (0.0..=last).contains(&position);
            inside.then(|| match self.interpolation {
                Interpolation::Cubic { a } if changes => {
                    spread(position, from, self.footprint(scale), |x| cubic(x, f64::from(a)), self.exclude_outside)
                }
                Interpolation::Linear if changes && self.antialias => {
                    spread(position, from, self.footprint(scale), |x| (1.0 - x.abs()).max(0.0), self.exclude_outside)
                }
                Interpolation::Linear if changes => vec![(low as usize, 1.0 - part), ((low + 1.0).min(last) as usize, part)],
                _ => vec![(self.nearest(position, scale).clamp(0.0, last) as usize, 1.0)],
            })
        };
        (0..to).map(tap).collect()
    }

    /// Elements on each side of a position that are mixed, and the width of one of them in the function of their distance.
    fn footprint(&self, scale: f64) -> (f64, f64) {
        let width = if self.antialias { scale.min(1.0) } else { 1.0 };
        let reach = if self.interpolation == Interpolation::Linear { 1.0 } else { 2.0 };
        ((reach / width).ceil(), width)
    }
}

/// The weight of an element at distance `x`.
/// Formula: Keys 1981, "Cubic convolution interpolation for digital image processing".
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// The neighbours of `position`, weighted by their distance times the width; those beyond the border are the one at the border, or
/// count for nothing.
fn spread(position: f64, from: usize, (reach, width): (f64, f64), weight: impl Fn(f64) -> f64, exclude_outside: bool) -> Taps {
    let low = position.floor();
    let places: Vec<f64> = (0..2 * reach as usize).map(|step| low + step as f64 - reach + 1.0).collect();
    let outside = |at: f64| exclude_outside && !(0.0..from as f64).contains(&at);
    let weights: Vec<f64> = places.iter().map(|at| if outside(*at) { 0.0 } else { weight((at - position) * width) }).collect();
    let total = if exclude_outside || width < 1.0 { weights.iter().sum() } else { 1.0 };
    let clamped = places.iter().map(|at| at.clamp(0.0, from as f64 - 1.0) as usize);
    clamped.zip(weights).map(|(at, weight)| (at, (weight / total) as f32)).collect()
}
