//! What operators share that read or write elements of input 0 at places that other elements tell: gathering and scattering.

use super::operator::{BackwardCall, Implementation, Kernel, Layout, Refusal, Site};
use super::reordered::row_major;
use super::unary::output;

/// Row-major places in a tensor, each told by a tuple of indices.
pub(super) struct Places {
    /// Where the place of each element would be if all its indices were 0.
    pub starts: Vec<u32>,
    /// Where the first index of each element stands among the indices; the others follow it.
    pub tuples: Vec<u32>,
    /// Size and stride of the dimensions that the indices count along.
    pub dims: Vec<(usize, usize)>,
}

impl Places {
    /// # Errors
    /// If an index is outside its dimension.
    fn check(&self, indices: &[i64]) -> Result<(), Refusal> {
        for first in &self.tuples {
            for (offset, (size, _)) in self.dims.iter().enumerate() {
                let (index, size) = (indices[*first as usize + offset], *size as i64);
                if !(-size..size).contains(&index) {
                    return Err(format!("index {index} is outside a dimension of {size}"));
                }
            }
        }
        Ok(())
    }

    /// The place of element `at`; an index beyond its dimension counts as the nearest within.
    fn place(&self, at: usize, index: impl Fn(usize) -> i64) -> usize {
        let mut place = self.starts[at] as usize;
        for (offset, (size, stride)) in self.dims.iter().enumerate() {
            let (index, size) = (index(self.tuples[at] as usize + offset), *size as i64);
            let index = if index < 0 { index + size } else { index };
            place += index.clamp(0, (size - 1).max(0)) as usize * stride;
        }
        place
    }
}

/// Elements of input 0 at `places`, whose indices are input 1.
///
/// # Errors
/// If constant indices are outside their dimension, or there is nothing to index.
pub(super) fn gather(site: &Site<'_>, places: Places) -> Result<Implementation, Refusal> {
    let taken = places.dims.iter().any(|(size, _)| *size == 0) && !places.starts.is_empty();
    if taken {
        return Err("it indexes a dimension of size 0".to_string());
    }
    if site.required(1)?.constant.is_some() {
        let indices = site.integers(1)?;
        places.check(&indices)?;
        let map = (0..places.starts.len()).map(|at| places.place(at, |index| indices[index]) as u32).collect();
        return Ok(Implementation::Move { maps: vec![map], fill: 0.0 });
    }
    output(site)?;
    Ok(Implementation::Compute(row_major(site, 0, GatherKernel(places))))
}

struct GatherKernel(Places);

impl Kernel for GatherKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (at, y) in output.iter_mut().enumerate() {
            *y = inputs[0][self.0.place(at, |index| inputs[1][index] as i64)];
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let mut targets = call.input_gradients.iter_mut();
        if let Some(Some(gradient)) = targets.next() {
            let dx = gradient.open();
            call.output_gradient.iter().enumerate().for_each(|(at, g)| dx[self.0.place(at, |index| call.inputs[1][index] as i64)] += g);
        }
        targets.flatten().for_each(|gradient| {
            gradient.open();
        });
    }
}

/// What becomes of an element that an update meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

const UPDATES: [(&str, Update); 5] =
    [("none", Update::Replace), ("add", Update::Add), ("mul", Update::Mul), ("max", Update::Max), ("min", Update::Min)];

impl Update {
    /// # Errors
    /// If `name` is no value of the attribute `reduction`.
    pub fn named(name: &str) -> Result<Self, Refusal> {
        let known = UPDATES.iter().find(|(other, _)| *other == name).map(|(_, update)| *update);
        known.ok_or_else(|| format!("reduction={name} is not known"))
    }

    pub fn name(self) -> &'static str {
        UPDATES.iter().find(|(_, other)| *other == self).map_or("none", |(name, _)| name)
    }

    fn apply(self, old: f32, new: f32) -> f32 {
        match self {
            Update::Replace => new,
            Update::Add => old + new,
            Update::Mul => old * new,
            Update::Max if new > old => new,
            Update::Min if new < old => new,
            Update::Max | Update::Min => old,
        }
    }

    /// Derivative of the result `y` with respect to `x`, which went into it.
    fn slope(self, x: f32, y: f32) -> f32 {
        match self {
            Update::Replace | Update::Add => 1.0,
            Update::Mul => y / x,
            Update::Max | Update::Min => f32::from(x == y),
        }
    }
}

