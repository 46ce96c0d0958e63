//! GlobalMaxPool.

use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};
use super::{reduction, unary};
use crate::kernels::reduce::Reduction;

/// Largest element over all spatial dimensions: `[N, C, …]` to `[N, C, 1, …]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalMaxPool;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(GlobalMaxPool))
}

impl Operator for GlobalMaxPool {
    fn name(&self) -> &str {
        "GlobalMaxPool"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        reduction::infer_spatial(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        reduction::implement_spatial(site, Reduction::Max)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Float
    }
}
