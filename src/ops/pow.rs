//! Pow.

use super::binary;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary::{self, broadcast, numeric};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// aᵇ, broadcast; of the type of a.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pow;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Pow))
}

impl Elementwise<2> for Pow {
    const READS_OUTPUT: bool = true;

    #[inline(always)]
    fn value(&self, [a, b]: [f32; 2]) -> f32 {
        if b == 2.0 { a * a } else { a.powf(b) }
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [a, b]: [f32; 2], y: f32) -> f32 {
        match operand {
            0 if b == 2.0 => 2.0 * a,
            0 => b * a.powf(b - 1.0),
            _ if a > 0.0 => y * a.ln(),
            _ => 0.0,
        }
    }
}

impl Operator for Pow {
    fn name(&self) -> &str {
        "Pow"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (base, exponent) = (numeric(inputs, 0)?, numeric(inputs, 1)?);
        Ok(vec![Fact::new(base.data_type, broadcast(&base.shape, &exponent.shape)?)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        binary::implement(site, *self)
    }
}
