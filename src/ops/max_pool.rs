//! MaxPool.

use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::{Attributes, NodeForm, Parsed, Window};
use crate::kernels::pool::Pooling;

/// Largest element under a sliding window; of equal ones the first takes the gradient. Has no second output.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool {
    pub window: Window,
}

/// # Errors
/// If an attribute is wrong or not supported, or the indices are asked for.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, output_count, .. } = form;
    if output_count > 1 {
        return Err("the second output (indices) is not supported".to_string());
    }
    // The order of storage matters to the indices alone.
    attributes.take_int("storage_order", 0)?;
    let window = Window::take(&mut attributes)?;
    attributes.finish()?;
    Ok(Parsed::plain(MaxPool { window }))
}

impl Operator for MaxPool {
    fn name(&self) -> &str {
        "MaxPool"
    }

    fn attributes(&self) -> Attributes {
        self.window.attributes()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.window.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        self.window.implement(site, Pooling::Max)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::PassThrough
    }
}
