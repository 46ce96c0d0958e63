//! Div.

use super::binary;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// a / b, broadcast; integers truncate toward zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Div;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Div))
}

impl Elementwise<2> for Div {
    #[inline(always)]
    fn value(&self, [a, b]: [f32; 2]) -> f32 {
        a / b
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [a, b]: [f32; 2], _: f32) -> f32 {
        if operand == 0 { 1.0 / b } else { -a / (b * b) }
    }
}

/// Division of integers in flight.
#[derive(Clone, Copy)]
struct Truncated;

impl Elementwise<2> for Truncated {
    #[inline(always)]
    fn value(&self, [a, b]: [f32; 2]) -> f32 {
        (a / b).trunc()
    }

    fn slope(&self, _operand: usize, _: [f32; 2], _: f32) -> f32 {
        0.0
    }
}

impl Operator for Div {
    fn name(&self) -> &str {
        "Div"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        binary::infer_pair(inputs, i64::checked_div)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        if binary::is_integer(site) { binary::implement(site, Truncated) } else { binary::implement(site, *self) }
    }
}
