//! Abs.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// |x|; the derivative at 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Abs;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Abs))
}

impl Elementwise<1> for Abs {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.abs()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        if x == 0.0 { 0.0 } else { x.signum() }
    }
}

impl Operator for Abs {
    fn name(&self) -> &str {
        "Abs"
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
