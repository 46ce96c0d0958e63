//! InstanceNormalization.

use super::normalization;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};

/// Each channel of each image brought to mean 0 and variance 1, then scaled and shifted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNormalization {
    pub epsilon: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let epsilon = attributes.take_float("epsilon", 1e-5)?;
    unary::finish(attributes)?;
    Ok(Parsed::plain(InstanceNormalization { epsilon }))
}

impl Operator for InstanceNormalization {
    fn name(&self) -> &str {
        "InstanceNormalization"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().float("epsilon", self.epsilon)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        normalization::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        normalization::implement_channels(site, 1, self.epsilon)
    }
}
