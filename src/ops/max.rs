//! Max.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};
use super::{binary, unary, variadic};
use crate::kernels::variadic::Fold;

/// Largest of one or more broadcast inputs; of equal ones the first takes the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Max;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Max))
}

impl Operator for Max {
    fn name(&self) -> &str {
        "Max"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        binary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        variadic::implement(site, Fold::Max)
    }
}
