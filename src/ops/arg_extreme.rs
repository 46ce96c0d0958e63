//! ArgMax and ArgMin.

use super::lines::Lines;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{numeric, output, resolve_axis};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::DataType;

/// Where along `axis` the largest or the smallest element stands. Takes no gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgExtreme {
    pub largest: bool,
    pub axis: i64,
    pub keepdims: bool,
    /// Of equal ones the last, not the first.
    pub last: bool,
}

impl ArgExtreme {
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse(form: NodeForm, largest: bool) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let (axis, keepdims) = (attributes.take_int("axis", 0)?, attributes.take_int("keepdims", 1)? != 0);
        let last = attributes.take_int("select_last_index", 0)? != 0;
        attributes.finish()?;
        Ok(Parsed::plain(ArgExtreme { largest, axis, keepdims, last }))
    }
}

impl Operator for ArgExtreme {
    fn name(&self) -> &str {
        if self.largest { "ArgMax" } else { "ArgMin" }
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().int("axis", self.axis).int("keepdims", i64::from(self.keepdims));
        if self.last { attributes.int("select_last_index", 1) } else { attributes }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let mut shape = numeric(inputs, 0)?.shape.clone();
        let axis = resolve_axis(self.axis, shape.len())?;
        if self.keepdims {
            shape[axis] = Dim::Known(1);
        } else {
            shape.remove(axis);
        }
        Ok(vec![Fact::new(DataType::I64, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let lines = Lines::of(site, self.axis)?;
        if lines.size == 0 {
            return Err("there is nothing to choose from".to_string());
        }
        output(site)?;
        Ok(Implementation::Compute(row_major(site, 0, Choice { operator: *self, lines })))
    }
}

struct Choice {
    operator: ArgExtreme,
    lines: Lines,
}

impl Kernel for Choice {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let ArgExtreme { largest, last, .. } = self.operator;
        for (line, y) in output.iter_mut().enumerate().take(self.lines.count) {
            let mut best: Option<(usize, f32)> = None;
            for (at, place) in self.lines.places(line).enumerate() {
                let x = inputs[0][place];
                let takes = best.is_none_or(|(_, best)| if largest { x > best } else { x < best } || last && x == best);
                best = if takes { Some((at, x)) } else { best };
            }
            *y = best.map_or(0.0, |(at, _)| at as f32);
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        call.input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}
