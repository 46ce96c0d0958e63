//! BatchNormalization with fixed statistics, with what follows it, and means over positions.

use std::sync::OnceLock;

use candle_core::{Result, Tensor};

use super::fused::{Bend, affine, affine_back};
use super::step::{Call, Step, required};

/// bend(x · factor + shift + shortcut) per channel, over inputs (x, scale, bias, mean, variance, shortcut); all but x and the
/// shortcut, which may be left out, are constants.
pub(super) struct Norm {
    epsilon: f64,
    bend: Bend,
    /// Factors and shifts, `[2, channels]`.
    factors: OnceLock<Tensor>,
}

impl Norm {
    pub fn new(epsilon: f32, bend: Bend) -> Self {
        Norm { epsilon: epsilon.into(), bend, factors: OnceLock::new() }
    }

    fn factors(&self, inputs: &[Option<Tensor>]) -> Result<&Tensor> {
        if let Some(factors) = self.factors.get() {
            return Ok(factors);
        }
        let parameter = |index: usize| required(inputs, index)?.flatten_all();
        let factor = (parameter(1)? / (parameter(4)? + self.epsilon)?.sqrt()?)?;
        let shift = (parameter(2)? - (parameter(3)? * &factor)?)?;
        let factors = Tensor::stack(&[factor, shift], 0)?;
        Ok(self.factors.get_or_init(|| factors))
    }
}

impl Step for Norm {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        affine(required(inputs, 0)?, self.factors(inputs)?, inputs.get(5).and_then(Option::as_ref), self.bend)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (by_x, by_shortcut) = affine_back(call.gradient, call.output, self.factors(call.inputs)?, self.bend)?;
        Ok(vec![Some(by_x), None, None, None, None, Some(by_shortcut)])
    }
}

/// `[b, N, C, …]` to `[b, N, C, 1, …]`.
pub(super) struct GlobalMean;

impl Step for GlobalMean {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        let rank = x.rank();
        x.mean_keepdim((3..rank).collect::<Vec<_>>())
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = required(call.inputs, 0)?;
        let positions: usize = x.dims()[3..].iter().product();
        Ok(vec![Some((call.gradient / positions as f64)?.broadcast_as(x.dims())?.contiguous()?)])
    }
}
