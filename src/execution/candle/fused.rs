//! What would take several passes over memory: one kernel each on CUDA, operations of candle elsewhere.
//!
//! Tensors are `[batch, images, channels, …]`; what is said per channel is `[1, channels]` or `[batch, channels]`.

use candle_core::{Result, Tensor};

use super::step::mask;
use crate::kernels::Activation;

/// v where v > 0, else alpha · v; then within `low` and `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bend {
    pub alpha: f32,
    pub low: f32,
    pub high: f32,
}

impl Bend {
    pub fn of(activation: Activation) -> Self {
        let open = Bend { alpha: 1.0, low: f32::NEG_INFINITY, high: f32::INFINITY };
        match activation {
            Activation::Identity => open,
            Activation::Relu => Bend { alpha: 0.0, ..open },
            Activation::LeakyRelu { alpha } => Bend { alpha, ..open },
            Activation::Clip { low, high } => Bend { low, high, ..open },
        }
    }

    fn value(&self, v: &Tensor) -> Result<Tensor> {
        let bent = match self.alpha {
            1.0 => v.clone(),
            0.0 => v.relu()?,
            alpha => (v.relu()? - (v.neg()?.relu()? * f64::from(alpha))?)?,
        };
        if self.low == f32::NEG_INFINITY && self.high == f32::INFINITY { Ok(bent) } else { bent.clamp(self.low, self.high) }
    }

    /// The derivative where the value is `y`.
    fn slope(&self, y: &Tensor) -> Result<Tensor> {
        let alpha = f64::from(self.alpha);
        let rising = if self.alpha == 0.0 { mask(y.gt(0.0))? } else { mask(y.ge(0.0))?.affine(1.0 - alpha, alpha)? };
        if self.low == f32::NEG_INFINITY && self.high == f32::INFINITY {
            return Ok(rising);
        }
        (rising * mask(y.gt(self.low))?)? * mask(y.lt(self.high))?
    }
}

/// bend(x · factor + shift + shortcut), with factor and shift `[2, channels]`.
pub(super) fn affine(x: &Tensor, factors: &Tensor, shortcut: Option<&Tensor>, bend: Bend) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return super::cuda::affine(x, factors, shortcut, bend);
    }
    let v = x.broadcast_mul(&per_channel(&factors.narrow(0, 0, 1)?, x)?)?.broadcast_add(&per_channel(&factors.narrow(0, 1, 1)?, x)?)?;
    bend.value(&if let Some(shortcut) = shortcut { (v + shortcut)? } else { v })
}

/// Gradients of x and of the shortcut of [`affine`], whose value is `y`.
pub(super) fn affine_back(gradient: &Tensor, y: &Tensor, factors: &Tensor, bend: Bend) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return super::cuda::affine_back(gradient, y, factors, bend);
    }
    let by_shortcut = (gradient * bend.slope(y)?)?;
    Ok((by_shortcut.broadcast_mul(&per_channel(&factors.narrow(0, 0, 1)?, y)?)?, by_shortcut))
}

/// Σ (x − mean) and Σ (x − mean)² over images and positions: `[2, batch, channels]`. Distances from a mean that is near are
/// small, so that squares lose nothing in f32.
pub(super) fn moments(x: &Tensor, means: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return super::cuda::moments(x, means);
    }
    let distance = x.broadcast_sub(&per_channel(means, x)?)?.reshape((x.dim(0)?, x.dim(1)?, x.dim(2)?, ()))?;
    Tensor::stack(&[distance.sum((1, 3))?, distance.sqr()?.sum((1, 3))?], 0)
}

/// gradient + a + b · x, with a and b `[2, 1 or batch, channels]`.
pub(super) fn pull(x: &Tensor, factors: &Tensor, gradient: Option<&Tensor>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return super::cuda::pull(x, factors, gradient);
    }
    let part = |index: usize| per_channel(&factors.get(index)?, x);
    let pulled = x.broadcast_mul(&part(1)?)?.broadcast_add(&part(0)?)?;
    if let Some(gradient) = gradient { gradient + pulled } else { Ok(pulled) }
}

/// `[1 or batch, channels]`, to broadcast to `x`.
fn per_channel(factors: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut dims = vec![1; x.rank()];
    (dims[0], dims[2]) = factors.dims2()?;
    factors.reshape(dims)
}
