//! QuantizeLinear.

use super::linear_quantization::{self as shared, Sharing, check_parameters, check_type};
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::elementwise::Elementwise;
use crate::tensor::DataType;

/// q = clamp(round_half_even(x / scale) + zero_point) over inputs (x, scale, zero point).
/// Backward is straight-through inside the range and 0 outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizeLinear {
    pub sharing: Sharing,
    /// Used where there is no zero point; else the zero point's type rules.
    pub output_type: DataType,
}

/// # Errors
/// If an attribute is wrong or not supported.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, .. } = form;
    let sharing = Sharing::take(&mut attributes)?;
    // Saturation can be chosen for 8-bit floats alone, which are refused by their type.
    attributes.take_int("saturate", 1)?;
    let code = attributes.take_int("output_dtype", 0)?;
    attributes.finish()?;
    let output_type = if code == 0 { DataType::U8 } else { DataType::from_code(i32::try_from(code).unwrap_or(0)) };
    check_type(output_type)?;
    Ok(Parsed::plain(QuantizeLinear { sharing, output_type }))
}

impl Operator for QuantizeLinear {
    fn name(&self) -> &str {
        "QuantizeLinear"
    }

    fn attributes(&self) -> Attributes {
        let attributes = self.sharing.attributes();
        match self.output_type {
            DataType::U8 | DataType::Other(_) => attributes,
            written => attributes.int("output_dtype", written.code().into()),
        }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        check_parameters(inputs, self.sharing)?;
        let output_type = inputs.get(2).map_or(self.output_type, |zero_point| zero_point.data_type);
        check_type(output_type)?;
        Ok(vec![Fact::new(output_type, inputs.required(0)?.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let output_type = site.get(2).map_or(self.output_type, |zero_point| zero_point.data_type);
        check_type(output_type)?;
        let (low, high) = output_type.integer_range().ok_or("not an integer type")?;
        shared::implement(site, self.sharing, Quantizer { low: low as f32, high: high as f32 })
    }
}

/// The range of the quantized type.
#[derive(Clone, Copy)]
struct Quantizer {
    low: f32,
    high: f32,
}

impl Elementwise<3> for Quantizer {
    #[inline(always)]
    fn value(&self, [x, scale, zero_point]: [f32; 3]) -> f32 {
        let level = (x / scale).round_ties_even() + zero_point;
        let raised = if level < self.low { self.low } else { level };
        if raised > self.high { self.high } else { raised }
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [x, scale, zero_point]: [f32; 3], _: f32) -> f32 {
        let level = (x / scale).round_ties_even() + zero_point;
        let inside = level >= self.low && level <= self.high;
        let slope = match operand {
            0 => 1.0 / scale,
            1 => -x / (scale * scale),
            _ => 1.0,
        };
        if inside { slope } else { 0.0 }
    }
}

impl Elementwise<2> for Quantizer {
    #[inline(always)]
    fn value(&self, [x, scale]: [f32; 2]) -> f32 {
        Elementwise::<3>::value(self, [x, scale, 0.0])
    }

    #[inline(always)]
    fn slope(&self, operand: usize, [x, scale]: [f32; 2], y: f32) -> f32 {
        Elementwise::<3>::slope(self, operand, [x, scale, 0.0], y)
    }
}
