//! Operators that keep the elements in their row-major order.

use std::sync::Arc;

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::unary::resolve_axis as normalize_axis;
use super::{NodeForm, Parsed};
use crate::graph::{Dim, known_shape};
use crate::tensor::TensorData;

/// Input 1 is the new shape: 0 copies a size (unless `allow_zero`), one −1 takes the rest.
#[derive(Clone, Copy, Debug)]
pub struct Reshape {
    pub allow_zero: bool,
}

/// To rank 2: dimensions before `axis` and from it on.
#[derive(Clone, Copy, Debug)]
pub struct Flatten {
    pub axis: i64,
}

/// Removes dimensions of size 1: those in input 1, or all.
#[derive(Clone, Copy, Debug)]
pub struct Squeeze;

/// Inserts dimensions of size 1 at the axes in input 1.
#[derive(Clone, Copy, Debug)]
pub struct Unsqueeze;

#[derive(Clone, Copy, Debug)]
pub struct Identity;

fn same_elements(site: &Site<'_>) -> Result<Implementation, Refusal> {
    let (from, to) = (site.required(0)?.layout.len(), site.output(0).map_or(0, super::operator::Layout::len));
    if from == to { Ok(Implementation::same_elements(from)) } else { Err(format!("{from} elements do not fill {to}")) }
}

macro_rules! in_order {
    ($name:ident, |$self:ident| $attributes:expr, |$this:ident, $inputs:ident| $infer:expr) => {
        impl Operator for $name {
            fn name(&self) -> &str {
                stringify!($name)
            }

            fn attributes(&self) -> Attributes {
                let $self = self;
                let _ = $self;
                $attributes
            }

            fn infer(&self, $inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
                let $this = self;
                let _ = $this;
                let shape = $infer?;
                Ok(vec![Fact::new($inputs.required(0)?.data_type, shape)])
            }

            fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
                same_elements(site)
            }

            fn quantization_role(&self) -> QuantizationRole {
                QuantizationRole::PassThrough
            }
        }
    };
}

in_order!(Reshape, |s| if s.allow_zero { Attributes::default().int("allowzero", 1) } else { Attributes::default() }, |s, inputs| s
    .shape(inputs));
in_order!(Flatten, |s| Attributes::default().int("axis", s.axis), |s, inputs| s.shape(inputs));
in_order!(Squeeze, |s| Attributes::default(), |s, inputs| squeezed(inputs));
in_order!(Unsqueeze, |s| Attributes::default(), |s, inputs| unsqueezed(inputs));
in_order!(Identity, |s| Attributes::default(), |s, inputs| inputs.required(0).map(|x| x.shape.clone()));

impl Reshape {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        attributes.0.remove("consumed_inputs");
        let allow_zero = attributes.take_int("allowzero", 0)? != 0;
        let shape = attributes.take_ints("shape")?;
        attributes.finish()?;
        let inputs = shape.map(|shape| (1, TensorData::vector(shape))).into_iter().collect();
        Ok(Parsed { inputs, ..Parsed::plain(Reshape { allow_zero }) })
    }

    fn shape(self, inputs: &Facts<'_>) -> Result<Vec<Dim>, Refusal> {
        let (x, target) = (inputs.required(0)?, inputs.required(1)?);
        let Some(target) = target.integers() else {
            let rank = target.shape.first().and_then(Dim::known).ok_or("the rank of its result is not known")?;
            return Ok(vec![Dim::Unknown; rank]);
        };
        let mut shape = Vec::with_capacity(target.len());
        for (index, size) in target.iter().enumerate() {
            shape.push(match size {
                -1 => Dim::Unknown,
                0 if !self.allow_zero => {
                    x.shape.get(index).cloned().ok_or_else(|| format!("shape {target:?} copies dimension {index} of rank {}", x.rank()))?
                }
                size => Dim::Known(usize::try_from(*size).map_err(|_| format!("shape {target:?} is invalid"))?),
            });
        }
        let Some(rest) = target.iter().position(|size| *size == -1) else { return check_count(&x.shape, shape) };
        if target.iter().filter(|size| **size == -1).count() > 1 {
            return Err(format!("shape {target:?} has more than one -1"));
        }
        let (mut given, mut wanted) = (x.shape.clone(), shape.clone());
        wanted.remove(rest);
        cancel(&mut given, &mut wanted);
        shape[rest] = match (known_shape(&given), known_shape(&wanted)) {
            (Some(given), Some(wanted)) => {
                let (given, wanted): (usize, usize) = (given.iter().product(), wanted.iter().product());
                if wanted == 0 || given % wanted != 0 {
                    return Err(format!("{given} elements do not fill shape {target:?}"));
                }
                Dim::Known(given / wanted)
            }
            _ if wanted.iter().all(|dim| *dim == Dim::Known(1)) && given.len() == 1 => given.remove(0),
            _ => Dim::Unknown,
        };
        Ok(shape)
    }
}

