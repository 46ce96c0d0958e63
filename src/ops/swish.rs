//! Swish.

use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x · sigmoid(alpha · x).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Swish {
    pub alpha: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let operator = Swish { alpha: attributes.take_float("alpha", 1.0)? };
    unary::finish(attributes)?;
    Ok(Parsed::plain(operator))
}

impl Elementwise<1> for Swish {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x / (1.0 + (-self.alpha * x).exp())
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        let gate = 1.0 / (1.0 + (-self.alpha * x).exp());
        gate + self.alpha * x * gate * (1.0 - gate)
    }
}

impl Function for Swish {
    const NAME: &str = "Swish";

    fn attributes(&self) -> Attributes {
        Attributes::default().float("alpha", self.alpha)
    }
}
