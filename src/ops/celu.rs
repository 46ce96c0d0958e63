//! Celu.

use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x where x ≥ 0, alpha · (e^(x / alpha) − 1) below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Celu {
    pub alpha: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let operator = Celu { alpha: attributes.take_float("alpha", 1.0)? };
    unary::finish(attributes)?;
    Ok(Parsed::plain(operator))
}

impl Elementwise<1> for Celu {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        if x >= 0.0 { x } else { self.alpha * (x / self.alpha).exp_m1() }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        if x >= 0.0 { 1.0 } else { (x / self.alpha).exp() }
    }
}

impl Function for Celu {
    const NAME: &str = "Celu";

    fn attributes(&self) -> Attributes {
        Attributes::default().float("alpha", self.alpha)
    }
}
