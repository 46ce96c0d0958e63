//! Shrink.

use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x + bias below −threshold, x − bias above it, 0 between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shrink {
    pub bias: f32,
    pub threshold: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let operator = Shrink { bias: attributes.take_float("bias", 0.0)?, threshold: attributes.take_float("lambd", 0.5)? };
    unary::finish(attributes)?;
    Ok(Parsed::plain(operator))
}

impl Elementwise<1> for Shrink {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        if x < -self.threshold {
            x + self.bias
        } else if x > self.threshold {
            x - self.bias
        } else {
            0.0
        }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        f32::from(x.abs() > self.threshold)
    }
}

impl Function for Shrink {
    const NAME: &str = "Shrink";

    fn attributes(&self) -> Attributes {
        Attributes::default().float("bias", self.bias).float("lambd", self.threshold)
    }
}
