//! Add.

use super::binary;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// a + b, broadcast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Add;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Add))
}

impl Elementwise<2> for Add {
    const READS_INPUTS: bool = false;

    #[inline(always)]
    fn value(&self, [a, b]: [f32; 2]) -> f32 {
        a + b
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 2], _: f32) -> f32 {
        1.0
    }
}

impl Operator for Add {
    fn name(&self) -> &str {
        "Add"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        binary::infer_pair(inputs, i64::checked_add)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        binary::implement(site, *self)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Merge
    }
}
