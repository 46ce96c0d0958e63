//! Mean.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::unary::output;
use super::{Attributes, NodeForm, Parsed};
use super::{binary, unary, variadic};
use crate::kernels::variadic::Fold;

/// Mean of one or more broadcast inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean;

/// # Errors
/// If an attribute is not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    unary::finish(form.attributes)?;
    Ok(Parsed::plain(Mean))
}

impl Operator for Mean {
    fn name(&self) -> &str {
        "Mean"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        binary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let Implementation::Compute(sum) = variadic::implement(site, Fold::Sum)? else { return Err("it has no kernel".to_string()) };
        let share = 1.0 / site.inputs.len() as f32;
        Ok(Implementation::Compute(Box::new(Scaled { sum, share, output_len: output(site)?.len() })))
    }
}

/// A sum times `share`.
struct Scaled {
    sum: Box<dyn Kernel>,
    share: f32,
    output_len: usize,
}

impl Kernel for Scaled {
    fn scratch(&self) -> usize {
        self.output_len + self.sum.scratch()
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        self.sum.forward(inputs, output, scratch);
        output.iter_mut().for_each(|y| *y *= self.share);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let (scaled, scratch) = call.scratch.split_at_mut(self.output_len);
        scaled.iter_mut().zip(call.output_gradient).for_each(|(scaled, g)| *scaled = g * self.share);
        self.sum.backward(BackwardCall { output_gradient: scaled, scratch, ..call });
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}
