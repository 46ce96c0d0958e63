//! ReverseSequence.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{numeric, output};
use super::{Attributes, NodeForm, Parsed};

/// The first elements of each sequence in reverse order, as many as input 1 says for each of the batch; the others stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReverseSequence {
    /// The dimension of the batch: 0 or 1, and the other one is that of time.
    pub batch_axis: usize,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let axes = (attributes.take_int("batch_axis", 1)?, attributes.take_int("time_axis", 0)?);
    attributes.finish()?;
    match axes {
        (batch @ (0 | 1), time) if time == 1 - batch => Ok(Parsed::plain(ReverseSequence { batch_axis: batch as usize })),
        (batch, time) => Err(format!("batch_axis={batch} and time_axis={time} are not 0 and 1")),
    }
}

impl Operator for ReverseSequence {
    fn name(&self) -> &str {
        "ReverseSequence"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("batch_axis", self.batch_axis as i64).int("time_axis", 1 - self.batch_axis as i64)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (x, _) = (numeric(inputs, 0)?, inputs.required(1)?);
        if x.rank() < 2 {
            return Err(format!("an input of rank {} has no sequences", x.rank()));
        }
        Ok(vec![Fact::new(x.data_type, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let shape = &site.required(0)?.layout.shape;
        output(site)?;
        if site.required(1)?.layout.len() != shape[self.batch_axis] {
            return Err("there must be a length for each sequence".to_string());
        }
        let strides = Layout::row_major(shape).strides;
        let of = |axis: usize| (shape[axis], strides[axis]);
        let kernel = Reversal { batch: of(self.batch_axis), time: of(1 - self.batch_axis) };
        Ok(Implementation::Compute(row_major(site, 0, kernel)))
    }
}

/// Size and stride of both dimensions.
struct Reversal {
    batch: (usize, usize),
    time: (usize, usize),
}

impl Reversal {
    /// Where the element at `place` comes from; this is its own inverse.
    fn source(&self, place: usize, lengths: &[f32]) -> usize {
        let at = |(size, stride): (usize, usize)| place / stride % size;
        let (sample, time) = (at(self.batch), at(self.time));
        let length = (lengths[sample].max(0.0) as usize).min(self.time.0);
        if time < length { place - time * self.time.1 + (length - 1 - time) * self.time.1 } else { place }
    }
}

impl Kernel for Reversal {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        output.iter_mut().enumerate().for_each(|(place, y)| *y = inputs[0][self.source(place, inputs[1])]);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let mut gradients = call.input_gradients.iter_mut();
        if let Some(Some(gradient)) = gradients.next() {
            let dx = gradient.open();
            call.output_gradient.iter().enumerate().for_each(|(place, g)| dx[self.source(place, call.inputs[1])] += g);
        }
        gradients.flatten().for_each(|gradient| {
            gradient.open();
        });
    }
}
