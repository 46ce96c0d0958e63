//! LayerNormalization.

use super::normalization;
use super::operator::{Fact, Facts, Implementation, Kernel, Layout, Operator, Refusal, Site};
use super::unary::resolve_axis;
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::normalization::{Moment, Moments, Place};
use crate::tensor::DataType;

/// Elements of the dimensions from `axis` on brought to mean 0 and variance 1, then scaled and shifted. Further outputs: the
/// mean that was taken away, and one over the deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNormalization {
    pub axis: i64,
    pub epsilon: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let (axis, epsilon) = (attributes.take_int("axis", -1)?, attributes.take_float("epsilon", 1e-5)?);
    // The type in which the first step is computed; all of it is float32 here.
    attributes.take_int("stash_type", 1)?;
    attributes.finish()?;
    Ok(Parsed::plain(LayerNormalization { axis, epsilon }))
}

impl LayerNormalization {
    /// One number for each group of `size` elements.
    fn moments(&self, site: &Site<'_>, groups: &Layout, size: usize, moment: Moment) -> Result<Box<dyn Kernel>, Refusal> {
        let to = groups.offsets();
        let from = site.required(0)?.layout.offsets().into_iter().enumerate();
        let places = from.map(|(at, from)| Place { from: from as u32, to: to[at / size] as u32, parameter: 0 }).collect();
        Ok(Box::new(Moments { places, size, epsilon: self.epsilon, moment }))
    }
}

impl Operator for LayerNormalization {
    fn name(&self) -> &str {
        "LayerNormalization"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis).float("epsilon", self.epsilon)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        let axis = resolve_axis(self.axis, x.rank())?;
        let mut outputs = normalization::infer(inputs)?;
        let groups = x.shape.iter().enumerate().map(|(dim, size)| if dim < axis { size.clone() } else { Dim::Known(1) });
        let moment = Fact::new(DataType::F32, groups.collect());
        outputs.extend([moment.clone(), moment]);
        Ok(outputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let shape = &site.required(0)?.layout.shape;
        let size = shape[resolve_axis(self.axis, shape.len())?..].iter().product();
        let scale = &site.required(1)?.layout;
        if site.get(2).is_some_and(|shift| shift.layout != *scale) {
            return Err("scale and bias differ in shape".to_string());
        }
        let lead = shape.len().checked_sub(scale.shape.len());
        let fits = lead.is_some_and(|lead| scale.shape.iter().zip(&shape[lead..]).all(|(own, wanted)| own == wanted || *own == 1));
        if !fits {
            return Err(format!("a scale of shape {:?} does not fit {shape:?}", scale.shape));
        }
        let normalized = normalization::implement(site, size, scale.broadcast_offsets(shape), self.epsilon)?;
        match (normalized, site.output(1).or(site.output(2))) {
            (Implementation::Compute(kernel), Some(groups)) => {
                let [mean, deviation] = [Moment::Mean, Moment::InverseDeviation].map(|moment| self.moments(site, groups, size, moment));
                Ok(Implementation::Several(vec![kernel, mean?, deviation?]))
            }
            (normalized, _) => Ok(normalized),
        }
    }
}
