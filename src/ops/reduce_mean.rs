//! ReduceMean.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::reduction::{self, ReducedAxes};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::reduce::Reduction;

/// Mean along dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceMean {
    pub axes: ReducedAxes,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let (axes, inputs) = ReducedAxes::parse(form, 18)?;
    Ok(Parsed { inputs, ..Parsed::plain(ReduceMean { axes }) })
}

impl Operator for ReduceMean {
    fn name(&self) -> &str {
        "ReduceMean"
    }

    fn attributes(&self) -> Attributes {
        self.axes.attributes()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.axes.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        reduction::implement(site, &self.axes, Reduction::Mean)
    }
}
