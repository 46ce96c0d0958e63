//! Neg.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// −x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neg;

impl Elementwise<1> for Neg {
    const READS_INPUTS: bool = false;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        -x
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], _: f32) -> f32 {
        -1.0
    }
}

impl Function for Neg {
    const NAME: &str = "Neg";
}
