//! Exp.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// eˣ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exp;

impl Elementwise<1> for Exp {
    const READS_INPUTS: bool = false;
    const READS_OUTPUT: bool = true;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.exp()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], y: f32) -> f32 {
        y
    }
}

impl Function for Exp {
    const NAME: &str = "Exp";
}
