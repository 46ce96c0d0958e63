//! LRN.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::unary::{self, output};
use super::{Attributes, NodeForm, Parsed};
use crate::kernels::local_response::LocalResponse;

/// Local response normalization: each element is divided by what its neighbours in other channels hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    pub size: usize,
    pub alpha: f32,
    pub beta: f32,
    pub bias: f32,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let size = attributes.take_int("size", 0)?;
    let (alpha, beta) = (attributes.take_float("alpha", 1e-4)?, attributes.take_float("beta", 0.75)?);
    let bias = attributes.take_float("bias", 1.0)?;
    attributes.finish()?;
    match usize::try_from(size) {
        Ok(size) if (1..1 << 16).contains(&size) => Ok(Parsed::plain(Lrn { size, alpha, beta, bias })),
        _ => Err(format!("size={size} is out of range")),
    }
}

impl Operator for Lrn {
    fn name(&self) -> &str {
        "LRN"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().int("size", self.size as i64).float("alpha", self.alpha);
        attributes.float("beta", self.beta).float("bias", self.bias)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        if inputs.required(0)?.rank() < 2 {
            return Err("its input has no channels".to_string());
        }
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (input, output) = (&site.required(0)?.layout, output(site)?);
        let kernel = LocalResponse::new(input, output, self.size, [self.alpha, self.beta, self.bias]);
        Ok(Implementation::Compute(Box::new(kernel)))
    }
}
