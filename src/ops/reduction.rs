//! Reductions over axes, Softmax and LogSoftmax: everything that looks along some dimensions of a value.

use super::attributes::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, QuantizationRole, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::graph::Dim;

/// Brings `axis` of a value of rank `rank` into `0..rank`.
///
/// # Errors
/// If it lies outside.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize, Refusal> {
    let rank_signed = rank as i64;
    if !(-rank_signed..rank_signed.max(1)).contains(&axis) {
        return Err(format!("axis {axis} does not exist in rank {rank}"));
    }
    Ok((if axis < 0 { axis + rank_signed } else { axis }) as usize)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Mean,
    Sum,
    Max,
    Product,
}

/// Memory offsets, grouped by the elements that are looked at together.
struct Lines {
    lines: Vec<Vec<u32>>,
}

impl Lines {
    /// One line for each position along the other dimensions; `axes` run within a line.
    fn new(layout: &Layout, axes: &[usize]) -> Self {
        let mut lines = vec![vec![0u32]];
        let rank = layout.shape.len();
        for dim in (0..rank).filter(|dim| !axes.contains(dim)) {
            let step = layout.strides[dim] as u32;
            let next = lines.iter().flat_map(|line| (0..layout.shape[dim] as u32).map(move |i| vec![line[0] + i * step]));
            lines = next.collect();
        }
        for dim in axes {
            let step = layout.strides[*dim] as u32;
            for line in &mut lines {
                *line = line.iter().flat_map(|at| (0..layout.shape[*dim] as u32).map(move |i| at + i * step)).collect();
            }
        }
        Lines { lines }
    }
}

/// ReduceMean, ReduceSum, ReduceMax or ReduceProd. Axes stand in the attribute (`axes`) or in input 1.
#[derive(Clone, Debug)]
pub struct Reduce {
    kind: Kind,
    pub axes: Option<Vec<i64>>,
    pub keepdims: bool,
    pub noop_with_empty_axes: bool,
}

impl Reduce {
    fn parse(kind: Kind, form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axes = attributes.take_ints("axes")?;
        let keepdims = attributes.take_int("keepdims", 1)? != 0;
        let noop_with_empty_axes = attributes.take_int("noop_with_empty_axes", 0)? != 0;
        attributes.finish()?;
        // ReduceSum takes its axes as an input from operator set 13 on, the others from 18 on.
        if let (Kind::Sum, Some(axes), true) = (kind, &axes, form.opset < 13) {
            let inputs = vec![(1, crate::tensor::TensorData::vector(axes.clone()))];
            let operator = std::sync::Arc::new(Reduce { kind, axes: None, keepdims, noop_with_empty_axes });
            return Ok(Parsed { operator, inputs });
        }
        Ok(Parsed::plain(Reduce { kind, axes, keepdims, noop_with_empty_axes }))
    }

    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse_mean(form: NodeForm) -> Result<Parsed, Refusal> {
        Self::parse(Kind::Mean, form)
    }

    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse_sum(form: NodeForm) -> Result<Parsed, Refusal> {
        Self::parse(Kind::Sum, form)
    }

    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse_max(form: NodeForm) -> Result<Parsed, Refusal> {
        Self::parse(Kind::Max, form)
    }

    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse_product(form: NodeForm) -> Result<Parsed, Refusal> {
        Self::parse(Kind::Product, form)
    }

    pub fn is_mean(&self) -> bool {
        self.kind == Kind::Mean
    }

    /// The reduced dimensions of an input of rank `rank`, in rising order.
    ///
    /// # Errors
    /// If the axes are not known or do not exist.
    pub fn reduced(&self, from_input: Option<Vec<i64>>, has_input: bool, rank: usize) -> Result<Vec<usize>, Refusal> {
        let axes = match (&self.axes, from_input) {
            (Some(axes), _) => axes.clone(),
            (None, Some(axes)) => axes,
            (None, None) if has_input => return Err("its axes must be constant".to_string()),
            (None, None) => Vec::new(),
        };
        if axes.is_empty() {
            return Ok(if self.noop_with_empty_axes { vec![] } else { (0..rank).collect() });
        }
        let mut dims = axes.iter().map(|axis| normalize_axis(*axis, rank)).collect::<Result<Vec<_>, _>>()?;
        dims.sort_unstable();
        dims.dedup();
        Ok(dims)
    }
}

struct ReduceKernel {
    kind: Kind,
    lines: Lines,
    /// Memory offset of the output of each line.
    outputs: Vec<usize>,
}

impl Kernel for ReduceKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (line, to) in self.lines.lines.iter().zip(&self.outputs) {
            let elements = line.iter().map(|at| inputs[0][*at as usize]);
            output[*to] = match self.kind {
                Kind::Mean => elements.sum::<f32>() / line.len() as f32,
                Kind::Sum => elements.sum(),
                Kind::Max => elements.fold(f32::NEG_INFINITY, f32::max),
                Kind::Product => elements.product(),
            };
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let target = gradient.open();
        for (line, from) in self.lines.lines.iter().zip(&self.outputs) {
            let (y, g) = (call.output[*from], call.output_gradient[*from]);
            let x = |at: u32| call.inputs[0][at as usize];
            match self.kind {
                Kind::Mean => line.iter().for_each(|at| target[*at as usize] += g / line.len() as f32),
                Kind::Sum => line.iter().for_each(|at| target[*at as usize] += g),
                Kind::Product => line.iter().for_each(|at| target[*at as usize] += g * y / x(*at)),
                Kind::Max => {
                    if let Some(at) = line.iter().find(|at| x(**at) == y) {
                        target[*at as usize] += g;
                    }
                }
            }
        }
    }

    fn backward_needs_output(&self) -> bool {
        true
    }
}

