//! Abs.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// |x|; the derivative at 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Abs;

impl Elementwise<1> for Abs {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.abs()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        if x == 0.0 { 0.0 } else { x.signum() }
    }
}

impl Function for Abs {
    const NAME: &str = "Abs";
}
