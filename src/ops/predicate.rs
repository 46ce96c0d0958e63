//! IsNaN, IsInf and Not.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed, unary};
use crate::kernels::elementwise::Elementwise;
use crate::tensor::DataType;

/// What is asked of every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicate {
    IsNaN,
    IsInf {
        /// Whether −∞ counts, and whether +∞ does.
        negative: bool,
        positive: bool,
    },
    Not,
}

impl Predicate {
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse_is_inf(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let negative = attributes.take_int("detect_negative", 1)? != 0;
        let positive = attributes.take_int("detect_positive", 1)? != 0;
        attributes.finish()?;
        Ok(Parsed::plain(Predicate::IsInf { negative, positive }))
    }
}

impl Elementwise<1> for Predicate {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        f32::from(match self {
            Predicate::IsNaN => x.is_nan(),
            Predicate::IsInf { negative, positive } => x.is_infinite() && if x < 0.0 { *negative } else { *positive },
            Predicate::Not => x == 0.0,
        })
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, _: [f32; 1], _: f32) -> f32 {
        0.0
    }
}

impl Operator for Predicate {
    fn name(&self) -> &str {
        match self {
            Predicate::IsNaN => "IsNaN",
            Predicate::IsInf { .. } => "IsInf",
            Predicate::Not => "Not",
        }
    }

    fn attributes(&self) -> Attributes {
        match self {
            Predicate::IsInf { negative, positive } => {
                Attributes::default().int("detect_negative", i64::from(*negative)).int("detect_positive", i64::from(*positive))
            }
            _ => Attributes::default(),
        }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        Ok(vec![Fact::new(DataType::Bool, unary::numeric(inputs, 0)?.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        unary::implement(site, *self)
    }
}
