//! Cos.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// The cosine of x, an angle in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cos;

impl Elementwise<1> for Cos {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.cos()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        -x.sin()
    }
}

impl Function for Cos {
    const NAME: &str = "Cos";
}
