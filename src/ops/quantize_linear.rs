//! QuantizeLinear and DequantizeLinear. In flight their integers ride in f32, exact to 2²⁴.

use super::attributes::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::tensor::DataType;

/// q = saturate(round_half_even(x / scale) + zero_point). Inputs x, scale, zero point (u8 0 if omitted).
#[derive(Clone, Debug)]
pub struct QuantizeLinear {
    /// Dimension of a per-channel scale.
    pub axis: i64,
    /// Explicit output type (operator set 21 on); `Other(0)` where the zero point tells.
    pub output_type: DataType,
}

/// x = (q − zero_point) · scale. Inputs q, scale, zero point (0 if omitted).
#[derive(Clone, Debug)]
pub struct DequantizeLinear {
    pub axis: i64,
}

fn parse_axis(form: NodeForm) -> Result<(i64, Attributes), Refusal> {
    let mut attributes = form.attributes;
    let axis = attributes.take_int("axis", 1)?;
    if attributes.take_int("block_size", 0)? != 0 {
        return Err("block_size is not supported".to_string());
    }
    let _ = attributes.take_int("saturate", 1)?;
    Ok((axis, attributes))
}

/// Index of the scale of each element, in memory order.
fn scale_indices(layout: &Layout, axis: i64, scales: usize) -> Result<Vec<u32>, Refusal> {
    if scales == 1 {
        return Ok(vec![0; layout.len()]);
    }
    let rank = layout.shape.len();
    let axis = super::reduction::normalize_axis(axis, rank)?;
    if layout.shape[axis] != scales {
        return Err(format!("it has {scales} scales for a dimension of {}", layout.shape[axis]));
    }
    let inner: usize = layout.shape[axis + 1..].iter().product();
    let mut indices = vec![0; layout.len()];
    for (index, offset) in layout.offsets().into_iter().enumerate() {
        indices[offset] = (index / inner % scales) as u32;
    }
    Ok(indices)
}

struct QuantizeKernel {
    indices: Vec<u32>,
    range: (f32, f32),
}

fn at(input: Option<&&[f32]>, index: usize) -> f32 {
    input.filter(|input| !input.is_empty()).map_or(0.0, |input| input[index.min(input.len() - 1)])
}

impl Kernel for QuantizeKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for ((q, x), index) in output.iter_mut().zip(inputs[0]).zip(&self.indices) {
            let scale = inputs[1][*index as usize];
            *q = ((x / scale).round_ties_even() + at(inputs.get(2), *index as usize)).clamp(self.range.0, self.range.1);
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let inside = |i: usize| {
            let index = self.indices[i] as usize;
            let q = (call.inputs[0][i] / call.inputs[1][index]).round_ties_even() + at(call.inputs.get(2), index);
            q >= self.range.0 && q <= self.range.1
        };
        let [x_gradient, scale_gradient, ..] = call.input_gradients else { return };
        if let Some(gradient) = x_gradient {
            for (i, (t, g)) in gradient.open().iter_mut().zip(call.output_gradient).enumerate() {
                *t += if inside(i) { g / call.inputs[1][self.indices[i] as usize] } else { 0.0 };
            }
        }
        if let Some(gradient) = scale_gradient {
            let target = gradient.open();
            for (i, g) in call.output_gradient.iter().enumerate().filter(|(i, _)| inside(*i)) {
                let scale = call.inputs[1][self.indices[i] as usize];
                target[self.indices[i] as usize] -= g * call.inputs[0][i] / (scale * scale);
            }
        }
    }
}

struct DequantizeKernel {
    indices: Vec<u32>,
}

impl Kernel for DequantizeKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for ((x, q), index) in output.iter_mut().zip(inputs[0]).zip(&self.indices) {
            *x = (q - at(inputs.get(2), *index as usize)) * inputs[1][*index as usize];
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let [q_gradient, scale_gradient, ..] = call.input_gradients else { return };
        if let Some(gradient) = q_gradient {
            for ((t, g), index) in gradient.open().iter_mut().zip(call.output_gradient).zip(&self.indices) {
                *t += g * call.inputs[1][*index as usize];
            }
        }
        if let Some(gradient) = scale_gradient {
            let target = gradient.open();
            for ((q, g), index) in call.inputs[0].iter().zip(call.output_gradient).zip(&self.indices) {
                target[*index as usize] += g * (q - at(call.inputs.get(2), *index as usize));
            }
        }
    }
}

impl QuantizeLinear {
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let (axis, mut attributes) = parse_axis(form)?;
        let output_type = DataType::from_code(i32::try_from(attributes.take_int("output_dtype", 0)?).unwrap_or(0));
        attributes.finish()?;
        Ok(Parsed::plain(QuantizeLinear { axis, output_type }))
    }
}

impl Operator for QuantizeLinear {
    fn name(&self) -> &str {
        "QuantizeLinear"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().int("axis", self.axis);
        match self.output_type {
            DataType::Other(0) => attributes,
            other => attributes.int("output_dtype", other.code().into()),
        }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (x, _) = (inputs.required(0)?, inputs.required(1)?);
        let data_type = match (inputs.get(2), self.output_type) {
            (Some(zero_point), _) => zero_point.data_type,
            (None, DataType::Other(0)) => DataType::U8,
            (None, explicit) => explicit,
        };
        data_type.integer_range().ok_or_else(|| format!("cannot quantize to {data_type}"))?;
        Ok(vec![Fact::new(data_type, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (x, scale) = (site.required(0)?, site.required(1)?);
        let data_type = match (site.get(2), self.output_type) {
            (Some(zero_point), _) => zero_point.data_type,
            (None, DataType::Other(0)) => DataType::U8,
            (None, explicit) => explicit,
        };
        let range = data_type.integer_range().ok_or_else(|| format!("cannot quantize to {data_type}"))?;
        let indices = scale_indices(&x.layout, self.axis, scale.layout.len())?;
        Ok(Implementation::Compute(Box::new(QuantizeKernel { indices, range: (range.0 as f32, range.1 as f32) })))
    }
}

impl DequantizeLinear {
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let (axis, attributes) = parse_axis(form)?;
        attributes.finish()?;
        Ok(Parsed::plain(DequantizeLinear { axis }))
    }
}

impl Operator for DequantizeLinear {
    fn name(&self) -> &str {
        "DequantizeLinear"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (q, scale) = (inputs.required(0)?, inputs.required(1)?);
        Ok(vec![Fact::new(scale.data_type, q.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (q, scale) = (site.required(0)?, site.required(1)?);
        Ok(Implementation::Compute(Box::new(DequantizeKernel { indices: scale_indices(&q.layout, self.axis, scale.layout.len())? })))
    }
}
