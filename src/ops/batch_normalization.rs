//! BatchNormalization.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary::{self, numeric, output};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::batch_norm::BatchNorm;
use crate::tensor::TensorData;

/// y = scale · (x − mean) / √(variance + ε) + bias with fixed statistics, per channel.
/// Inputs: x `[N, C, …]`, then scale, bias, mean and variance `[C]`, which are shared by all images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormalization {
    pub epsilon: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, .. } = form;
    let epsilon = attributes.take_float("epsilon", 1e-5)?;
    if epsilon < 0.0 {
        return Err(format!("epsilon={epsilon} is negative"));
    }
    attributes.take_float("momentum", 0.9)?;
    attributes.take_int("is_test", 1)?;
    attributes.take_int("training_mode", 0)?;
    if attributes.take_int("spatial", 1)? != 1 {
        return Err("spatial=0 is not supported".to_string());
    }
    unary::finish(attributes)?;
    Ok(Parsed::plain(BatchNormalization { epsilon }))
}

/// Refuses a variance that has no root, where it is known.
fn check_variance(inputs: &Facts<'_>, epsilon: f32) -> Result<(), Refusal> {
    let Some(variance) = inputs.required(4)?.constant.as_ref().and_then(TensorData::to_f32) else { return Ok(()) };
    match variance.iter().position(|v| *v < 0.0 || v + epsilon <= 0.0 || !v.is_finite()) {
        Some(channel) => Err(format!("variance {} of channel {channel} with epsilon={epsilon} is not positive", variance[channel])),
        None => Ok(()),
    }
}

impl Operator for BatchNormalization {
    fn name(&self) -> &str {
        "BatchNormalization"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().float("epsilon", self.epsilon)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = numeric(inputs, 0)?;
        let channels = x.shape.get(1).cloned().unwrap_or(Dim::Known(1));
        for index in 1..=4 {
            let parameter = numeric(inputs, index)?;
            match (parameter.shape.as_slice(), channels.known()) {
                ([Dim::Known(found)], Some(wanted)) if *found != wanted => {
                    return Err(format!("input {index} has {found} elements for {wanted} channels"));
                }
                ([_], _) => {}
                _ => return Err(format!("input {index} must have rank 1")),
            }
        }
        check_variance(inputs, self.epsilon)?;
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (x, y) = (&site.required(0)?.layout, output(site)?);
        let channels = x.shape.get(1).copied().unwrap_or(1);
        for index in 1..=4 {
            let parameter = site.required(index)?;
            if !parameter.shared || parameter.layout.len() != channels {
                return Err(format!("input {index} must be one vector of {channels} elements for all images"));
            }
        }
        if x != y {
            return Err("input and output must lie alike in memory".to_string());
        }
        Ok(Implementation::Compute(Box::new(BatchNorm::new(x, self.epsilon, site.isa))))
    }
}
