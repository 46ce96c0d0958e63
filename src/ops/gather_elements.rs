//! GatherElements.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{moved, operator, row_major_shape};
use super::unary::resolve_axis;
use super::{NodeForm, Parsed};

/// Each output element is the one of input 0 at the same place but along `axis`, where the number at that place of input 1 says.
#[derive(Clone, Copy, Debug)]
pub struct GatherElements {
    pub axis: i64,
}

impl GatherElements {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 0)?;
        attributes.finish()?;
        Ok(Parsed::plain(GatherElements { axis }))
    }
}

operator!(
    GatherElements,
    PassThrough,
    |s| Attributes::default().int("axis", s.axis),
    |s, inputs| {
        let (x, indices) = (inputs.required(0)?, inputs.required(1)?);
        resolve_axis(s.axis, x.rank())?;
        if x.rank() != indices.rank() {
            return Err(format!("indices of rank {} for an input of rank {}", indices.rank(), x.rank()));
        }
        Ok(vec![Fact::new(x.data_type, indices.shape.clone())])
    },
    |s, site| {
        let (shape, wanted) = (row_major_shape(site, 0)?, row_major_shape(site, 1)?);
        let axis = resolve_axis(s.axis, shape.len())?;
        if shape.iter().zip(&wanted).enumerate().any(|(dim, (size, wanted))| dim != axis && wanted > size) {
            return Err(format!("indices of shape {wanted:?} do not fit an input of shape {shape:?}"));
        }
        let (size, mut strides) = (shape[axis] as i64, Layout::row_major(&shape).strides);
        let step = std::mem::take(&mut strides[axis]);
        let starts = Layout { shape: wanted, strides }.offsets();
        let element = |(start, index): (usize, i64)| {
            let at = if index < 0 { index + size } else { index };
            let inside = (0..size).contains(&at).then(|| (start + at as usize * step) as u32);
            inside.ok_or_else(|| format!("index {index} is outside dimension {axis} of {size}"))
        };
        Ok(moved(vec![starts.into_iter().zip(site.integers(1)?).map(element).collect::<Result<_, _>>()?]))
    }
);
