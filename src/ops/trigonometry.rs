//! Circular and hyperbolic functions beyond Sin, Cos and Tanh, and their inverses.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

macro_rules! function {
    ($name:ident, |$x:ident| $value:expr, $slope:expr) => {
        #[doc = concat!(stringify!($name), ", of angles in radians.")]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;

        impl Elementwise<1> for $name {
            #[inline(always)]
            fn value(&self, [$x]: [f32; 1]) -> f32 {
                $value
            }

            #[inline(always)]
            fn slope(&self, _operand: usize, [$x]: [f32; 1], _: f32) -> f32 {
                $slope
            }
        }

        impl Function for $name {
            const NAME: &str = stringify!($name);
        }
    };
}

function!(Acos, |x| x.acos(), -1.0 / (1.0 - x * x).sqrt());
function!(Acosh, |x| x.acosh(), 1.0 / (x * x - 1.0).sqrt());
function!(Asin, |x| x.asin(), 1.0 / (1.0 - x * x).sqrt());
function!(Asinh, |x| x.asinh(), 1.0 / (x * x + 1.0).sqrt());
function!(Atan, |x| x.atan(), 1.0 / (1.0 + x * x));
function!(Atanh, |x| x.atanh(), 1.0 / (1.0 - x * x));
function!(Cosh, |x| x.cosh(), x.sinh());
function!(Sinh, |x| x.sinh(), x.cosh());
function!(Tan, |x| x.tan(), 1.0 + x.tan().powi(2));
