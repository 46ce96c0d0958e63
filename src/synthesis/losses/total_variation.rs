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
        [(0, 1), (1, 0), (1, 1), (1, -1)].into_iter().map(|step| along(step, plane, gradient)).sum()
    }
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
