//! Sin.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// The sine of x, an angle in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sin;

impl Elementwise<1> for Sin {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.sin()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        x.cos()
    }
}

impl Function for Sin {
    const NAME: &str = "Sin";
}
