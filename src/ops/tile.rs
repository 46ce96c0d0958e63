//! Tile.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{index_map, moved, operator, row_major_shape, sizes};
use super::{NodeForm, Parsed};
use crate::graph::Dim;

/// Input 0 repeated along each dimension as often as input 1 says.
#[derive(Clone, Copy, Debug)]
pub struct Tile;

impl Tile {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(Tile))
    }
}

operator!(
    Tile,
    PassThrough,
    |s| Attributes::default(),
    |s, inputs| {
        let (x, repeats) = (inputs.required(0)?, inputs.required(1)?);
        let Some(repeats) = repeats.integers() else {
            return Ok(vec![Fact::new(x.data_type, vec![Dim::Unknown; x.rank()])]);
        };
        let repeats = sizes(&repeats)?;
        if repeats.len() != x.rank() {
            return Err(format!("{} repeats do not fit rank {}", repeats.len(), x.rank()));
        }
        let times = |(dim, times): (&Dim, &usize)| match dim.known().map(|size| size.checked_mul(*times)) {
            Some(size) => size.map(Dim::Known).ok_or_else(|| "its result is too large".to_string()),
            None if *times == 1 => Ok(dim.clone()),
            None => Ok(Dim::Unknown),
        };
        Ok(vec![Fact::new(x.data_type, x.shape.iter().zip(&repeats).map(times).collect::<Result<_, _>>()?)])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let output = &site.output(0).ok_or("it has no output")?.shape;
        let picks = output.iter().zip(&shape).map(|(to, from)| (0..*to).map(|at| Some(at % from.max(&1))).collect::<Vec<_>>());
        Ok(moved(vec![index_map(&shape, &picks.collect::<Vec<_>>())]))
    }
);
