//! BatchNormalization with fixed statistics, with what follows it, and normalization by a sample's own.

use std::sync::OnceLock;

use candle_core::{Result, Tensor};

use super::fused::{Bend, affine, affine_back};
use super::step::{Call, Step, fit, required};

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

/// Groups of `size` elements that lie together, brought to mean 0 and variance 1, then scaled and shifted by inputs 1 and 2.
pub(super) struct Groups {
    pub size: usize,
    pub epsilon: f64,
    /// Shape of scale and shift that broadcasts to the input; counts the batch.
    pub parameters: Vec<usize>,
}

impl Groups {
    /// The input with mean 0 and variance 1, and 1 / deviation of each group: `[groups, size]` and `[groups, 1]`.
    fn normalize(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = x.reshape(((), self.size))?;
        let centred = x.broadcast_sub(&(x.sum_keepdim(1)? / self.size as f64)?)?;
        let variance = (centred.sqr()?.sum_keepdim(1)? / self.size as f64)?;
        let inverse = (variance + self.epsilon)?.sqrt()?.recip()?;
        Ok((centred.broadcast_mul(&inverse)?, inverse))
    }
}

impl Step for Groups {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        let (normal, parameters) = (self.normalize(x)?.0.reshape(x.dims())?, self.parameters.as_slice());
        let scaled = normal.broadcast_mul(&required(inputs, 1)?.reshape(parameters)?)?;
        match inputs.get(2) {
            Some(Some(shift)) => scaled.broadcast_add(&shift.reshape(parameters)?),
            _ => Ok(scaled),
        }
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, scale, g) = (required(call.inputs, 0)?, required(call.inputs, 1)?, call.gradient);
        let (normal, inverse) = self.normalize(x)?;
        let of_parameter = |gradient: &Tensor, index: usize| {
            let parameter = required(call.inputs, index)?;
            fit(gradient, &parameter.reshape(self.parameters.as_slice())?)?.reshape(parameter.dims()).map(Some)
        };
        let mut found = vec![None, None, None];
        if call.wants(0) {
            let g = g.broadcast_mul(&scale.reshape(self.parameters.as_slice())?)?.reshape(((), self.size))?;
            let mean = |x: &Tensor| x.sum_keepdim(1)? / self.size as f64;
            let along = normal.broadcast_mul(&mean(&(&g * &normal)?)?)?;
            let left = (g.broadcast_sub(&mean(&g)?)? - along)?;
            found[0] = Some(left.broadcast_mul(&inverse)?.reshape(x.dims())?);
        }
        if call.wants(1) {
            found[1] = of_parameter(&(g * normal.reshape(x.dims())?)?, 1)?;
        }
        if call.wants(2) {
            found[2] = of_parameter(g, 2)?;
        }
        Ok(found)
    }
}
