//! CumSum.

use super::lines::Lines;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{self, output};
use super::{Attributes, NodeForm, Parsed};

/// Sums of all elements up to each along the dimension in input 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CumSum {
    /// Without the element itself.
    pub exclusive: bool,
    /// From the end.
    pub reverse: bool,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let (exclusive, reverse) = (attributes.take_int("exclusive", 0)? != 0, attributes.take_int("reverse", 0)? != 0);
    attributes.finish()?;
    Ok(Parsed::plain(CumSum { exclusive, reverse }))
}

impl Operator for CumSum {
    fn name(&self) -> &str {
        "CumSum"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("exclusive", i64::from(self.exclusive)).int("reverse", i64::from(self.reverse))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        inputs.required(1)?;
        unary::infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let axis = site.integers(1)?.first().copied().ok_or("its axis is missing")?;
        output(site)?;
        Ok(Implementation::Compute(row_major(site, 0, Sums { operator: *self, lines: Lines::of(site, axis)? })))
    }
}

struct Sums {
    operator: CumSum,
    lines: Lines,
}

impl Sums {
    /// Sums of `x` along each line, from its end if `reverse`, given to `visit` with their places.
    fn run(&self, reverse: bool, x: &[f32], mut visit: impl FnMut(usize, f32)) {
        for line in 0..self.lines.count {
            let places = self.lines.places(line);
            let order: Vec<usize> = if reverse { places.rev().collect() } else { places.collect() };
            let mut sum = 0.0;
            for place in order {
                let before = sum;
                sum += x[place];
                visit(place, if self.operator.exclusive { before } else { sum });
            }
        }
    }
}

impl Kernel for Sums {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.run(self.operator.reverse, inputs[0], |place, sum| output[place] = sum);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let dx = gradient.open();
        self.run(!self.operator.reverse, call.output_gradient, |place, sum| dx[place] += sum);
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}