/// Input 0 with elements at `places`, whose indices are input 1, updated by those of input 2.
///
/// # Errors
/// If constant indices are outside their dimension, or there is nothing to index.
pub(super) fn scatter(site: &Site<'_>, places: Places, update: Update) -> Result<Implementation, Refusal> {
    if site.required(1)?.constant.is_some() {
        places.check(&site.integers(1)?)?;
    }
    if site.required(0)?.layout.is_empty() && !places.starts.is_empty() {
        return Err("it updates an empty tensor".to_string());
    }
    if site.required(2)?.layout.len() != places.starts.len() {
        return Err("indices and updates differ in shape".to_string());
    }
    Ok(Implementation::Compute(row_major(site, 0, ScatterKernel { places, update })))
}

struct ScatterKernel {
    places: Places,
    update: Update,
}

impl Kernel for ScatterKernel {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        output.copy_from_slice(inputs[0]);
        for (at, new) in inputs[2].iter().enumerate() {
            let y = &mut output[self.places.place(at, |index| inputs[1][index] as i64)];
            *y = self.update.apply(*y, *new);
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output, output_gradient: g, input_gradients, .. } = call;
        let mut replaced = vec![false; output.len()];
        // Of several updates that replace one element the last is what remains.
        for at in (0..inputs[2].len()).rev() {
            let place = self.places.place(at, |index| inputs[1][index] as i64);
            let gone = self.update == Update::Replace && std::mem::replace(&mut replaced[place], true);
            if let Some(Some(gradient)) = input_gradients.get_mut(2) {
                let slope = if gone { 0.0 } else { self.update.slope(inputs[2][at], output[place]) };
                gradient.values[at] = if gradient.accumulate { gradient.values[at] } else { 0.0 } + g[place] * slope;
            }
        }
        if let Some(Some(gradient)) = input_gradients.get_mut(0) {
            let dx = gradient.open();
            for (place, dx) in dx.iter_mut().enumerate().filter(|(place, _)| !replaced[*place]) {
                *dx += g[place] * self.update.slope(inputs[0][place], output[place]);
            }
        }
        if let Some(Some(gradient)) = input_gradients.get_mut(1) {
            gradient.open();
        }
    }

    fn backward_needs_output(&self) -> bool {
        true
    }
}

/// Places of the elements of `shape` where the index of each stands at its own place and counts along `axis` of `data`.
pub(super) fn element_places(data: &[usize], shape: &[usize], axis: usize) -> Result<Places, Refusal> {
    if data.len() != shape.len() || data.iter().zip(shape).enumerate().any(|(dim, (size, wanted))| dim != axis && wanted > size) {
        return Err(format!("indices of shape {shape:?} do not fit an input of shape {data:?}"));
    }
    let mut strides = Layout::row_major(data).strides;
    let step = std::mem::take(&mut strides[axis]);
    let starts: Vec<u32> = Layout { shape: shape.to_vec(), strides }.offsets().into_iter().map(|at| at as u32).collect();
    let tuples = (0..starts.len() as u32).collect();
    Ok(Places { starts, tuples, dims: vec![(data[axis], step)] })
}

/// Places of the slices of `data` that the tuples in the last dimension of `indices` tell; the first `batch` dimensions go in step.
///
/// # Errors
/// If the shapes do not fit each other.
pub(super) fn slice_places(data: &[usize], indices: &[usize], batch: usize) -> Result<Places, Refusal> {
    let refuse = || format!("indices of shape {indices:?} do not fit an input of shape {data:?}");
    let (depth, lead) = indices.split_last().ok_or_else(refuse)?;
    if batch > lead.len() || batch + depth > data.len() || data[..batch] != lead[..batch] {
        return Err(refuse());
    }
    let strides = Layout::row_major(data).strides;
    let dims: Vec<(usize, usize)> = (batch..batch + depth).map(|dim| (data[dim], strides[dim])).collect();
    let slice: usize = data[batch + depth..].iter().product();
    let steps: Vec<usize> = (0..lead.len()).map(|dim| if dim < batch { strides[dim] } else { 0 }).collect();
    let begins = Layout { shape: lead.to_vec(), strides: steps }.offsets();
    let starts = begins.iter().flat_map(|begin| (0..slice).map(move |at| (begin + at) as u32)).collect();
    let tuples = (0..begins.len()).flat_map(|tuple| std::iter::repeat_n((tuple * depth) as u32, slice)).collect();
    Ok(Places { starts, tuples, dims })
}
