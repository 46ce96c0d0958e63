//! Elu.

use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x where x ≥ 0, alpha · (eˣ − 1) below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elu {
    pub alpha: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let operator = Elu { alpha: attributes.take_float("alpha", 1.0)? };
    unary::finish(attributes)?;
    Ok(Parsed::plain(operator))
}

impl Elementwise<1> for Elu {
    const READS_OUTPUT: bool = true;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        if x >= 0.0 { x } else { self.alpha * x.exp_m1() }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], y: f32) -> f32 {
        if x >= 0.0 { 1.0 } else { y + self.alpha }
    }
}

impl Function for Elu {
    const NAME: &str = "Elu";

    fn attributes(&self) -> Attributes {
        Attributes::default().float("alpha", self.alpha)
    }
}
