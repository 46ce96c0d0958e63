#[cfg(feature = "candle")]
use candle_core::Tensor;

#[cfg(feature = "candle")]
use crate::execution::candle::multiply_along;
use crate::synthesis::blur::Blur;
use crate::synthesis::loss::{ImageLoss, Plane};
#[cfg(feature = "candle")]
use crate::synthesis::screen::matrix;

/// Mean of (x − blurred x)², the blur 5×5 with a standard deviation of one pixel.
///
/// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.1, the prior of their Inception scheme.
#[derive(Debug)]
pub struct Smoothness;

impl ImageLoss for Smoothness {
    fn name(&self) -> &'static str {
        "smoothness"
    }

    fn distance(&self, plane: Plane<'_>, gradient: &mut [f32]) -> f64 {
        let blur = Blur::new(1.0);
        let mut sharp = plane.pixels.to_vec();
        blur.apply(&mut sharp, plane.width);
        sharp.iter_mut().zip(plane.pixels).for_each(|(blurred, x)| *blurred = x - *blurred);
        // The blur is its own adjoint.
        gradient.copy_from_slice(&sharp);
        blur.apply(gradient, plane.width);
        let share = 2.0 / sharp.len().max(1) as f32;
        gradient.iter_mut().zip(&sharp).for_each(|(blurred, sharp)| *blurred = share * (sharp - *blurred));
        sharp.iter().map(|x| f64::from(x * x)).sum::<f64>() / sharp.len().max(1) as f64
    }

    #[cfg(feature = "candle")]
    fn distances(&self, planes: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
        let (_, height, width) = planes.dims3()?;
        let blur = Blur::new(1.0);
        let (rows, columns) = (matrix(&blur, height, planes.device())?, matrix(&blur, width, planes.device())?);
        let rough = |x: &Tensor| x - multiply_along(&multiply_along(x, 2, &columns)?, 1, &rows)?;
        let sharp = rough(planes)?;
        let pixels = (height * width) as f64;
        Ok(((sharp.sqr()?.sum_all()? / pixels)?, (rough(&sharp)? * (2.0 / pixels))?))
    }
}
