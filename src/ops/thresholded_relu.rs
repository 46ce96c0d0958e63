//! ThresholdedRelu.

use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x where x > alpha, 0 elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdedRelu {
    pub alpha: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let operator = ThresholdedRelu { alpha: attributes.take_float("alpha", 1.0)? };
    unary::finish(attributes)?;
    Ok(Parsed::plain(operator))
}

impl Elementwise<1> for ThresholdedRelu {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        if x > self.alpha { x } else { 0.0 }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        if x > self.alpha { 1.0 } else { 0.0 }
    }
}

impl Function for ThresholdedRelu {
    const NAME: &str = "ThresholdedRelu";

    fn attributes(&self) -> Attributes {
        Attributes::default().float("alpha", self.alpha)
    }
}
