//! What QuantizeLinear and DequantizeLinear share.

use super::Attributes;
use super::operator::{Facts, Refusal, Site};
use super::unary::{numeric, output, resolve_axis};
use crate::graph::Dim;
use crate::kernels::elementwise::{Elementwise, ElementwiseKernel};
use crate::kernels::traversal::{Traversal, axis_strides, broadcast_strides};
use crate::ops::operator::Implementation;
use crate::tensor::DataType;

/// Takes `axis` out of the attributes.
///
/// # Errors
/// If an attribute is wrong or asks for blocks.
pub fn take_axis(attributes: &mut Attributes) -> Result<i64, Refusal> {
    match attributes.take_int("block_size", 0)? {
        0 => attributes.take_int("axis", 1),
        size => Err(format!("block_size={size} is not supported")),
    }
}

/// `axis`, where it is not the default.
pub fn axis_attribute(axis: i64) -> Attributes {
    if axis == 1 { Attributes::default() } else { Attributes::default().int("axis", axis) }
}

/// Refuses types that zeroq does not quantize to.
///
/// # Errors
/// If `data_type` is not an integer of 4, 8, 16 or, with a sign, 32 bits.
pub fn check_type(data_type: DataType) -> Result<(), Refusal> {
    match data_type {
        DataType::U4 | DataType::I4 | DataType::U8 | DataType::I8 | DataType::U16 | DataType::I16 | DataType::I32 => Ok(()),
        other => Err(format!("quantized type {other} is not supported")),
    }
}

/// Refuses scales and zero points that do not fit input 0.
///
/// # Errors
/// If shapes or types do not fit.
pub fn check_parameters(inputs: &Facts<'_>, axis: i64) -> Result<(), Refusal> {
    let (x, scale) = (numeric(inputs, 0)?, numeric(inputs, 1)?);
    if !scale.data_type.is_float() {
        return Err(format!("a scale of type {} is not supported", scale.data_type));
    }
    if inputs.get(2).is_some_and(|zero_point| zero_point.shape != scale.shape) {
        return Err("scale and zero point must have one shape".to_string());
    }
    match scale.shape.as_slice() {
        [] | [Dim::Known(1)] => Ok(()),
        [length] => match (length.known(), x.shape[resolve_axis(axis, x.rank())?].known()) {
            (Some(found), Some(wanted)) if found != wanted => Err(format!("{found} scales for {wanted} channels")),
            _ => Ok(()),
        },
        _ => Err("a scale of rank 2 or more is not supported".to_string()),
    }
}

/// The dimension of input 0 that the scales lie along; `None` for one scale.
///
/// # Errors
/// If they do not fit it.
fn scale_axis(site: &Site<'_>, axis: i64) -> Result<Option<usize>, Refusal> {
    let (x, scale) = (&site.required(0)?.layout.shape, &site.required(1)?.layout);
    if scale.len() == 1 {
        return Ok(None);
    }
    let axis = resolve_axis(axis, x.len())?;
    if scale.shape != [x[axis]] {
        return Err(format!("scales of shape {:?} do not fit {} channels", scale.shape, x[axis]));
    }
    Ok(Some(axis))
}

/// `function` of (x, scale, zero point), or of (x, scale) where there is no zero point.
///
/// # Errors
/// If shapes do not fit.
pub fn implement(site: &Site<'_>, axis: i64, function: impl Elementwise<2> + Elementwise<3>) -> Result<Implementation, Refusal> {
    let (x, output) = (&site.required(0)?.layout, output(site)?);
    let along_x = broadcast_strides(x, &output.shape).filter(|_| x.shape == output.shape);
    let along_x = along_x.ok_or_else(|| format!("output shape {:?} is not that of the input, {:?}", output.shape, x.shape))?;
    let channel = axis_strides(x.shape.len(), scale_axis(site, axis)?);
    let isa = site.isa;
    let Some(zero_point) = site.get(2) else {
        let traversal = Traversal::new(output, [&along_x, &channel]);
        return Ok(Implementation::Compute(Box::new(ElementwiseKernel { function, traversal, isa })));
    };
    if zero_point.layout.len() != site.required(1)?.layout.len() {
        return Err("scale and zero point must have one shape".to_string());
    }
    let traversal = Traversal::new(output, [&along_x, &channel, &channel]);
    Ok(Implementation::Compute(Box::new(ElementwiseKernel { function, traversal, isa })))
}