/// Removes symbols that stand on both sides.
fn cancel(given: &mut Vec<Dim>, wanted: &mut Vec<Dim>) {
    let symbols: Vec<Dim> = given.iter().filter(|dim| matches!(dim, Dim::Symbol(_))).cloned().collect();
    for symbol in symbols {
        if let (Some(a), Some(b)) = (given.iter().position(|dim| *dim == symbol), wanted.iter().position(|dim| *dim == symbol)) {
            given.remove(a);
            wanted.remove(b);
        }
    }
    given.retain(|dim| *dim != Dim::Known(1));
}

fn check_count(from: &[Dim], to: Vec<Dim>) -> Result<Vec<Dim>, Refusal> {
    if let (Some(a), Some(b)) = (known_shape(from), known_shape(&to)) {
        let count = |shape: &[usize]| shape.iter().try_fold(1usize, |total, n| total.checked_mul(*n));
        if count(&a) != count(&b) {
            return Err(format!("{a:?} cannot become {b:?}"));
        }
    }
    Ok(to)
}

impl Flatten {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 1)?;
        attributes.finish()?;
        Ok(Parsed::plain(Flatten { axis }))
    }

    fn shape(self, inputs: &Facts<'_>) -> Result<Vec<Dim>, Refusal> {
        let x = inputs.required(0)?;
        let axis = if self.axis == x.rank() as i64 { x.rank() } else { normalize_axis(self.axis, x.rank())? };
        let product = |dims: &[Dim]| match known_shape(dims) {
            Some(sizes) => Dim::Known(sizes.iter().product()),
            None if dims.len() == 1 => dims[0].clone(),
            None => Dim::Unknown,
        };
        Ok(vec![product(&x.shape[..axis]), product(&x.shape[axis..])])
    }
}

/// Reads `axes`, an attribute before operator set 13, as input 1.
fn parse_axes(form: NodeForm, operator: Arc<dyn Operator>) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let axes = attributes.take_ints("axes")?;
    attributes.finish()?;
    Ok(Parsed { inputs: axes.map(|axes| (1, TensorData::vector(axes))).into_iter().collect(), ..Parsed::of(operator) })
}

impl Squeeze {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        parse_axes(form, Arc::new(Squeeze))
    }
}

impl Unsqueeze {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        parse_axes(form, Arc::new(Unsqueeze))
    }
}

impl Identity {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(Identity))
    }
}

fn squeezed(inputs: &Facts<'_>) -> Result<Vec<Dim>, Refusal> {
    let x = inputs.required(0)?;
    let dims: Vec<usize> = match inputs.get(1) {
        None => (0..x.rank()).filter(|dim| x.shape[*dim] == Dim::Known(1)).collect(),
        Some(axes) => {
            let axes = axes.integers().ok_or("its axes must be constant")?;
            axes.iter().map(|axis| normalize_axis(*axis, x.rank())).collect::<Result<_, _>>()?
        }
    };
    if let Some(dim) = dims.iter().find(|dim| x.shape[**dim].known().is_some_and(|n| n != 1)) {
        return Err(format!("dimension {dim} has size {}", x.shape[*dim]));
    }
    Ok((0..x.rank()).filter(|dim| !dims.contains(dim)).map(|dim| x.shape[dim].clone()).collect())
}

fn unsqueezed(inputs: &Facts<'_>) -> Result<Vec<Dim>, Refusal> {
    let x = inputs.required(0)?;
    let axes = inputs.required(1)?.integers().ok_or("its axes must be constant")?;
    let rank = x.rank() + axes.len();
    let dims = axes.iter().map(|axis| normalize_axis(*axis, rank)).collect::<Result<Vec<usize>, _>>()?;
    let mut rest = x.shape.iter();
    (0..rank)
        .map(
            |dim| if dims.contains(&dim) { Ok(Dim::Known(1)) } else { rest.next().cloned().ok_or_else(|| format!("axes {axes:?} repeat")) },
        )
        .collect()
}
