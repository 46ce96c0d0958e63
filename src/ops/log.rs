//! Log.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// The natural logarithm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Log;

impl Elementwise<1> for Log {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.ln()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        1.0 / x
    }
}

impl Function for Log {
    const NAME: &str = "Log";
}
