//! Mish.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::exp;

/// x · tanh(ln(1 + eˣ)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mish;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Mish))
}

impl Mish {
    /// tanh(ln(1 + eˣ)), which is 1 beyond 20.
    #[inline(always)]
    fn gate(x: f32) -> f32 {
        let power = exp(if x < 20.0 { x } else { 20.0 });
        let squared = power * (power + 2.0);
        squared / (squared + 2.0)
    }
}

impl Elementwise<1> for Mish {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x * Self::gate(x)
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        let gate = Self::gate(x);
        gate + x * (1.0 - gate * gate) / (1.0 + exp(-x))
    }
}

impl Operator for Mish {
    fn name(&self) -> &str {
        "Mish"
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
