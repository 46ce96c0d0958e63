//! Cos.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// The cosine of x, an angle in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cos;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Cos))
}

impl Elementwise<1> for Cos {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.cos()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        -x.sin()
    }
}

impl Operator for Cos {
    fn name(&self) -> &str {
        "Cos"
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
