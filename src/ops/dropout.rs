//! Dropout.

use super::attributes::Attributes;
use super::operator::{FILL, Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::tensor::DataType;

/// Nothing at inference, where its mask says that all elements are kept.
#[derive(Clone, Copy, Debug)]
pub struct Dropout;

impl Dropout {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let _ = (attributes.take_float("ratio", 0.5)?, attributes.take_int("seed", 0)?, attributes.take_int("is_test", 1)?);
        attributes.finish()?;
        Ok(Parsed::plain(Dropout))
    }
}

impl Operator for Dropout {
    fn name(&self) -> &str {
        "Dropout"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let number = |index: usize| inputs.get(index)?.constant.as_ref()?.to_f64()?.first().copied();
        if number(2).is_some_and(|training| training != 0.0) && number(1) != Some(0.0) {
            return Err("training_mode is true, which drops elements at random; export the model for inference".to_string());
        }
        let x = inputs.required(0)?;
        Ok(vec![Fact::new(x.data_type, x.shape.clone()), Fact::new(DataType::Bool, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let len = site.required(0)?.layout.len();
        Ok(Implementation::Move { maps: vec![(0..len as u32).collect(), vec![FILL; len]], fill: 1.0 })
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::PassThrough
    }
}
