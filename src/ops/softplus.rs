//! Softplus.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::exp;

/// ln(1 + eˣ).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softplus;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Softplus))
}

impl Elementwise<1> for Softplus {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        1.0 / (1.0 + exp(-x))
    }
}

impl Operator for Softplus {
    fn name(&self) -> &str {
        "Softplus"
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
