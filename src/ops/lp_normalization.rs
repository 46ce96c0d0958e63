//! LpNormalization.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, Refusal, Site};
use super::unary::{self, output, resolve_axis};
use super::{Attributes, NodeForm, Parsed};

/// Elements along one dimension divided by their length; zeros where that is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LpNormalization {
    pub axis: i64,
    /// Whether the length is the sum of magnitudes, not the root of the sum of squares.
    pub by_magnitudes: bool,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let (axis, p) = (attributes.take_int("axis", -1)?, attributes.take_int("p", 2)?);
    attributes.finish()?;
    if !(1..=2).contains(&p) {
        return Err(format!("p={p} is neither 1 nor 2"));
    }
    Ok(Parsed::plain(LpNormalization { axis, by_magnitudes: p == 1 }))
}

impl Operator for LpNormalization {
    fn name(&self) -> &str {
        "LpNormalization"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis).int("p", if self.by_magnitudes { 1 } else { 2 })
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        resolve_axis(self.axis, inputs.required(0)?.rank())?;
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (input, output) = (&site.required(0)?.layout, output(site)?);
        let axis = resolve_axis(self.axis, input.shape.len())?;
        let mut shape = input.shape.clone();
        let size = std::mem::replace(&mut shape[axis], 1);
        let starts = |layout: &Layout| Layout { shape: shape.clone(), strides: layout.strides.clone() }.offsets();
        let lines = starts(input).into_iter().zip(starts(output)).collect();
        let steps = (input.strides[axis], output.strides[axis]);
        Ok(Implementation::Compute(Box::new(Normalized { lines, steps, size, by_magnitudes: self.by_magnitudes })))
    }
}

struct Normalized {
    /// Where each line of elements starts in input and output.
    lines: Vec<(usize, usize)>,
    steps: (usize, usize),
    size: usize,
    by_magnitudes: bool,
}

impl Normalized {
    fn length(&self, x: &[f32], start: usize) -> f32 {
        let line = (0..self.size).map(|at| x[start + at * self.steps.0]);
        if self.by_magnitudes { line.map(f32::abs).sum() } else { line.map(|x| x * x).sum::<f32>().sqrt() }
    }
}

impl Kernel for Normalized {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (from, to) in &self.lines {
            let length = self.length(inputs[0], *from);
            for at in 0..self.size {
                let x = inputs[0][from + at * self.steps.0];
                output[to + at * self.steps.1] = if length == 0.0 { 0.0 } else { x / length };
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let (dx, x, g) = (gradient.open(), call.inputs[0], call.output_gradient);
        for (from, to) in &self.lines {
            let length = self.length(x, *from);
            let x_at = |at: usize| x[from + at * self.steps.0];
            let g_at = |at: usize| g[to + at * self.steps.1];
            let along = (0..self.size).map(|at| x_at(at) * g_at(at)).sum::<f32>() / (length * length);
            for at in (0..self.size).filter(|_| length > 0.0) {
                let x = x_at(at);
                let slope = if self.by_magnitudes { x.signum() * length } else { x };
                dx[from + at * self.steps.0] += (g_at(at) - slope * along) / length;
            }
        }
    }
}
