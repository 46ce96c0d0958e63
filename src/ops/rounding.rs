//! Floor, Ceil, Round, Sign and Reciprocal.

use super::unary::Function;
use crate::kernels::elementwise::Elementwise;

macro_rules! unary {
    ($(#[$doc:meta])* $name:ident, |$x:ident| $value:expr, |$y:ident| $slope:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;

        impl Elementwise<1> for $name {
            #[inline(always)]
            fn value(&self, [$x]: [f32; 1]) -> f32 {
                $value
            }

            #[inline(always)]
            fn slope(&self, _operand: usize, _: [f32; 1], $y: f32) -> f32 {
                let _ = $y;
                $slope
            }
        }

        impl Function for $name {
            const NAME: &str = stringify!($name);
        }
    };
}

unary!(/** Largest integer not above x; derivative 0. */ Floor, |x| x.floor(), |y| 0.0);
unary!(/** Smallest integer not below x; derivative 0. */ Ceil, |x| x.ceil(), |y| 0.0);
unary!(/** Nearest integer, of two equally near ones the even; derivative 0. */ Round, |x| x.round_ties_even(), |y| 0.0);
unary!(/** −1, 0 or 1; derivative 0. */ Sign, |x| if x == 0.0 { 0.0 } else { x.signum() }, |y| 0.0);
unary!(/** 1 / x. */ Reciprocal, |x| 1.0 / x, |y| -y * y);
