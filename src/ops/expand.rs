//! Expand.

use super::attributes::Attributes;
use super::broadcast::broadcast;
use super::operator::{Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{moved, operator, row_major_shape, sizes};
use super::{NodeForm, Parsed};
use crate::graph::Dim;

/// Broadcasts input 0 with the shape in input 1.
#[derive(Clone, Copy, Debug)]
pub struct Expand;

impl Expand {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(Expand))
    }
}

operator!(
    Expand,
    PassThrough,
    |s| Attributes::default(),
    |s, inputs| {
        let (x, target) = (inputs.required(0)?, inputs.required(1)?);
        let shape = match target.integers() {
            Some(list) => broadcast(&x.shape, &sizes(&list)?.into_iter().map(Dim::Known).collect::<Vec<_>>())?,
            None => {
                let rank = target.shape.first().and_then(Dim::known).ok_or("the rank of its result is not known")?;
                vec![Dim::Unknown; rank.max(x.rank())]
            }
        };
        Ok(vec![Fact::new(x.data_type, shape)])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let output = site.output(0).ok_or("it has no output")?;
        let offsets = Layout::row_major(&shape).broadcast_offsets(&output.shape);
        Ok(moved(vec![offsets.into_iter().map(|offset| offset as u32).collect()]))
    }
);
