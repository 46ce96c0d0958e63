//! HardSwish.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x · HardSigmoid(x) with alpha = 1/6 and beta = 1/2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardSwish;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(HardSwish))
}

impl Elementwise<1> for HardSwish {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        let inner = x * (1.0 / 3.0) + 0.5;
        let upper = if x >= 3.0 { 1.0 } else { inner };
        if x <= -3.0 { 0.0 } else { upper }
    }
}

impl Operator for HardSwish {
    fn name(&self) -> &str {
        "HardSwish"
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
