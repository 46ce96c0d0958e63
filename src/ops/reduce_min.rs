//! ReduceMin.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::reduction::{self, ReducedAxes};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::reduce::Reduction;

/// Smallest element along dimensions; of equal ones the first in memory takes the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceMin {
    pub axes: ReducedAxes,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let (axes, inputs) = ReducedAxes::parse(form, 18)?;
    Ok(Parsed { inputs, ..Parsed::plain(ReduceMin { axes }) })
}

impl Operator for ReduceMin {
    fn name(&self) -> &str {
        "ReduceMin"
    }

    fn attributes(&self) -> Attributes {
        self.axes.attributes()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.axes.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        reduction::implement(site, &self.axes, Reduction::Min)
    }
}
