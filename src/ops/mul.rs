//! Mul.

use super::binary;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// a · b, broadcast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mul;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Mul))
}

impl Elementwise<2> for Mul {
    #[inline(always)]
    fn value(&self, [a, b]: [f32; 2]) -> f32 {
        a * b
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [a, b]: [f32; 2], _: f32) -> f32 {
        if operand == 0 { b } else { a }
    }
}

impl Operator for Mul {
    fn name(&self) -> &str {
        "Mul"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        binary::infer_pair(inputs, i64::checked_mul)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        binary::implement(site, *self)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Merge
    }
}
