//! PRelu.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary::{broadcast, numeric};
use super::{Attributes, NodeForm, Parsed};
use super::{binary, unary};
use crate::kernels::elementwise::Elementwise;

/// x where x ≥ 0, slope · x below; the slope broadcasts to x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PRelu;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(PRelu))
}

impl Elementwise<2> for PRelu {
    #[inline(always)]
    fn value(&self, [x, slope]: [f32; 2]) -> f32 {
        if x >= 0.0 { x } else { slope * x }
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [x, slope]: [f32; 2], _: f32) -> f32 {
        let (above, below) = if operand == 0 { (1.0, slope) } else { (0.0, x) };
        if x >= 0.0 { above } else { below }
    }
}

impl Operator for PRelu {
    fn name(&self) -> &str {
        "PRelu"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (x, slope) = (numeric(inputs, 0)?, numeric(inputs, 1)?);
        if broadcast(&x.shape, &slope.shape)?.len() > x.rank() {
            return Err(format!("a slope of rank {} does not broadcast to an input of rank {}", slope.rank(), x.rank()));
        }
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        binary::implement(site, *self)
    }
}
