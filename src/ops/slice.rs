//! Slice.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{index_map, moved, operator, row_major_shape};
use super::unary::resolve_axis;
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::TensorData;

/// Inputs: data, starts, ends, axes (default: the first ones), steps (default 1).
#[derive(Clone, Copy, Debug)]
pub struct Slice;

impl Slice {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let mut inputs = Vec::new();
        for (index, name) in [(1, "starts"), (2, "ends"), (3, "axes")] {
            inputs.extend(attributes.take_ints(name)?.map(|values| (index, TensorData::vector(values))));
        }
        attributes.finish()?;
        Ok(Parsed { inputs, ..Parsed::plain(Slice) })
    }

    /// Indices taken along each dimension; `None` where the size of a sliced dimension is not known.
    fn picks(shape: &[Dim], lists: [Option<Vec<i64>>; 4]) -> Result<Vec<Option<Vec<usize>>>, Refusal> {
        let [Some(starts), Some(ends), axes, steps] = lists else { return Err("its starts and ends must be constant".to_string()) };
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err("its starts, ends, axes and steps differ in length".to_string());
        }
        let mut picks: Vec<Option<Vec<usize>>> = shape.iter().map(|dim| dim.known().map(|n| (0..n).collect())).collect();
        for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = resolve_axis(*axis, shape.len())?;
            if *step == 0 {
                return Err("a step is 0".to_string());
            }
            picks[axis] = shape[axis].known().map(|n| strided(n as i64, *start, *end, *step));
        }
        Ok(picks)
    }
}

/// Indices from `start` to before `end` by `step`, numpy's way.
fn strided(size: i64, start: i64, end: i64, step: i64) -> Vec<usize> {
    let wrap = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let (start, end) = (wrap(start).clamp(low.max(0), high), wrap(end).clamp(low, high));
    let mut indices = Vec::new();
    let mut at = start;
    while (step > 0 && at < end) || (step < 0 && at > end && at >= 0) {
        indices.push(at as usize);
        at = at.saturating_add(step);
    }
    indices
}

operator!(
    Slice,
    PassThrough,
    |s| Attributes::default(),
    |s, inputs| {
        let x = inputs.required(0)?;
        let list = |index: usize| -> Result<Option<Vec<i64>>, Refusal> {
            inputs.get(index).map(|list| list.integers().ok_or_else(|| format!("input {index} must be constant"))).transpose()
        };
        let picks = Slice::picks(&x.shape, [list(1)?, list(2)?, list(3)?, list(4)?])?;
        let shape = picks.into_iter().zip(&x.shape).map(|(picks, dim)| match picks {
            Some(picks) => Dim::Known(picks.len()),
            None => match dim {
                Dim::Symbol(_) if list(3).ok().flatten().is_some_and(|axes| axes.iter().all(|axis| *axis > 0)) => dim.clone(),
                _ => Dim::Unknown,
            },
        });
        Ok(vec![Fact::new(x.data_type, shape.collect())])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let dims: Vec<Dim> = shape.iter().map(|n| Dim::Known(*n)).collect();
        let list = |index: usize| site.get(index).map(|_| site.integers(index)).transpose();
        let picks = Slice::picks(&dims, [list(1)?, list(2)?, list(3)?, list(4)?])?;
        let picks: Vec<Vec<Option<usize>>> =
            picks.into_iter().map(|picks| picks.unwrap_or_default().into_iter().map(Some).collect()).collect();
        Ok(moved(vec![index_map(&shape, &picks)]))
    }
);
