//! Numpy broadcasting of shapes.

use super::operator::Refusal;
use crate::graph::Dim;

/// The shape that `a` and `b` broadcast to.
///
/// # Errors
/// If two known sizes differ and neither is 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Refusal> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Dim], dim: usize| (dim + shape.len()).checked_sub(rank).map(|dim| shape[dim].clone()).unwrap_or(Dim::Known(1));
    (0..rank).map(|dim| one(at(a, dim), at(b, dim))).collect()
}

fn one(a: Dim, b: Dim) -> Result<Dim, Refusal> {
    match (a, b) {
        (Dim::Known(1), other) | (other, Dim::Known(1)) => Ok(other),
        (Dim::Known(a), Dim::Known(b)) if a != b => Err(format!("sizes {a} and {b} do not broadcast")),
        (Dim::Known(n), _) | (_, Dim::Known(n)) => Ok(Dim::Known(n)),
        (Dim::Symbol(a), Dim::Symbol(b)) if a == b => Ok(Dim::Symbol(a)),
        _ => Ok(Dim::Unknown),
    }
}
