//! Softsign.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// x / (1 + |x|).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softsign;

impl Elementwise<1> for Softsign {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x / (1.0 + x.abs())
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        1.0 / (1.0 + x.abs()).powi(2)
    }
}

impl Function for Softsign {
    const NAME: &str = "Softsign";
}
