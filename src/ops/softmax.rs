//! Softmax.

use super::normalized_exponential::{SoftmaxAxis, implement, infer};
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};

/// exp(x) / Σ exp(x) along one dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    pub axis: SoftmaxAxis,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    Ok(Parsed::plain(Softmax { axis: SoftmaxAxis::parse(form)? }))
}

impl Operator for Softmax {
    fn name(&self) -> &str {
        "Softmax"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis.index)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        infer(inputs, self.axis)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        implement(site, self.axis, false)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Function
    }
}
