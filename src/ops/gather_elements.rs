//! GatherElements.

use super::attributes::Attributes;
use super::indexed::{element_places, gather};
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{operator, row_major_shape};
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
        let shape = row_major_shape(site, 0)?;
        gather(site, element_places(&shape, &row_major_shape(site, 1)?, resolve_axis(s.axis, shape.len())?)?)
    }
);
