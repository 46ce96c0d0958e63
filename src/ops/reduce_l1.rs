//! ReduceL1.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::reduction::{self, ReducedAxes};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::reduce::Reduction;

/// Sum of magnitudes along dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceL1 {
    pub axes: ReducedAxes,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let (axes, inputs) = ReducedAxes::parse(form, 18)?;
    Ok(Parsed { inputs, ..Parsed::plain(ReduceL1 { axes }) })
}

impl Operator for ReduceL1 {
    fn name(&self) -> &str {
        "ReduceL1"
    }

    fn attributes(&self) -> Attributes {
        self.axes.attributes()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.axes.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        reduction::implement(site, &self.axes, Reduction::L1)
    }
}
