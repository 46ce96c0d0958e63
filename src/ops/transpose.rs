//! Transpose.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{moved, operator, row_major_shape};
use super::{NodeForm, Parsed};

/// Permutes dimensions; an empty `perm` reverses them.
#[derive(Clone, Debug)]
pub struct Transpose {
    pub perm: Vec<usize>,
}

impl Transpose {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let perm = attributes.take_sizes("perm", true)?.unwrap_or_default();
        attributes.finish()?;
        Ok(Parsed::plain(Transpose { perm }))
    }

    /// The permutation for rank `rank`.
    ///
    /// # Errors
    /// If it is none.
    pub fn permutation(&self, rank: usize) -> Result<Vec<usize>, Refusal> {
        let perm: Vec<usize> = if self.perm.is_empty() { (0..rank).rev().collect() } else { self.perm.clone() };
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted != (0..rank).collect::<Vec<_>>() { Err(format!("perm={perm:?} is no permutation of rank {rank}")) } else { Ok(perm) }
    }
}

operator!(
    Transpose,
    PassThrough,
    |s| if s.perm.is_empty() { Attributes::default() } else { Attributes::default().sizes("perm", &s.perm) },
    |s, inputs| {
        let x = inputs.required(0)?;
        let shape = s.permutation(x.rank())?.into_iter().map(|dim| x.shape[dim].clone()).collect();
        Ok(vec![Fact::new(x.data_type, shape)])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let plain = Layout::row_major(&shape);
        let perm = s.permutation(shape.len())?;
        let turned =
            Layout { shape: perm.iter().map(|dim| shape[*dim]).collect(), strides: perm.iter().map(|dim| plain.strides[*dim]).collect() };
        Ok(moved(vec![turned.offsets().into_iter().map(|offset| offset as u32).collect()]))
    }
);
