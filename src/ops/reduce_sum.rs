//! ReduceSum.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::reduction::{self, ReducedAxes};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::reduce::Reduction;

/// Sum along dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceSum {
    pub axes: ReducedAxes,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let (axes, inputs) = ReducedAxes::parse(form, 13)?;
    Ok(Parsed { inputs, ..Parsed::plain(ReduceSum { axes }) })
}

impl Operator for ReduceSum {
    fn name(&self) -> &str {
        "ReduceSum"
    }

    fn attributes(&self) -> Attributes {
        self.axes.attributes()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.axes.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        reduction::implement(site, &self.axes, Reduction::Sum)
    }
}
