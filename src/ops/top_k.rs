//! TopK.

use super::lines::Lines;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{numeric, resolve_axis};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::{DataType, TensorData};

/// The largest or smallest elements along `axis`, as many as input 1 says, in order; of equal ones the first. The second output
/// tells where they stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    pub axis: i64,
    pub largest: bool,
    pub sorted: bool,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let (axis, largest) = (attributes.take_int("axis", -1)?, attributes.take_int("largest", 1)? != 0);
    let sorted = attributes.take_int("sorted", 1)? != 0;
    let count = attributes.take_optional_int("k")?;
    attributes.finish()?;
    let inputs = count.map(|count| (1, TensorData::vector(vec![count]))).into_iter().collect();
    Ok(Parsed { inputs, ..Parsed::plain(TopK { axis, largest, sorted }) })
}

impl Operator for TopK {
    fn name(&self) -> &str {
        "TopK"
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().int("axis", self.axis);
        attributes.int("largest", i64::from(self.largest)).int("sorted", i64::from(self.sorted))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = numeric(inputs, 0)?;
        let axis = resolve_axis(self.axis, x.rank())?;
        let mut shape = x.shape.clone();
        shape[axis] = match inputs.required(1)?.integers().as_deref() {
            Some([count]) => Dim::Known(usize::try_from(*count).map_err(|_| format!("k={count} is negative"))?),
            Some(counts) => return Err(format!("k={counts:?} is not one number")),
            None => Dim::Unknown,
        };
        if let (Some(count), Some(size)) = (shape[axis].known(), x.shape[axis].known())
            && count > size
        {
            return Err(format!("k={count} of {size} elements"));
        }
        Ok(vec![Fact::new(x.data_type, shape.clone()), Fact::new(DataType::I64, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let lines = Lines::of(site, self.axis)?;
        let count = site.integers(1)?.first().and_then(|count| usize::try_from(*count).ok()).filter(|count| *count <= lines.size);
        let count = count.ok_or("k is out of range")?;
        let kernel = |index: usize| row_major(site, index, Largest { largest: self.largest, lines, count, indices: index == 1 });
        Ok(Implementation::Several(vec![kernel(0), kernel(1)]))
    }
}

struct Largest {
    largest: bool,
    lines: Lines,
    count: usize,
    /// Whether their places are wanted, not they themselves.
    indices: bool,
}

impl Largest {
    /// Calls `visit` for every output element: its place, the number within its line, and the place in the input.
    fn for_each(&self, x: &[f32], mut visit: impl FnMut(usize, usize, usize)) {
        for line in 0..self.lines.count {
            let mut order: Vec<(usize, usize)> = self.lines.places(line).enumerate().collect();
            order.sort_by(|(_, a), (_, b)| if self.largest { x[*b].total_cmp(&x[*a]) } else { x[*a].total_cmp(&x[*b]) });
            let start = self.lines.start(line, self.count);
            for (rank, (at, place)) in order.into_iter().take(self.count).enumerate() {
                visit(start + rank * self.lines.inner, at, place);
            }
        }
    }
}

impl Kernel for Largest {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.for_each(inputs[0], |to, at, from| output[to] = if self.indices { at as f32 } else { inputs[0][from] });
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let dx = gradient.open();
        if !self.indices {
            self.for_each(call.inputs[0], |to, _, from| dx[from] += call.output_gradient[to]);
        }
    }
}
