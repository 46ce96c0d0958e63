//! DequantizeLinear.

use super::linear_quantization::{self as shared, Sharing, check_parameters, check_type};
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;

/// x = (q − zero_point) · scale over inputs (q, scale, zero point); of the type of the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DequantizeLinear {
    pub sharing: Sharing,
}

/// # Errors
/// If an attribute is wrong or not supported.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, .. } = form;
    let sharing = Sharing::take(&mut attributes)?;
    attributes.finish()?;
    Ok(Parsed::plain(DequantizeLinear { sharing }))
}

impl Operator for DequantizeLinear {
    fn name(&self) -> &str {
        "DequantizeLinear"
    }

    fn attributes(&self) -> Attributes {
        self.sharing.attributes()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        check_parameters(inputs, self.sharing)?;
        let (q, scale) = (inputs.required(0)?, inputs.required(1)?);
        check_type(q.data_type)?;
        if let Some(zero_point) = inputs.get(2).filter(|zero_point| zero_point.data_type != q.data_type) {
            return Err(format!("input is {} but its zero point is {}", q.data_type, zero_point.data_type));
        }
        Ok(vec![Fact::new(scale.data_type, q.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        shared::implement(site, self.sharing, Dequantizer)
    }
}

#[derive(Clone, Copy)]
struct Dequantizer;

impl Elementwise<3> for Dequantizer {
    #[inline(always)]
    fn value(&self, [q, scale, zero_point]: [f32; 3]) -> f32 {
        (q - zero_point) * scale
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [q, scale, zero_point]: [f32; 3], _: f32) -> f32 {
        match operand {
            0 => scale,
            1 => q - zero_point,
            _ => -scale,
        }
    }
}

impl Elementwise<2> for Dequantizer {
    #[inline(always)]
    fn value(&self, [q, scale]: [f32; 2]) -> f32 {
        q * scale
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [q, scale]: [f32; 2], _: f32) -> f32 {
        if operand == 0 { scale } else { q }
    }
}
