//! Gather.

use super::attributes::Attributes;
use super::indexed::{Places, gather};
use super::operator::{Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{operator, row_major_shape};
use super::unary::resolve_axis;
use super::{NodeForm, Parsed};

/// Takes the slices of input 0 along `axis` whose numbers stand in input 1.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    pub axis: i64,
}

impl Gather {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 0)?;
        attributes.finish()?;
        Ok(Parsed::plain(Gather { axis }))
    }
}

operator!(
    Gather,
    PassThrough,
    |s| Attributes::default().int("axis", s.axis),
    |s, inputs| {
        let (x, indices) = (inputs.required(0)?, inputs.required(1)?);
        let axis = resolve_axis(s.axis, x.rank())?;
        let mut shape = x.shape[..axis].to_vec();
        shape.extend(indices.shape.iter().cloned());
        shape.extend(x.shape[axis + 1..].iter().cloned());
        Ok(vec![Fact::new(x.data_type, shape)])
    },
    |s, site| {
        let (shape, count) = (row_major_shape(site, 0)?, site.required(1)?.layout.len());
        let axis = resolve_axis(s.axis, shape.len())?;
        let strides = Layout::row_major(&shape).strides;
        let (outer, inner) = (shape[..axis].iter().product::<usize>(), strides[axis]);
        let elements = || (0..outer * count * inner).map(|at| (at / inner / count, at / inner % count, at % inner));
        let starts = elements().map(|(block, _, at)| (block * shape[axis] * inner + at) as u32).collect();
        let tuples = elements().map(|(_, index, _)| index as u32).collect();
        gather(site, Places { starts, tuples, dims: vec![(shape[axis], inner)] })
    }
);
