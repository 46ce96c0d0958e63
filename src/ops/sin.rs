//! Sin.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// The sine of x, an angle in radians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sin;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Sin))
}

impl Elementwise<1> for Sin {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x.sin()
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        x.cos()
    }
}

impl Operator for Sin {
    fn name(&self) -> &str {
        "Sin"
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
