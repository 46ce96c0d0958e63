//! Tanh.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::polynomial;

/// Minimax rational function of Eigen's `tanh`, for −7.9 ≤ x ≤ 7.9, highest power first.
const NUMERATOR: [f32; 7] =
    [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297_1e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3];
const DENOMINATOR: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];

/// tanh(x).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tanh;

impl Elementwise<1> for Tanh {
    const READS_INPUTS: bool = false;
    const READS_OUTPUT: bool = true;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        let x = x.clamp(-7.9, 7.9);
        let square = x * x;
        x * polynomial(square, &NUMERATOR) / polynomial(square, &DENOMINATOR)
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], y: f32) -> f32 {
        1.0 - y * y
    }
}

impl Function for Tanh {
    const NAME: &str = "Tanh";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        for step in -1000..=1000 {
            let x = step as f32 * 0.0137;
            let (got, wanted) = (Tanh.value([x]), x.tanh());
            assert!((got - wanted).abs() <= 3e-7 * wanted.abs().max(1e-3), "tanh({x}) = {got}, not {wanted}");
        }
    }
}
