//! Softsign.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x / (1 + |x|).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softsign;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Softsign))
}

impl Elementwise<1> for Softsign {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x / (1.0 + x.abs())
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        1.0 / (1.0 + x.abs()).powi(2)
    }
}

impl Operator for Softsign {
    fn name(&self) -> &str {
        "Softsign"
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
