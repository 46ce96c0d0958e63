//! What Softmax and LogSoftmax share.

use super::operator::{Fact, Facts, Implementation, Refusal, Site};
use super::unary::{self, output, resolve_axis};
use super::{Attributes, NodeForm};
use crate::kernels::softmax::Softmax;

/// The dimension that is normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxAxis {
    /// Negative ones count from the end.
    pub index: i64,
    /// From an operator set below 13, where all dimensions from `index` on were normalized as one. The same thing
    /// where those after `index` are of size 1; elsewhere the pass `flatten_softmax` says so in other operators.
    pub flatten: bool,
}

impl SoftmaxAxis {
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse(form: NodeForm) -> Result<Self, Refusal> {
        let NodeForm { mut attributes, opset, .. } = form;
        let flatten = opset < 13;
        let index = Attributes::take_int(&mut attributes, "axis", if flatten { 1 } else { -1 })?;
        unary::finish(attributes)?;
        Ok(SoftmaxAxis { index, flatten })
    }
}

/// # Errors
/// If the axis does not exist.
pub fn infer(inputs: &Facts<'_>, axis: SoftmaxAxis) -> Result<Vec<Fact>, Refusal> {
    resolve_axis(axis.index, inputs.required(0)?.rank())?;
    unary::infer(inputs)
}

/// # Errors
/// If the axis does not exist, or stands for several dimensions.
pub fn implement(site: &Site<'_>, axis: SoftmaxAxis, logarithm: bool) -> Result<Implementation, Refusal> {
    let (input, output) = (&site.required(0)?.layout, output(site)?);
    if input.shape != output.shape {
        return Err(format!("output shape {:?} is not that of the input, {:?}", output.shape, input.shape));
    }
    let index = resolve_axis(axis.index, input.shape.len())?;
    if axis.flatten && input.shape[index + 1..].iter().any(|size| *size != 1) {
        return Err(format!("axis={} of operator set 12 and below, which covers several dimensions here, is not supported", axis.index));
    }
    Ok(Implementation::Compute(Box::new(Softmax::new(input, output, index, logarithm))))
}
