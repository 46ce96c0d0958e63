//! GatherND.

use super::attributes::Attributes;
use super::indexed::{gather, slice_places};
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{operator, row_major_shape};
use super::{NodeForm, Parsed};

/// Slices of input 0, each told by a tuple of indices in the last dimension of input 1. The first `batch_dims` dimensions of
/// both go in step.
#[derive(Clone, Copy, Debug)]
pub struct GatherND {
    pub batch_dims: usize,
}

impl GatherND {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let batch_dims = attributes.take_int("batch_dims", 0)?;
        attributes.finish()?;
        let batch_dims = usize::try_from(batch_dims).map_err(|_| format!("batch_dims={batch_dims} is negative"))?;
        Ok(Parsed::plain(GatherND { batch_dims }))
    }
}

operator!(
    GatherND,
    PassThrough,
    |s| Attributes::default().int("batch_dims", s.batch_dims as i64),
    |s, inputs| {
        let (x, indices) = (inputs.required(0)?, inputs.required(1)?);
        let (depth, lead) = indices.shape.split_last().ok_or("its indices have no dimension")?;
        let depth = depth.known().ok_or("the length of its indices is not known")?;
        let rest = s.batch_dims.checked_add(depth).and_then(|from| x.shape.get(from..));
        let rest = rest.ok_or_else(|| format!("indices of {depth} do not fit an input of rank {}", x.rank()))?;
        Ok(vec![Fact::new(x.data_type, [lead, rest].concat())])
    },
    |s, site| gather(site, slice_places(&row_major_shape(site, 0)?, &row_major_shape(site, 1)?, s.batch_dims)?)
);
