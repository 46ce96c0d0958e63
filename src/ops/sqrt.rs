//! Sqrt.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// √x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sqrt;

impl Elementwise<1> for Sqrt {
    const READS_INPUTS: bool = false;
    const READS_OUTPUT: bool = true;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.sqrt()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], y: f32) -> f32 {
        0.5 / y
    }
}

impl Function for Sqrt {
    const NAME: &str = "Sqrt";
}
