//! Neg.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// −x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neg;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Neg))
}

impl Elementwise<1> for Neg {
    const READS_INPUTS: bool = false;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        -x
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], _: f32) -> f32 {
        -1.0
    }
}

impl Operator for Neg {
    fn name(&self) -> &str {
        "Neg"
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
