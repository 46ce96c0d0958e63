//! What operators of one input, element by element, share.

use std::any::Any;
use std::fmt::Debug;

use super::operator::{Fact, Facts, Implementation, Layout, Operator, Refusal, Site};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::elementwise::{Elementwise, ElementwiseKernel};
use crate::kernels::traversal::Traversal;
use crate::tensor::DataType;

/// A function of one number, the derivative with it. It is an [`Operator`] that stays float in quantization.
pub trait Function: Elementwise<1> + Any + Copy + Debug {
    /// ONNX `op_type`.
    const NAME: &str;

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }
}

/// `Name, |x| value, |x, y| slope`: a [`Function`] without attributes, whose slope follows from its operand and its value.
macro_rules! function {
    ($(#[$doc:meta])* $name:ident, |$x:ident| $value:expr, |$operand:pat_param, $y:pat_param| $slope:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name;

        impl Elementwise<1> for $name {
            #[inline(always)]
            fn value(&self, [$x]: [f32; 1]) -> f32 {
                $value
            }

            #[inline(always)]
            fn slope(&self, _operand: usize, [$operand]: [f32; 1], $y: f32) -> f32 {
                $slope
            }
        }

        impl Function for $name {
            const NAME: &str = stringify!($name);
        }
    };
}
pub(super) use function;

impl<F: Function> Operator for F {
    fn name(&self) -> &str {
        F::NAME
    }

    fn attributes(&self) -> Attributes {
        Function::attributes(self)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        implement(site, *self)
    }
}

/// Reads a node whose operator has no attributes.
///
/// # Errors
/// If there is one.
pub fn plain(form: NodeForm, operator: impl Operator) -> Result<Parsed, Refusal> {
    finish(form.attributes)?;
    Ok(Parsed::plain(operator))
}

/// One output like input 0.
///
/// # Errors
/// If the input is missing or of a type that zeroq does not compute with.
pub fn infer(inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let input = numeric(inputs, 0)?;
    Ok(vec![Fact::new(input.data_type, input.shape.clone())])
}

/// Refuses attributes that nobody took, except leftovers of old exporters.
///
/// # Errors
/// If an attribute is not known.
pub fn finish(mut attributes: Attributes) -> Result<(), Refusal> {
    attributes.0.remove("consumed_inputs");
    attributes.finish()
}

/// Input `index`, of a type that zeroq computes with.
///
/// # Errors
/// If it is missing or of another type.
pub fn numeric<'a>(inputs: &Facts<'a>, index: usize) -> Result<&'a Fact, Refusal> {
    let fact = inputs.0.get(index).and_then(Option::as_ref).ok_or_else(|| format!("input {index} is missing"))?;
    match fact.data_type {
        DataType::Other(code) => Err(format!("input {index} has element type {code}, which is not supported")),
        _ => Ok(fact),
    }
}

/// # Errors
/// If input 0 is missing or has another shape than the output.
pub fn implement(site: &Site<'_>, function: impl Elementwise<1>) -> Result<Implementation, Refusal> {
    let (input, output) = (&site.required(0)?.layout, output(site)?);
    let traversal = traverse(output, [input])?;
    Ok(Implementation::Compute(Box::new(ElementwiseKernel { function, traversal, isa: site.isa })))
}

/// The layout of the only output.
///
/// # Errors
/// If there is none.
pub fn output<'a>(site: &'a Site<'_>) -> Result<&'a Layout, Refusal> {
    site.output(0).ok_or_else(|| "output 0 is missing".to_string())
}

/// A walk over `output` with broadcast `inputs`.
///
/// # Errors
/// If an input does not broadcast to the output.
pub fn traverse<const K: usize>(output: &Layout, inputs: [&Layout; K]) -> Result<Traversal<K>, Refusal> {
    let shapes = || inputs.map(|layout| layout.shape.clone());
    Traversal::broadcast(output, inputs).ok_or_else(|| format!("shapes {:?} do not broadcast to {:?}", shapes(), output.shape))
}

/// Dimension `axis` of a value of rank `rank`; negative ones count from the end.
///
/// # Errors
/// If there is no such dimension.
pub fn resolve_axis(axis: i64, rank: usize) -> Result<usize, Refusal> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let positive = if axis < 0 { axis.saturating_add(signed) } else { axis };
    if (0..signed).contains(&positive) { Ok(positive as usize) } else { Err(format!("axis={axis} is out of range for rank {rank}")) }
}

/// The numpy broadcast of two shapes.
///
/// # Errors
/// If two known sizes differ and neither is 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Refusal> {
    let rank = a.len().max(b.len());
    let one = Dim::Known(1);
    let at = |shape: &[Dim], dim: usize| (dim + shape.len()).checked_sub(rank).map_or(one.clone(), |i| shape[i].clone());
    let dims = (0..rank).map(|dim| broadcast_dim(at(a, dim), at(b, dim)));
    dims.collect::<Option<_>>().ok_or_else(|| format!("shapes {} and {} do not broadcast", show(a), show(b)))
}

fn broadcast_dim(a: Dim, b: Dim) -> Option<Dim> {
    match (a, b) {
        (a, b) if a == b => Some(a),
        (Dim::Known(1), other) | (other, Dim::Known(1)) => Some(other),
        (Dim::Known(_), Dim::Known(_)) => None,
        (Dim::Known(n), _) | (_, Dim::Known(n)) => Some(Dim::Known(n)),
        _ => Some(Dim::Unknown),
    }
}

fn show(shape: &[Dim]) -> String {
    let dims = shape.iter().map(|dim| match dim {
        Dim::Known(n) => n.to_string(),
        Dim::Symbol(name) => name.clone(),
        Dim::Unknown => "?".to_string(),
    });
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasts_as_numpy() {
        let symbol = || Dim::Symbol("n".into());
        let shape = |dims: &[usize]| dims.iter().map(|n| Dim::Known(*n)).collect::<Vec<_>>();
        assert_eq!(broadcast(&shape(&[2, 1, 4]), &shape(&[3, 1])), Ok(shape(&[2, 3, 4])));
        assert_eq!(broadcast(&[symbol()], &shape(&[1])), Ok(vec![symbol()]));
        assert_eq!(broadcast(&[symbol()], &[symbol()]), Ok(vec![symbol()]));
        assert_eq!(broadcast(&[symbol()], &shape(&[7])), Ok(shape(&[7])));
        assert_eq!(broadcast(&[Dim::Unknown], &[symbol()]), Ok(vec![Dim::Unknown]));
        assert!(broadcast(&shape(&[2]), &shape(&[3])).is_err());
    }

    #[test]
    fn negative_axes_count_from_the_end() {
        assert_eq!(resolve_axis(-1, 4), Ok(3));
        assert!(resolve_axis(4, 4).is_err() && resolve_axis(-5, 4).is_err() && resolve_axis(i64::MIN, 0).is_err());
    }
}
