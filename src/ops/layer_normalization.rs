//! LayerNormalization.

use super::normalization;
use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary::resolve_axis;
use super::{Attributes, NodeForm, Parsed};

/// Elements of the dimensions from `axis` on brought to mean 0 and variance 1, then scaled and shifted.
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

impl Operator for LayerNormalization {
    fn name(&self) -> &str {
        "LayerNormalization"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis).float("epsilon", self.epsilon)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        resolve_axis(self.axis, inputs.required(0)?.rank())?;
        normalization::infer(inputs)
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
        normalization::implement(site, size, scale.broadcast_offsets(shape), self.epsilon)
    }
}
