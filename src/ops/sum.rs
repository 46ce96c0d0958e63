//! Sum.

use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};
use super::{binary, unary, variadic};
use crate::kernels::variadic::Fold;

/// Sum of one or more broadcast inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Sum))
}

impl Operator for Sum {
    fn name(&self) -> &str {
        "Sum"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        binary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        variadic::implement(site, Fold::Sum)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Merge
    }
}
