//! What reductions along dimensions share.

use super::operator::{Fact, Facts, Implementation, Layout, Refusal, Site};
use super::unary::{numeric, output, resolve_axis};
use super::{Attributes, NodeForm};
use crate::graph::Dim;
use crate::kernels::reduce::{Reduce, Reduction};
use crate::tensor::{DataType, TensorData};

/// Which dimensions are reduced, and what remains of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ReducedAxes {
    /// Where they stand as an attribute; else they are input 1, or, without one, all.
    pub axes: Option<Vec<i64>>,
    /// Reduced dimensions stay, with size 1.
    pub keepdims: bool,
    /// An empty list means none rather than all.
    pub noop_with_empty_axes: bool,
}

/// Inputs that stood as attributes.
type Inputs = Vec<(usize, TensorData)>;

impl ReducedAxes {
    /// `input_since` is the operator set from which on the axes are an input.
    ///
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse(form: NodeForm, input_since: i64) -> Result<(Self, Inputs), Refusal> {
        let NodeForm { mut attributes, opset, .. } = form;
        let axes = if opset < input_since { attributes.take_ints("axes")? } else { None };
        let keepdims = attributes.take_int("keepdims", 1)? != 0;
        let noop_with_empty_axes = opset >= input_since && attributes.take_int("noop_with_empty_axes", 0)? != 0;
        attributes.finish()?;
        let as_input = input_since <= 13;
        let inputs = axes.iter().filter(|_| as_input).map(|axes| (1, TensorData::vector(axes.clone()))).collect();
        Ok((ReducedAxes { axes: axes.filter(|_| !as_input), keepdims, noop_with_empty_axes }, inputs))
    }

    pub fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::default().int("keepdims", i64::from(self.keepdims));
        if let Some(axes) = &self.axes {
            attributes = attributes.ints("axes", axes);
        }
        if self.noop_with_empty_axes {
            attributes = attributes.int("noop_with_empty_axes", 1);
        }
        attributes
    }

    /// # Errors
    /// If the axes are not known or do not exist.
    pub fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let input = numeric(inputs, 0)?;
        let listed = match inputs.get(1) {
            Some(fact) => Some(fact.integers().ok_or("input 1 must be constant integers")?),
            None => None,
        };
        let reduced = self.reduced(listed, input.rank())?;
        Ok(vec![Fact::new(input.data_type, remaining(&input.shape, &reduced, self.keepdims))])
    }

    /// For each dimension whether it is reduced; `listed` is input 1.
    ///
    /// # Errors
    /// If an axis does not exist.
    pub fn reduced(&self, listed: Option<Vec<i64>>, rank: usize) -> Result<Vec<bool>, Refusal> {
        let axes = listed.or_else(|| self.axes.clone()).unwrap_or_default();
        let mut reduced = vec![axes.is_empty() && !self.noop_with_empty_axes; rank];
        for axis in axes {
            reduced[resolve_axis(axis, rank)?] = true;
        }
        Ok(reduced)
    }
}

fn remaining(shape: &[Dim], reduced: &[bool], keepdims: bool) -> Vec<Dim> {
    let dims = shape.iter().zip(reduced).filter(|(_, reduced)| keepdims || !**reduced);
    dims.map(|(dim, reduced)| if *reduced { Dim::Known(1) } else { dim.clone() }).collect()
}

/// # Errors
/// If the axes are not known or do not exist.
pub fn implement(site: &Site<'_>, axes: &ReducedAxes, reduction: Reduction) -> Result<Implementation, Refusal> {
    let listed = site.get(1).map(|_| site.integers(1)).transpose()?;
    let reduced = axes.reduced(listed, site.required(0)?.layout.shape.len())?;
    reduce(site, &reduced, axes.keepdims, reduction)
}

/// `[N, C, …]` to `[N, C, 1, …]`.
///
/// # Errors
/// If there are no spatial dimensions.
pub fn infer_spatial(inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let input = numeric(inputs, 0)?;
    let reduced = spatial(input.rank())?;
    Ok(vec![Fact::new(input.data_type, remaining(&input.shape, &reduced, true))])
}

/// # Errors
/// If there are no spatial dimensions.
pub fn implement_spatial(site: &Site<'_>, reduction: Reduction) -> Result<Implementation, Refusal> {
    let reduced = spatial(site.required(0)?.layout.shape.len())?;
    reduce(site, &reduced, true, reduction)
}

fn spatial(rank: usize) -> Result<Vec<bool>, Refusal> {
    if rank < 3 {
        return Err(format!("input of rank {rank} has no spatial dimensions"));
    }
    Ok((0..rank).map(|dim| dim >= 2).collect())
}

fn reduce(site: &Site<'_>, reduced: &[bool], keepdims: bool, reduction: Reduction) -> Result<Implementation, Refusal> {
    let (input, output) = (&site.required(0)?.layout, output(site)?);
    let strides = output_strides(&input.shape, output, reduced, keepdims)?;
    let kernel = Reduce::new(reduction, input, output, &strides, site.isa);
    let kernel = if site.required(0)?.data_type == DataType::Bool { kernel.within(0.0, 1.0) } else { kernel };
    Ok(Implementation::Compute(Box::new(kernel)))
}

/// The output's stride along each dimension of the input, 0 along reduced ones.
fn output_strides(shape: &[usize], output: &Layout, reduced: &[bool], keepdims: bool) -> Result<Vec<usize>, Refusal> {
    let wanted: Vec<usize> = shape.iter().zip(reduced).filter(|(_, r)| keepdims || !**r).map(|(n, r)| if *r { 1 } else { *n }).collect();
    if wanted != output.shape {
        return Err(format!("output shape {:?} should be {wanted:?}", output.shape));
    }
    let mut strides = output.strides.iter();
    let stride = |reduced: &bool| match (reduced, keepdims) {
        (true, false) => 0,
        (true, true) => strides.next().map_or(0, |_| 0),
        (false, _) => strides.next().copied().unwrap_or(0),
    };
    Ok(reduced.iter().map(stride).collect())
}
