//! Clip.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, QuantizationRole, Refusal, Site};
use super::{Attributes, NodeForm, Parsed, unary};
use crate::graph::Dim;
use crate::kernels::elementwise::{self, Elementwise};
use crate::kernels::traversal::Traversal;
use crate::kernels::{Activation, Isa};
use crate::tensor::TensorData;

/// min(max(x, lowest), highest) over inputs (x, lowest, highest); a bound may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip;

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let NodeForm { mut attributes, opset, .. } = form;
    let mut inputs = Vec::new();
    for (index, name) in [(1, "min"), (2, "max")] {
        if opset < 11 && attributes.0.contains_key(name) {
            inputs.push((index, TensorData::scalar(attributes.take_float(name, 0.0)?)));
        }
    }
    unary::finish(attributes)?;
    Ok(Parsed { inputs, ..Parsed::plain(Clip) })
}

impl Operator for Clip {
    fn name(&self) -> &str {
        "Clip"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        for index in [1, 2] {
            let single = |shape: &[Dim]| shape.iter().all(|dim| *dim == Dim::Known(1));
            if inputs.get(index).is_some_and(|bound| !single(&bound.shape)) {
                return Err(format!("input {index} must be a single number"));
            }
        }
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let traversal = unary::traverse(unary::output(site)?, [&site.required(0)?.layout])?;
        Ok(Implementation::Compute(Box::new(ClipKernel { traversal, isa: site.isa })))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Activation
    }

    fn activation(&self, constants: &[Option<&TensorData>]) -> Option<Activation> {
        let bound = |index: usize, otherwise| match constants.get(index).copied().flatten() {
            Some(bound) => bound.to_f32()?.first().copied(),
            None => Some(otherwise),
        };
        Some(Activation::Clip { low: bound(1, f32::NEG_INFINITY)?, high: bound(2, f32::INFINITY)? })
    }
}

struct ClipKernel {
    traversal: Traversal<1>,
    isa: Isa,
}

struct Bounds {
    low: f32,
    high: f32,
}

impl Bounds {
    fn of(inputs: &[&[f32]]) -> Self {
        let bound = |index: usize, otherwise| inputs.get(index).and_then(|bound| bound.first()).copied().unwrap_or(otherwise);
        Bounds { low: bound(1, f32::NEG_INFINITY), high: bound(2, f32::INFINITY) }
    }
}

impl Elementwise<1> for Bounds {
    #[inline(always)]
    fn value(&self, [x]: [f32; 1]) -> f32 {
        let raised = if x < self.low { self.low } else { x };
        if raised > self.high { self.high } else { raised }
    }

    #[inline(always)]
    fn slope(&self, _operand: usize, [x]: [f32; 1], _: f32) -> f32 {
        if x > self.low && x < self.high { 1.0 } else { 0.0 }
    }
}

impl Kernel for ClipKernel {
    fn scratch(&self) -> usize {
        elementwise::scratch::<1>()
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        elementwise::forward(&Bounds::of(inputs), &self.traversal, self.isa, [inputs[0]], output, scratch);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let bounds = Bounds::of(call.inputs);
        let outside: [fn(&Bounds, f32) -> bool; 2] = [|b, x| x < b.low && b.low <= b.high, |b, x| x.max(b.low) > b.high];
        for (gradient, clipped) in call.input_gradients.iter_mut().skip(1).zip(outside) {
            let Some(gradient) = gradient else { continue };
            let pairs = call.inputs[0].iter().zip(call.output_gradient);
            gradient.open()[0] += pairs.filter(|(x, _)| clipped(&bounds, **x)).map(|(_, g)| g).sum::<f32>();
        }
        elementwise::backward(&bounds, &self.traversal, self.isa, call);
    }
}
