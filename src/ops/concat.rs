//! Concat.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{moved, operator};
use super::unary::resolve_axis;
use super::{NodeForm, Parsed};
use crate::graph::Dim;

/// Joins its inputs along `axis`.
#[derive(Clone, Copy, Debug)]
pub struct Concat {
    pub axis: i64,
}

impl Concat {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 1)?;
        attributes.finish()?;
        Ok(Parsed::plain(Concat { axis }))
    }

    fn shape(self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let first = inputs.required(0)?;
        let axis = resolve_axis(self.axis, first.rank())?;
        let mut shape = first.shape.clone();
        let mut total = Some(0usize);
        for index in 0..inputs.len() {
            let part = inputs.required(index)?;
            if part.rank() != first.rank() || part.data_type != first.data_type {
                return Err(format!("input {index} has another rank or type than input 0"));
            }
            for (dim, (known, size)) in shape.iter_mut().zip(&part.shape).enumerate().filter(|(dim, _)| *dim != axis) {
                match (&known, size) {
                    (Dim::Known(a), Dim::Known(b)) if a != b => {
                        return Err(format!("dimension {dim} is {a} in one input and {b} in another"));
                    }
                    (Dim::Known(_), _) => {}
                    _ => *known = size.clone(),
                }
            }
            total = total.zip(part.shape[axis].known()).and_then(|(total, size)| total.checked_add(size));
        }
        shape[axis] = total.map_or(Dim::Unknown, Dim::Known);
        Ok(vec![Fact::new(first.data_type, shape)])
    }
}

operator!(Concat, Merge, |s| Attributes::default().int("axis", s.axis), |s, inputs| s.shape(inputs), |s, site| {
    let output = site.output(0).ok_or("it has no output")?;
    let axis = resolve_axis(s.axis, output.shape.len())?;
    let (outer, inner): (usize, usize) = (output.shape[..axis].iter().product(), output.shape[axis + 1..].iter().product());
    let mut starts = Vec::new();
    let mut start = 0;
    for index in 0..site.inputs.len() {
        let layout = &site.required(index)?.layout;
        starts.push((start, layout.shape[axis] * inner));
        start += layout.len();
    }
    let rows = (0..outer)
        .flat_map(|row| starts.iter().flat_map(move |(start, len)| (start + row * len..start + (row + 1) * len).map(|i| i as u32)));
    Ok(moved(vec![rows.collect()]))
});
