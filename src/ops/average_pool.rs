//! AveragePool.

use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::{Attributes, NodeForm, Parsed, Window};
use crate::kernels::pool::Pooling;

/// Mean under a sliding window.
#[derive(Clone, Debug, PartialEq)]
pub struct AveragePool {
    pub window: Window,
    /// Zeros around the input count as elements.
    pub count_include_pad: bool,
}

/// # Errors
/// If an attribute is wrong or not supported.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, .. } = form;
    let window = Window::take(&mut attributes)?;
    let count_include_pad = attributes.take_int("count_include_pad", 0)? != 0;
    attributes.finish()?;
    Ok(Parsed::plain(AveragePool { window, count_include_pad }))
}

impl Operator for AveragePool {
    fn name(&self) -> &str {
        "AveragePool"
    }

    fn attributes(&self) -> Attributes {
        let attributes = self.window.attributes();
        if self.count_include_pad { attributes.int("count_include_pad", 1) } else { attributes }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.window.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        self.window.implement(site, Pooling::Average { count_include_pad: self.count_include_pad })
    }

    fn quantization_role(&self) -> QuantizationRole {
        // ONNX Runtime's integer kernel knows no dilation.
        if self.window.is_dilated() { QuantizationRole::Float } else { QuantizationRole::Function }
    }
}
