//! Sums, means, extremes and lengths along dimensions, and what is normalized along one.

use candle_core::{DType, Result, Tensor};

use super::step::{Call, Step, mask, required};
use crate::kernels::reduce::Reduction;

/// A reduction along `dims`, which count the batch.
pub(super) struct Reduce {
    pub reduction: Reduction,
    pub dims: Vec<usize>,
    /// Shape of one sample.
    pub output: Vec<usize>,
}

impl Reduce {
    fn count(&self, x: &Tensor) -> f64 {
        self.dims.iter().map(|dim| x.dims()[*dim]).product::<usize>().max(1) as f64
    }

    /// The shape of `x`, with size 1 along what is reduced.
    fn kept_dims(&self, x: &Tensor) -> Vec<usize> {
        x.dims().iter().enumerate().map(|(dim, size)| if self.dims.contains(&dim) { 1 } else { *size }).collect()
    }

    fn reduce(&self, x: &Tensor) -> Result<Tensor> {
        let dims = self.dims.as_slice();
        match self.reduction {
            Reduction::Sum => x.sum_keepdim(dims),
            Reduction::Mean => x.sum_keepdim(dims)? / self.count(x),
            Reduction::L1 => x.abs()?.sum_keepdim(dims),
            Reduction::L2 => x.sqr()?.sum_keepdim(dims)?.sqrt(),
            Reduction::SumOfSquares => x.sqr()?.sum_keepdim(dims),
            Reduction::LogSum => x.sum_keepdim(dims)?.log(),
            Reduction::LogSumExp => x.log_sum_exp(dims)?.reshape(self.kept_dims(x)),
            Reduction::Product => candle_core::bail!("products are left to the CPU"),
            Reduction::Max => dims.iter().try_fold(x.clone(), |x, dim| x.max_keepdim(*dim)),
            Reduction::Min => dims.iter().try_fold(x.clone(), |x, dim| x.min_keepdim(*dim)),
        }
    }

    /// 1 at the first of the elements that are the extreme, as they lie in the memory of the CPU: channels come last there.
    fn first(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let mut order: Vec<usize> = (0..x.rank()).filter(|dim| !self.dims.contains(dim)).collect();
        let lead = order.len();
        order.extend(self.dims.iter().copied().filter(|dim| *dim != 2));
        order.extend(self.dims.iter().copied().filter(|dim| *dim == 2));
        let count = self.count(x) as usize;
        let turned = mask(x.broadcast_eq(y))?.permute(order.as_slice())?.contiguous()?;
        let extreme = turned.reshape((turned.dims()[..lead].iter().product::<usize>(), count))?;
        let places = Tensor::arange(0f32, count as f32, x.device())?.broadcast_as(extreme.dims())?.contiguous()?;
        let beyond = places.affine(0.0, count as f64)?;
        let candidates = extreme.to_dtype(DType::U8)?.where_cond(&places, &beyond)?;
        let first = mask(candidates.broadcast_eq(&candidates.min_keepdim(1)?))?;
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, dim)| back[*dim] = place);
        // Where nothing equals the extreme, which is no number then, all places stand beyond.
        (first.reshape(turned.dims())? * turned)?.permute(back)?.contiguous()
    }
}

