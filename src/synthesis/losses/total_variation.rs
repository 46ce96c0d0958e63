#[cfg(feature = "candle")]
use candle_core::Tensor;

use crate::synthesis::loss::{ImageLoss, Plane};

/// Sum over the directions →, ↓, ↘, ↙ of the root mean square difference of neighbours.
///
/// Paper: Yin et al. 2020 (DeepInversion), arXiv:1912.08795, equation 3 with its code's four directions; per image and
/// channel instead of over the whole batch.
#[derive(Debug)]
pub struct TotalVariation;

impl ImageLoss for TotalVariation {
    fn name(&self) -> &'static str {
        "total-variation"
    }

    fn distance(&self, plane: Plane<'_>, gradient: &mut [f32]) -> f64 {
        gradient.fill(0.0);
        STEPS.into_iter().map(|step| along(step, plane, gradient)).sum()
    }

    #[cfg(feature = "candle")]
    fn distances(&self, planes: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let (mut total, mut gradient) = (Tensor::zeros((), planes.dtype(), planes.device())?, planes.zeros_like()?);
        for step in STEPS {
            if let Some((value, found)) = along_planes(step, planes)? {
                (total, gradient) = ((total + value)?, (gradient + found)?);
            }
        }
        Ok((total, gradient))
    }
}

/// From a pixel to its neighbour: down and right.
const STEPS: [(usize, isize); 4] = [(0, 1), (1, 0), (1, 1), (1, -1)];

/// One direction on `[planes, height, width]`; `None` where no pixel has such a neighbour.
#[cfg(feature = "candle")]
fn along_planes((down, right): (usize, isize), planes: &Tensor) -> candle_core::Result<Option<(Tensor, Tensor)>> {
    let (_, height, width) = planes.dims3()?;
    let (left, right, aside) = (usize::from(right < 0), usize::from(right > 0), right.unsigned_abs());
    let (rows, columns) = (height.saturating_sub(down), width.saturating_sub(aside));
    if rows * columns == 0 {
        return Ok(None);
    }
    let part = |y: usize, x: usize| planes.narrow(1, y, rows)?.narrow(2, x, columns);
    let difference = (part(down, right)? - part(0, left)?)?;
    let count = (rows * columns) as f64;
    let values = ((difference.sqr()?.sum_keepdim((1, 2))? / count)? + 1e-12)?.sqrt()?;
    let pull = difference.broadcast_div(&(&values * count)?)?;
    let placed = |y: usize, x: usize| pull.pad_with_zeros(1, y, height - rows - y)?.pad_with_zeros(2, x, width - columns - x);
    Ok(Some((values.sum_all()?, (placed(down, right)? - placed(0, left)?)?)))
}

/// One direction; adds its derivative.
fn along((down, right): (usize, isize), plane: Plane<'_>, gradient: &mut [f32]) -> f64 {
    let Plane { pixels, width } = plane;
    let height = pixels.len() / width.max(1);
    let (first, last) = (usize::from(right < 0), width.saturating_sub(usize::from(right > 0)));
    let pairs = || {
        let rows = 0..height.saturating_sub(down);
        rows.flat_map(move |y| (first..last).map(move |x| (y * width + x, ((y + down) * width + x).wrapping_add_signed(right))))
    };
    let count = pairs().count();
    if count == 0 {
        return 0.0;
    }
    let squares: f64 = pairs().map(|(a, b)| f64::from(pixels[b] - pixels[a]).powi(2)).sum();
    let value = (squares / count as f64 + 1e-12).sqrt();
    let share = (1.0 / (value * count as f64)) as f32;
    for (a, b) in pairs() {
        let pull = share * (pixels[b] - pixels[a]);
        gradient[b] += pull;
        gradient[a] -= pull;
    }
    value
}
