//! BatchNormalization with fixed statistics, and means over positions.

use candle_core::{Result, Tensor};

use super::step::{Call, Step, along, required};

/// y = x · factor + shift per channel.
pub(super) struct BatchNorm {
    pub epsilon: f64,
}

impl BatchNorm {
    /// Factor and shift, which broadcast to `x`.
    fn affine(&self, inputs: &[Option<Tensor>]) -> Result<(Tensor, Tensor)> {
        let rank = required(inputs, 0)?.rank();
        let parameter = |index: usize| along(required(inputs, index)?, 2, rank);
        let factor = (parameter(1)? / (parameter(4)? + self.epsilon)?.sqrt()?)?;
        let shift = (parameter(2)? - (parameter(3)? * &factor)?)?;
        Ok((factor, shift))
    }
}

impl Step for BatchNorm {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let (factor, shift) = self.affine(inputs)?;
        required(inputs, 0)?.broadcast_mul(&factor)?.broadcast_add(&shift)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (factor, _) = self.affine(call.inputs)?;
        Ok(vec![Some(call.gradient.broadcast_mul(&factor)?)])
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
