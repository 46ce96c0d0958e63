//! Relu.

use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::unary;
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::Activation;
use crate::kernels::elementwise::Elementwise;
use crate::tensor::TensorData;

/// max(x, 0); the derivative at 0 is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relu;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Relu))
}

impl Elementwise<1> for Relu {
    const READS_INPUTS: bool = false;
    const READS_OUTPUT: bool = true;

    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        if x > 0.0 { x } else { 0.0 }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], y: f32) -> f32 {
        if y > 0.0 { 1.0 } else { 0.0 }
    }
}

impl Operator for Relu {
    fn name(&self) -> &str {
        "Relu"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        unary::implement(site, *self)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Activation
    }

    fn activation(&self, _constants: &[Option<&TensorData>]) -> Option<Activation> {
        Some(Activation::Relu)
    }
}
