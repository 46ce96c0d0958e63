//! Floor, Ceil and Reciprocal.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

macro_rules! unary {
    ($(#[$doc:meta])* $name:ident, $parse:ident, |$x:ident| $value:expr, |$y:ident| $slope:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;

        /// # Errors
        /// If an attribute is not known.
        pub fn $parse(form: NodeForm) -> Result<Parsed, Refusal> {
            unary::finish(form.attributes)?;
            Ok(Parsed::plain($name))
        }

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

        impl Operator for $name {
            fn name(&self) -> &str {
                stringify!($name)
            }

            fn attributes(&self) -> Attributes {
                Attributes::default()
            }

            fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
                unary::infer(inputs)
            }

            fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
                unary::implement(site, *self)
            }
        }
    };
}

unary!(/** Largest integer not above x; derivative 0. */ Floor, parse_floor, |x| x.floor(), |y| 0.0);
unary!(/** Smallest integer not below x; derivative 0. */ Ceil, parse_ceil, |x| x.ceil(), |y| 0.0);
unary!(/** 1 / x. */ Reciprocal, parse_reciprocal, |x| 1.0 / x, |y| -y * y);
