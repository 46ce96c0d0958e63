//! HardSigmoid.

use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// alpha · x + beta, kept within 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardSigmoid {
    pub alpha: f32,
    pub beta: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let operator = HardSigmoid { alpha: attributes.take_float("alpha", 0.2)?, beta: attributes.take_float("beta", 0.5)? };
    unary::finish(attributes)?;
    Ok(Parsed::plain(operator))
}

impl Elementwise<1> for HardSigmoid {
    const READS_INPUTS: bool = false;
    const READS_OUTPUT: bool = true;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        let raised = (self.alpha * x + self.beta).max(0.0);
        if raised > 1.0 { 1.0 } else { raised }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], y: f32) -> f32 {
        if y > 0.0 && y < 1.0 { self.alpha } else { 0.0 }
    }
}

impl Function for HardSigmoid {
    const NAME: &str = "HardSigmoid";

    fn attributes(&self) -> Attributes {
        Attributes::default().float("alpha", self.alpha).float("beta", self.beta)
    }
}
