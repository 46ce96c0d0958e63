//! What QuantizeLinear and DequantizeLinear share.

use super::Attributes;
use super::operator::{Facts, Layout, Refusal, Site};
use super::unary::{numeric, output, resolve_axis};
use crate::graph::Dim;
use crate::kernels::elementwise::{Elementwise, ElementwiseKernel};
use crate::kernels::traversal::{Traversal, axis_strides};
use crate::ops::operator::Implementation;
use crate::tensor::DataType;

/// Which elements share a scale, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// The dimension that the scales lie along.
    pub axis: i64,
    /// Neighbours along it that share a scale which is theirs alone; 0: all elements at one place along it share one.
    pub block_size: usize,
}

impl Sharing {
    /// One scale for each place along `axis`, or one for all elements.
    pub fn along(axis: i64) -> Self {
        Sharing { axis, block_size: 0 }
    }

    /// # Errors
    /// If an attribute is wrong.
    pub fn take(attributes: &mut Attributes) -> Result<Self, Refusal> {
        let size = attributes.take_int("block_size", 0)?;
        let block_size = usize::try_from(size).map_err(|_| format!("block_size={size} is negative"))?;
        Ok(Sharing { axis: attributes.take_int("axis", 1)?, block_size })
    }

    /// What is not the default.
    pub fn attributes(self) -> Attributes {
        let attributes = if self.axis == 1 { Attributes::default() } else { Attributes::default().int("axis", self.axis) };
        if self.block_size == 0 { attributes } else { attributes.int("block_size", self.block_size as i64) }
    }
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
pub fn check_parameters(inputs: &Facts<'_>, sharing: Sharing) -> Result<(), Refusal> {
    let (x, scale) = (numeric(inputs, 0)?, numeric(inputs, 1)?);
    if !scale.data_type.is_float() {
        return Err(format!("a scale of type {} is not supported", scale.data_type));
    }
    if inputs.get(2).is_some_and(|zero_point| zero_point.shape != scale.shape) {
        return Err("scale and zero point must have one shape".to_string());
    }
    if sharing.block_size > 0 {
        return check_blocks(&x.shape, &scale.shape, sharing);
    }
    match scale.shape.as_slice() {
        [] | [Dim::Known(1)] => Ok(()),
        [length] => match (length.known(), x.shape[resolve_axis(sharing.axis, x.rank())?].known()) {
            (Some(found), Some(wanted)) if found != wanted => Err(format!("{found} scales for {wanted} channels")),
            _ => Ok(()),
        },
        _ => Err("a scale of rank 2 or more is not supported".to_string()),
    }
}

fn check_blocks(x: &[Dim], scale: &[Dim], sharing: Sharing) -> Result<(), Refusal> {
    let axis = resolve_axis(sharing.axis, x.len())?;
    let wanted = |(dim, size): (usize, &Dim)| size.known().map(|size| if dim == axis { size.div_ceil(sharing.block_size) } else { size });
    let fits = x.len() == scale.len() && {
        let mut pairs = x.iter().enumerate().map(wanted).zip(scale);
        pairs.all(|(wanted, found)| wanted.is_none_or(|wanted| found.known().is_none_or(|found| found == wanted)))
    };
    if fits { Ok(()) } else { Err(format!("scales do not fit blocks of {} along axis {axis}", sharing.block_size)) }
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

/// `layout` with dimension `axis` as two: blocks, and places in them.
fn split_blocks(layout: &Layout, axis: usize, block_size: usize) -> Result<Layout, Refusal> {
    let Layout { mut shape, mut strides } = layout.clone();
    if shape[axis] % block_size != 0 {
        return Err(format!("blocks of {block_size} that do not divide {} elements are not supported", shape[axis]));
    }
    let (size, stride) = (shape[axis], strides[axis]);
    shape.splice(axis..=axis, [size / block_size, block_size]);
    strides.splice(axis..=axis, [stride * block_size, stride]);
    Ok(Layout { shape, strides })
}

/// The steps of a scale for each block along the dimensions of [`split_blocks`].
fn scale_strides(scale: &Layout, axis: usize) -> Vec<usize> {
    let mut strides = scale.strides.clone();
    strides.insert(axis + 1, 0);
    strides
}

/// `function` of (x, scale, zero point), or of (x, scale) where there is no zero point.
///
/// # Errors
/// If shapes do not fit.
pub fn implement(site: &Site<'_>, sharing: Sharing, function: impl Elementwise<2> + Elementwise<3>) -> Result<Implementation, Refusal> {
    let (x, output) = (&site.required(0)?.layout, output(site)?);
    if x.shape != output.shape {
        return Err(format!("output shape {:?} is not that of the input, {:?}", output.shape, x.shape));
    }
    let (output, along_x, channel) = if sharing.block_size == 0 {
        let channel = axis_strides(x.shape.len(), scale_axis(site, sharing.axis)?);
        (output.clone(), x.strides.clone(), channel)
    } else {
        let axis = resolve_axis(sharing.axis, x.shape.len())?;
        let scale = &site.required(1)?.layout;
        if site.get(2).is_some_and(|zero_point| zero_point.layout != *scale) {
            return Err("scale and zero point must have one shape".to_string());
        }
        let split = |layout: &Layout| split_blocks(layout, axis, sharing.block_size);
        (split(output)?, split(x)?.strides, scale_strides(scale, axis))
    };
    let output = &output;
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