impl Step for Reduce {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        self.reduce(x)?.reshape([&x.dims()[..1], self.output.as_slice()].concat())
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = required(call.inputs, 0)?;
        let (y, g) = (call.output.reshape(self.kept_dims(x))?, call.gradient.reshape(self.kept_dims(x))?);
        let found = match self.reduction {
            Reduction::Sum => g.broadcast_as(x.dims())?.contiguous()?,
            Reduction::Mean => (g.broadcast_as(x.dims())?.contiguous()? / self.count(x))?,
            Reduction::L1 => (mask(x.gt(0.0))? - mask(x.lt(0.0))?)?.broadcast_mul(&g)?,
            Reduction::L2 => {
                let slope = (mask(y.gt(0.0))? / y.maximum(f64::from(f32::MIN_POSITIVE))?)?;
                x.broadcast_mul(&(g * slope)?)?
            }
            Reduction::SumOfSquares => (x.broadcast_mul(&g)? * 2.0)?,
            Reduction::LogSum => (g / y.exp()?)?.broadcast_as(x.dims())?.contiguous()?,
            Reduction::LogSumExp => x.broadcast_sub(&y)?.exp()?.broadcast_mul(&g)?,
            Reduction::Product => candle_core::bail!("products are left to the CPU"),
            Reduction::Max | Reduction::Min => self.first(x, &y)?.broadcast_mul(&g)?,
        };
        Ok(vec![Some(found)])
    }
}

/// exp(x) / Σ exp(x) along dimension `dim`, which counts the batch, or the logarithm of it.
pub(super) struct Softmax {
    pub dim: usize,
    pub logarithm: bool,
}

impl Step for Softmax {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        let less = x.broadcast_sub(&x.max_keepdim(self.dim)?)?;
        let parts = less.exp()?;
        let sum = parts.sum_keepdim(self.dim)?;
        if self.logarithm { less.broadcast_sub(&sum.log()?) } else { parts.broadcast_div(&sum) }
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (y, g) = (call.output, call.gradient);
        let found = match self.logarithm {
            true => (g - y.exp()?.broadcast_mul(&g.sum_keepdim(self.dim)?)?)?,
            false => (y * g.broadcast_sub(&(y * g)?.sum_keepdim(self.dim)?)?)?,
        };
        Ok(vec![Some(found)])
    }
}

/// Weighted sums along dimensions.
pub(super) struct Mix {
    /// Dimension, which counts the batch, and weights `[from, to]`.
    pub matrices: Vec<(usize, Tensor)>,
}

/// Multiplies what lies along dimension `dim` of `x` with a matrix `[from, to]`.
///
/// # Errors
/// If the device fails.
pub fn multiply_along(x: &Tensor, dim: usize, matrix: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    let turned = x.transpose(dim, last)?.contiguous()?;
    let mut dims = turned.dims().to_vec();
    dims[last] = matrix.dim(1)?;
    turned.reshape(((), x.dim(dim)?))?.matmul(matrix)?.reshape(dims)?.transpose(dim, last)?.contiguous()
}

impl Step for Mix {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?.clone();
        self.matrices.iter().try_fold(x, |x, (dim, matrix)| multiply_along(&x, *dim, matrix))
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let back = |g: Tensor, (dim, matrix): &(usize, Tensor)| multiply_along(&g, *dim, &matrix.t()?.contiguous()?);
        let found = self.matrices.iter().rev().try_fold(call.gradient.clone(), back)?;
        Ok(vec![Some(found)].into_iter().chain(call.wanted.iter().skip(1).map(|_| None)).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::calibration::{CalibrationSet, Provenance, Samples};
    use crate::execution::candle::tests::assert_agree_on;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;

    #[test]
    fn the_first_of_equal_extremes_takes_the_gradient_on_every_engine() {
        let elements = (0..2 * 60).map(|at| ((at * 7 / 3) % 4) as f32).collect();
        let samples = Samples::new("x", vec![1, 3, 4, 5], elements).unwrap();
        let set = CalibrationSet { inputs: vec![samples], provenance: Provenance::default() };
        for name in ["ReduceMax", "ReduceMin"] {
            for axes in [vec![1], vec![2, 3], vec![1, 3], vec![1, 2, 3]] {
                let graph = Sketch::new(&[1, 3, 4, 5]).node("y", name, "x", Attributes::default().ints("axes", &axes)).outputs("y");
                assert_eq!(assert_agree_on(name, &graph, &graph.outputs, &[], &set), 0, "{axes:?}");
            }
        }
    }
}
