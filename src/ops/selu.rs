//! Selu.

use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::exp;

/// gamma · x for positive x, gamma · alpha · (eˣ − 1) for others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selu {
    pub alpha: f32,
    pub gamma: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let alpha = attributes.take_float("alpha", 1.673_263_2)?;
    let gamma = attributes.take_float("gamma", 1.050_701)?;
    unary::finish(attributes)?;
    Ok(Parsed::plain(Selu { alpha, gamma }))
}

impl Elementwise<1> for Selu {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        self.gamma * if x > 0.0 { x } else { self.alpha * (exp(x) - 1.0) }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        self.gamma * if x > 0.0 { 1.0 } else { self.alpha * exp(x) }
    }
}

impl Function for Selu {
    const NAME: &str = "Selu";

    fn attributes(&self) -> Attributes {
        Attributes::default().float("alpha", self.alpha).float("gamma", self.gamma)
    }
}
