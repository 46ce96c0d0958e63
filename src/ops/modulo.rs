//! Mod.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed, binary};
use crate::kernels::elementwise::Elementwise;

/// Remainder of a / b, broadcast; of the sign of the divisor, or of the dividend where `truncates`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mod {
    pub truncates: bool,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let truncates = attributes.take_int("fmod", 0)? != 0;
    attributes.finish()?;
    Ok(Parsed::plain(Mod { truncates }))
}

impl Elementwise<2> for Mod {
    #[inline(always)]
    fn value(&self, [a, b]: [f32; 2]) -> f32 {
        let rest = a % b;
        if !self.truncates && rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [a, b]: [f32; 2], y: f32) -> f32 {
        if operand == 0 { 1.0 } else { (y - a) / b }
    }

    const READS_OUTPUT: bool = true;
}

impl Operator for Mod {
    fn name(&self) -> &str {
        "Mod"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("fmod", i64::from(self.truncates))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let rest = |a: i64, b: i64| {
            let rest = a.checked_rem(b)?;
            Some(if !self.truncates && rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        };
        binary::infer_pair(inputs, rest)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        binary::implement(site, *self)
    }
}
