//! Sub.

use super::binary;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// a − b, broadcast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sub;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Sub))
}

impl Elementwise<2> for Sub {
    const READS_INPUTS: bool = false;

    #[inline(always)]
    fn value(&self, [a, b]: [f32; 2]) -> f32 {
        a - b
    }

    #[inline(always)]
    fn slope(&self, operand: usize, _: [f32; 2], _: f32) -> f32 {
        if operand == 0 { 1.0 } else { -1.0 }
    }
}

impl Operator for Sub {
    fn name(&self) -> &str {
        "Sub"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        binary::infer_pair(inputs, i64::checked_sub)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        binary::implement(site, *self)
    }
}
