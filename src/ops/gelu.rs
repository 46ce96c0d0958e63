//! Gelu.

use super::Erf;
use super::operator::Refusal;
use super::unary::{self, Function};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;
use crate::kernels::polynomial::exp;

/// x · Φ(x), with the distribution function Φ of the normal distribution or its approximation by tanh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gelu {
    pub tanh: bool,
}

/// √(2 / π), and the factor of x³ beside it.
const OUTER: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let tanh = match attributes.take_string("approximate", "none")?.as_str() {
        "none" => false,
        "tanh" => true,
        other => return Err(format!("approximate={other} is not known")),
    };
    unary::finish(attributes)?;
    Ok(Parsed::plain(Gelu { tanh }))
}

impl Gelu {
    /// Φ(x) as this form has it.
    #[inline(always)]
    fn distribution(self, x: f32) -> f32 {
        if self.tanh {
            1.0 / (1.0 + exp(-2.0 * OUTER * (x + CUBIC * x * x * x)))
        } else {
            0.5 + 0.5 * Erf.value([x * std::f32::consts::FRAC_1_SQRT_2])
        }
    }
}

impl Elementwise<1> for Gelu {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        x * self.distribution(x)
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        let part = self.distribution(x);
        let density =
            if self.tanh { 2.0 * OUTER * (1.0 + 3.0 * CUBIC * x * x) * part * (1.0 - part) } else { 0.5 * OUTER * exp(-0.5 * x * x) };
        part + x * density
    }
}

impl Function for Gelu {
    const NAME: &str = "Gelu";

    fn attributes(&self) -> Attributes {
        Attributes::default().string("approximate", if self.tanh { "tanh" } else { "none" })
    }
}
