//! Softplus.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::exp;

/// ln(1 + eˣ).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softplus;

impl Elementwise<1> for Softplus {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        1.0 / (1.0 + exp(-x))
    }
}

impl Function for Softplus {
    const NAME: &str = "Softplus";
}
