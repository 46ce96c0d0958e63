//! Comparisons, and logic of two truth values.

use super::broadcast::broadcast;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed, binary, unary};
use crate::kernels::elementwise::Elementwise;
use crate::tensor::DataType;

macro_rules! comparison {
    ($(#[$doc:meta])* $name:ident, $parse:ident, |$a:ident, $b:ident| $holds:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;

        /// # Errors
        /// If an attribute is not known.
        pub fn $parse(form: NodeForm) -> Result<Parsed, Refusal> {
            unary::finish(form.attributes)?;
            Ok(Parsed::plain($name))
        }

        impl Elementwise<2> for $name {
            #[inline(always)]
            fn value(&self, [$a, $b]: [f32; 2]) -> f32 {
                f32::from($holds)
            }

            #[inline(always)]
            fn slope(&self, _operand: usize, _: [f32; 2], _: f32) -> f32 {
                0.0
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
                let shape = broadcast(&inputs.required(0)?.shape, &inputs.required(1)?.shape)?;
                Ok(vec![Fact::new(DataType::Bool, shape)])
            }

            fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
                binary::implement(site, *self)
            }
        }
    };
}

comparison!(/** Whether a = b, broadcast. */ Equal, parse_equal, |a, b| a == b);
comparison!(/** Whether a < b, broadcast. */ Less, parse_less, |a, b| a < b);
comparison!(/** Whether a > b, broadcast. */ Greater, parse_greater, |a, b| a > b);
comparison!(/** Whether a ≤ b, broadcast. */ LessOrEqual, parse_less_or_equal, |a, b| a <= b);
comparison!(/** Whether a ≥ b, broadcast. */ GreaterOrEqual, parse_greater_or_equal, |a, b| a >= b);
comparison!(/** Whether both hold, broadcast. */ And, parse_and, |a, b| a != 0.0 && b != 0.0);
comparison!(/** Whether at least one holds, broadcast. */ Or, parse_or, |a, b| a != 0.0 || b != 0.0);
comparison!(/** Whether one alone holds, broadcast. */ Xor, parse_xor, |a, b| (a != 0.0) != (b != 0.0));
