//! Mish.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::exp;

/// x · tanh(ln(1 + eˣ)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mish;

impl Mish {
    /// tanh(ln(1 + eˣ)), which is 1 beyond 20.
    #[inline(always)]
    fn gate(x: f32) -> f32 {
        let power = exp(if x < 20.0 { x } else { 20.0 });
        let squared = power * (power + 2.0);
        squared / (squared + 2.0)
    }
}

impl Elementwise<1> for Mish {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x * Self::gate(x)
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        let gate = Self::gate(x);
        gate + x * (1.0 - gate * gate) / (1.0 + exp(-x))
    }
}

impl Function for Mish {
    const NAME: &str = "Mish";
}
