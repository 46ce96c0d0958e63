//! LogSoftmax.

use super::normalized_exponential::{SoftmaxAxis, implement, infer};
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};

/// x − ln Σ exp(x) along one dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogSoftmax {
    pub axis: SoftmaxAxis,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    Ok(Parsed::plain(LogSoftmax { axis: SoftmaxAxis::parse(form)? }))
}

impl Operator for LogSoftmax {
    fn name(&self) -> &str {
        "LogSoftmax"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis.index)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        infer(inputs, self.axis)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        implement(site, self.axis, true)
    }
}
