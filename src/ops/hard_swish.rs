//! HardSwish.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

/// x · HardSigmoid(x) with alpha = 1/6 and beta = 1/2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardSwish;

impl Elementwise<1> for HardSwish {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        let inner = x * (1.0 / 3.0) + 0.5;
        let upper = if x >= 3.0 { 1.0 } else { inner };
        if x <= -3.0 { 0.0 } else { upper }
    }
}

impl Function for HardSwish {
    const NAME: &str = "HardSwish";
}
