//! Gather.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{index_map, moved, operator, row_major_shape};
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
        let shape = row_major_shape(site, 0)?;
        let axis = resolve_axis(s.axis, shape.len())?;
        let size = shape[axis] as i64;
        let index = |index: i64| {
            let at = if index < 0 { index + size } else { index };
            (0..size)
                .contains(&at)
                .then_some(Some(at as usize))
                .ok_or_else(|| format!("index {index} is outside dimension {axis} of {size}"))
        };
        let mut picks: Vec<Vec<Option<usize>>> = shape.iter().map(|n| (0..*n).map(Some).collect()).collect();
        picks[axis] = site.integers(1)?.into_iter().map(index).collect::<Result<_, _>>()?;
        // The indices that Move counts by come after the data; they are never read.
        Ok(moved(vec![index_map(&shape, &picks)]))
    }
);
