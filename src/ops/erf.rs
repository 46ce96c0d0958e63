//! Erf.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::{exp, polynomial};

/// Minimax rational function of Eigen's and XLA's `erf`, for −4 ≤ x ≤ 4, highest power first.
const NUMERATOR: [f32; 7] =
    [-2.726_142_3e-10, 2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2];
const DENOMINATOR: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2];

/// The error function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Erf;

impl Elementwise<1> for Erf {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        let x = x.clamp(-4.0, 4.0);
        let square = x * x;
        x * polynomial(square, &NUMERATOR) / polynomial(square, &DENOMINATOR)
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        std::f32::consts::FRAC_2_SQRT_PI * exp(-x * x)
    }
}

impl Function for Erf {
    const NAME: &str = "Erf";
}
