//! LeakyRelu.

use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::Activation;
use crate::kernels::elementwise::Elementwise;
use crate::tensor::TensorData;

/// x where x ≥ 0, alpha · x below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyRelu {
    pub alpha: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, .. } = form;
    let operator = LeakyRelu { alpha: attributes.take_float("alpha", 0.01)? };
    unary::finish(attributes)?;
    Ok(Parsed::plain(operator))
}

impl Elementwise<1> for LeakyRelu {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        if x >= 0.0 { x } else { self.alpha * x }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        if x >= 0.0 { 1.0 } else { self.alpha }
    }
}

impl Operator for LeakyRelu {
    fn name(&self) -> &str {
        "LeakyRelu"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().float("alpha", self.alpha)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        unary::implement(site, *self)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Function
    }

    fn activation(&self, _constants: &[Option<&TensorData>]) -> Option<Activation> {
        Some(Activation::LeakyRelu { alpha: self.alpha })
    }
}