impl Operator for Reduce {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Mean => "ReduceMean",
            Kind::Sum => "ReduceSum",
            Kind::Max => "ReduceMax",
            Kind::Product => "ReduceProd",
        }
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::default().int("keepdims", self.keepdims.into());
        if let Some(axes) = &self.axes {
            attributes = attributes.ints("axes", axes);
        }
        if self.noop_with_empty_axes { attributes.int("noop_with_empty_axes", 1) } else { attributes }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        let axes = inputs.get(1).and_then(Fact::integers);
        let dims = self.reduced(axes, inputs.get(1).is_some(), x.rank())?;
        let kept = x.shape.iter().enumerate().filter_map(|(i, dim)| match (dims.contains(&i), self.keepdims) {
            (false, _) => Some(dim.clone()),
            (true, true) => Some(Dim::Known(1)),
            (true, false) => None,
        });
        Ok(vec![Fact::new(x.data_type, kept.collect())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let input = &site.required(0)?.layout;
        let output = site.outputs.first().ok_or("it has no output")?;
        let axes = site.get(1).map(|_| site.integers(1)).transpose()?;
        let dims = self.reduced(axes, site.get(1).is_some(), input.shape.len())?;
        let kernel = ReduceKernel { kind: self.kind, lines: Lines::new(input, &dims), outputs: output.offsets() };
        Ok(Implementation::Compute(Box::new(kernel)))
    }
}

/// eˣ / Σ eˣ along one axis.
#[derive(Clone, Debug)]
pub struct Softmax {
    pub axis: i64,
    /// Written before operator set 13, when all dimensions from `axis` on counted as one.
    pub flattens: bool,
}

/// Logarithm of [`Softmax`].
#[derive(Clone, Debug)]
pub struct LogSoftmax {
    pub axis: i64,
    /// As in [`Softmax`].
    pub flattens: bool,
}

/// Axis, and whether the node is of the old form.
fn parse_softmax(form: NodeForm) -> Result<(i64, bool), Refusal> {
    let mut attributes = form.attributes;
    let axis = attributes.take_int("axis", if form.opset < 13 { 1 } else { -1 })?;
    attributes.finish()?;
    Ok((axis, form.opset < 13))
}

/// Both forms mean the same where only `axis` itself is above 1 among the dimensions from it on.
fn check_old_form(axis: i64, flattens: bool, x: &Fact) -> Result<(), Refusal> {
    let axis = normalize_axis(axis, x.rank())?;
    let alone = x.shape[axis + 1..].iter().all(|dim| *dim == Dim::Known(1));
    if flattens && !alone { Err(format!("axis={axis} of operator sets below 13 spans several dimensions")) } else { Ok(()) }
}

struct SoftmaxKernel {
    lines: Lines,
    logarithm: bool,
}

impl Kernel for SoftmaxKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for line in &self.lines.lines {
            let x = |at: &u32| inputs[0][*at as usize];
            let largest = line.iter().map(x).fold(f32::NEG_INFINITY, f32::max);
            let total: f32 = line.iter().map(|at| (x(at) - largest).exp()).sum();
            for at in line {
                let shifted = x(at) - largest;
                output[*at as usize] = if self.logarithm { shifted - total.ln() } else { shifted.exp() / total };
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let target = gradient.open();
        let (y, g) = (call.output, call.output_gradient);
        for line in &self.lines.lines {
            let weight = |at: usize| if self.logarithm { 1.0 } else { y[at] };
            let total: f32 = line.iter().map(|at| g[*at as usize] * weight(*at as usize)).sum();
            for at in line.iter().map(|at| *at as usize) {
                target[at] += if self.logarithm { g[at] - y[at].exp() * total } else { y[at] * (g[at] - total) };
            }
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }

    fn backward_needs_output(&self) -> bool {
        true
    }
}

macro_rules! softmax {
    ($name:ident, $logarithm:expr, $role:expr) => {
        impl $name {
            /// # Errors
            /// If an attribute is wrong or unknown.
            pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
                let (axis, flattens) = parse_softmax(form)?;
                Ok(Parsed::plain($name { axis, flattens }))
            }
        }

        impl Operator for $name {
            fn name(&self) -> &str {
                stringify!($name)
            }

            fn attributes(&self) -> Attributes {
                Attributes::default().int("axis", self.axis)
            }

            fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
                let x = inputs.required(0)?;
                check_old_form(self.axis, self.flattens, x)?;
                Ok(vec![Fact::new(x.data_type, x.shape.clone())])
            }

            fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
                let layout = &site.required(0)?.layout;
                let axis = normalize_axis(self.axis, layout.shape.len())?;
                let kernel = SoftmaxKernel { lines: Lines::new(layout, &[axis]), logarithm: $logarithm };
                Ok(Implementation::Compute(Box::new(kernel)))
            }

            fn quantization_role(&self) -> QuantizationRole {
                $role
            }
        }
    };
}

softmax!(Softmax, false, QuantizationRole::Float);
softmax!(LogSoftmax, true, QuantizationRole::Float);
