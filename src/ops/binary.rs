//! What operators of two broadcast inputs share.

use super::operator::{Fact, Facts, Implementation, Refusal, Site};
use super::unary::{broadcast, numeric, output, traverse};
use crate::graph::known_shape;
use crate::kernels::elementwise::{Elementwise, ElementwiseKernel};
use crate::kernels::traversal::broadcast_strides;
use crate::ops::operator::Layout;
use crate::tensor::{DataType, TensorData};

/// Largest integer tensor that is computed while shapes are inferred.
const MOST_KNOWN: usize = 1024;

/// One output of the type of input 0 and the broadcast shape of all inputs.
///
/// # Errors
/// If inputs are missing, of different types, or do not broadcast.
pub fn infer(inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let first = numeric(inputs, 0)?;
    let mut shape = first.shape.clone();
    for index in 1..inputs.len() {
        let other = numeric(inputs, index)?;
        if other.data_type != first.data_type {
            return Err(format!("inputs 0 and {index} have types {} and {}", first.data_type, other.data_type));
        }
        shape = broadcast(&shape, &other.shape)?;
    }
    Ok(vec![Fact::new(first.data_type, shape)])
}

/// [`infer`] for exactly two inputs, with the numbers of small integer outputs where both inputs are known: shapes
/// are computed this way inside models. `function` gives `None` where it is undefined.
///
/// # Errors
/// As [`infer`].
pub fn infer_pair(inputs: &Facts<'_>, function: impl Fn(i64, i64) -> Option<i64>) -> Result<Vec<Fact>, Refusal> {
    inputs.required(1)?;
    if inputs.len() > 2 {
        return Err(format!("{} inputs, expected 2", inputs.len()));
    }
    let mut facts = infer(inputs)?;
    if let Some(tensor) = integer_result(inputs, &facts[0], function) {
        facts[0].constant = Some(tensor);
    }
    Ok(facts)
}

fn integer_result(inputs: &Facts<'_>, fact: &Fact, function: impl Fn(i64, i64) -> Option<i64>) -> Option<TensorData> {
    let shape = known_shape(&fact.shape)?;
    let len = shape.iter().try_fold(1usize, |len, n| len.checked_mul(*n)).filter(|len| *len <= MOST_KNOWN)?;
    let (a, b) = (spread(inputs.get(0)?, &shape)?, spread(inputs.get(1)?, &shape)?);
    let values: Vec<i64> = (0..len).map(|i| function(a[i], b[i])).collect::<Option<_>>()?;
    match fact.data_type {
        DataType::I64 => Some(TensorData::new(&shape, values)),
        DataType::I32 => Some(TensorData::new(&shape, values.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>().ok()?)),
        _ => None,
    }
}

/// The integers of a constant at each position of `shape`.
fn spread(fact: &Fact, shape: &[usize]) -> Option<Vec<i64>> {
    let integers = fact.integers()?;
    let layout = Layout::row_major(fact.constant.as_ref()?.shape());
    broadcast_strides(&layout, shape)?;
    Some(layout.broadcast_offsets(shape).into_iter().map(|at| integers[at]).collect())
}

/// # Errors
/// If an input is missing or does not broadcast to the output.
pub fn implement(site: &Site<'_>, function: impl Elementwise<2>) -> Result<Implementation, Refusal> {
    let (a, b) = (&site.required(0)?.layout, &site.required(1)?.layout);
    let traversal = traverse(output(site)?, [a, b])?;
    Ok(Implementation::Compute(Box::new(ElementwiseKernel { function, traversal, isa: site.isa })))
}

/// Whether the numbers at `site` are integers at rest.
pub fn is_integer(site: &Site<'_>) -> bool {
    site.get(0).is_some_and(|operand| !operand.data_type.is_float())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_are_known_before_anything_runs() {
        let inputs = [Some(Fact::of(TensorData::vector(vec![-7i64, 7, i64::MAX]))), Some(Fact::of(TensorData::scalar(2i64)))];
        let known = |function: fn(i64, i64) -> Option<i64>| infer_pair(&Facts(&inputs), function).map(|facts| facts[0].integers());
        assert_eq!(known(i64::checked_div), Ok(Some(vec![-3, 3, i64::MAX / 2])));
        assert_eq!(known(i64::checked_mul), Ok(None));
        let zero = [inputs[0].clone(), Some(Fact::of(TensorData::scalar(0i64)))];
        assert_eq!(infer_pair(&Facts(&zero), i64::checked_div).map(|facts| facts[0].integers()), Ok(None));
    }
}
