//! Operators whose outputs are elements of their inputs in another arrangement.

use super::attributes::Attributes;
use super::broadcast::broadcast;
use super::operator::{FILL, Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::unary::resolve_axis as normalize_axis;
use super::{NodeForm, Parsed};
use crate::graph::{Dim, known_shape};
use crate::tensor::TensorData;

/// Elements of the largest value that is believed.
const MOST: usize = 1 << 31;

/// Row-major index into `shape` for every combination of per-dimension indices; `None` among them is [`FILL`].
fn index_map(shape: &[usize], picks: &[Vec<Option<usize>>]) -> Vec<u32> {
    let mut map = vec![0u32];
    for (size, picks) in shape.iter().zip(picks) {
        let next = map.iter().flat_map(|base| {
            picks.iter().map(move |pick| match pick {
                Some(index) if *base != FILL => base * *size as u32 + *index as u32,
                _ => FILL,
            })
        });
        map = next.collect();
    }
    map
}

fn moved(maps: Vec<Vec<u32>>) -> Implementation {
    Implementation::Move { maps, fill: 0.0 }
}

fn row_major_shape(site: &Site<'_>, index: usize) -> Result<Vec<usize>, Refusal> {
    Ok(site.required(index)?.layout.shape.clone())
}

macro_rules! operator {
    ($name:ident, $role:ident, |$a:ident| $attributes:expr, |$s:ident, $inputs:ident| $infer:expr, |$t:ident, $site:ident| $implement:expr) => {
        impl Operator for $name {
            fn name(&self) -> &str {
                stringify!($name)
            }

            fn attributes(&self) -> Attributes {
                let $a = self;
                let _ = $a;
                $attributes
            }

            fn infer(&self, $inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
                let $s = self;
                let _ = $s;
                $infer
            }

            fn implement(&self, $site: &Site<'_>) -> Result<Implementation, Refusal> {
                let $t = self;
                let _ = $t;
                $implement
            }

            fn quantization_role(&self) -> QuantizationRole {
                QuantizationRole::$role
            }
        }
    };
}

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

/// Joins its inputs along `axis`.
#[derive(Clone, Copy, Debug)]
pub struct Concat {
    pub axis: i64,
}

impl Concat {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 1)?;
        attributes.finish()?;
        Ok(Parsed::plain(Concat { axis }))
    }

    fn shape(self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let first = inputs.required(0)?;
        let axis = normalize_axis(self.axis, first.rank())?;
        let mut shape = first.shape.clone();
        let mut total = Some(0usize);
        for index in 0..inputs.len() {
            let part = inputs.required(index)?;
            if part.rank() != first.rank() || part.data_type != first.data_type {
                return Err(format!("input {index} has another rank or type than input 0"));
            }
            for (dim, (known, size)) in shape.iter_mut().zip(&part.shape).enumerate().filter(|(dim, _)| *dim != axis) {
                match (&known, size) {
                    (Dim::Known(a), Dim::Known(b)) if a != b => {
                        return Err(format!("dimension {dim} is {a} in one input and {b} in another"));
                    }
                    (Dim::Known(_), _) => {}
                    _ => *known = size.clone(),
                }
            }
            total = total.zip(part.shape[axis].known()).and_then(|(total, size)| total.checked_add(size));
        }
        shape[axis] = total.map_or(Dim::Unknown, Dim::Known);
        Ok(vec![Fact::new(first.data_type, shape)])
    }
}

operator!(Concat, Merge, |s| Attributes::default().int("axis", s.axis), |s, inputs| s.shape(inputs), |s, site| {
    let output = site.outputs.first().ok_or("it has no output")?;
    let axis = normalize_axis(s.axis, output.shape.len())?;
    let (outer, inner): (usize, usize) = (output.shape[..axis].iter().product(), output.shape[axis + 1..].iter().product());
    let mut starts = Vec::new();
    let mut start = 0;
    for index in 0..site.inputs.len() {
        let layout = &site.required(index)?.layout;
        starts.push((start, layout.shape[axis] * inner));
        start += layout.len();
    }
    let rows = (0..outer)
        .flat_map(|row| starts.iter().flat_map(move |(start, len)| (start + row * len..start + (row + 1) * len).map(|i| i as u32)));
    Ok(moved(vec![rows.collect()]))
});

/// Cuts input 0 along `axis` into its outputs: sizes in input 1, or equal parts.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    pub axis: i64,
    pub outputs: usize,
}

impl Split {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 0)?;
        let sizes = attributes.take_ints("split")?;
        let outputs = attributes.take_int("num_outputs", form.output_count as i64)?;
        attributes.finish()?;
        if outputs != form.output_count as i64 {
            return Err(format!("num_outputs={outputs} for {} outputs", form.output_count));
        }
        let inputs = sizes.map(|sizes| (1, TensorData::vector(sizes))).into_iter().collect();
        Ok(Parsed { inputs, ..Parsed::plain(Split { axis, outputs: form.output_count }) })
    }

    fn sizes(self, total: usize, given: Option<Vec<i64>>) -> Result<Vec<usize>, Refusal> {
        let sizes: Vec<usize> = match given {
            Some(given) => {
                given.iter().map(|n| usize::try_from(*n).map_err(|_| format!("split={given:?} is negative"))).collect::<Result<_, _>>()?
            }
            None => {
                let part = total.div_ceil(self.outputs.max(1));
                (0..self.outputs).map(|i| part.min(total.saturating_sub(i * part))).collect()
            }
        };
        let sum = sizes.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
        if sizes.len() != self.outputs || sum != Some(total) {
            Err(format!("split={sizes:?} does not add up to {total}"))
        } else {
            Ok(sizes)
        }
    }
}

operator!(
    Split,
    PassThrough,
    |s| Attributes::default().int("axis", s.axis),
    |s, inputs| {
        let x = inputs.required(0)?;
        let axis = normalize_axis(s.axis, x.rank())?;
        let given = inputs.get(1).map(|sizes| sizes.integers().ok_or("its sizes must be constant")).transpose()?;
        let total = x.shape[axis].known().ok_or("the size of the dimension that it cuts is not known")?;
        let part = |size: usize| {
            let mut shape = x.shape.clone();
            shape[axis] = Dim::Known(size);
            Fact::new(x.data_type, shape)
        };
        Ok(s.sizes(total, given)?.into_iter().map(part).collect())
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let axis = normalize_axis(s.axis, shape.len())?;
        let given = site.get(1).map(|_| site.integers(1)).transpose()?;
        let mut start = 0;
        let maps = s.sizes(shape[axis], given)?.into_iter().map(|size| {
            let mut picks: Vec<Vec<Option<usize>>> = shape.iter().map(|n| (0..*n).map(Some).collect()).collect();
            picks[axis] = (start..start + size).map(Some).collect();
            start += size;
            index_map(&shape, &picks)
        });
        Ok(moved(maps.collect()))
    }
);

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
            let axis = normalize_axis(*axis, shape.len())?;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
}

/// Inputs: data, pads (all begins, then all ends; negative ones crop), value, axes.
#[derive(Clone, Copy, Debug)]
pub struct Pad {
    pub mode: PadMode,
}

impl Pad {
    /// # Errors
    /// If an attribute is wrong, unknown or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let mode = match attributes.take_string("mode", "constant")?.as_str() {
            "constant" => PadMode::Constant,
            "reflect" => PadMode::Reflect,
            "edge" => PadMode::Edge,
            other => return Err(format!("mode={other} is not supported")),
        };
        let mut inputs: Vec<(usize, TensorData)> = Vec::new();
        inputs.extend(attributes.take_ints("pads")?.map(|pads| (1, TensorData::vector(pads))));
        if form.opset < 11 {
            inputs.push((2, TensorData::scalar(attributes.take_float("value", 0.0)?)));
        }
        attributes.finish()?;
        Ok(Parsed { inputs, ..Parsed::plain(Pad { mode }) })
    }

    /// Pads before and after each dimension of rank `rank`.
    ///
    /// # Errors
    /// If lists do not fit or are beyond belief.
    pub fn amounts(pads: &[i64], axes: Option<Vec<i64>>, rank: usize) -> Result<Vec<(i64, i64)>, Refusal> {
        let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
        if pads.len() != 2 * axes.len() || pads.iter().any(|pad| pad.abs() > 1 << 20) {
            return Err(format!("pads={pads:?} do not fit rank {rank}"));
        }
        let mut amounts = vec![(0, 0); rank];
        for (index, axis) in axes.iter().enumerate() {
            amounts[normalize_axis(*axis, rank)?] = (pads[index], pads[axes.len() + index]);
        }
        Ok(amounts)
    }

    fn pick(self, size: usize, (before, after): (i64, i64)) -> Vec<Option<usize>> {
        let (size, last) = (size as i64, size as i64 - 1);
        let at = |i: i64| match self.mode {
            _ if (0..size).contains(&i) => Some(i as usize),
            PadMode::Constant => None,
            PadMode::Edge => Some(i.clamp(0, last) as usize),
            PadMode::Reflect if last <= 0 => Some(0),
            PadMode::Reflect => {
                let turn = i.rem_euclid(2 * last);
                Some(if turn > last { 2 * last - turn } else { turn } as usize)
            }
        };
        (-before..size + after).map(at).collect()
    }
}

operator!(
    Pad,
    Float,
    |s| match s.mode {
        PadMode::Constant => Attributes::default(),
        PadMode::Reflect => Attributes::default().string("mode", "reflect"),
        PadMode::Edge => Attributes::default().string("mode", "edge"),
    },
    |s, inputs| {
        let x = inputs.required(0)?;
        let pads = inputs.required(1)?.integers().ok_or("its pads must be constant")?;
        let axes = inputs.get(3).map(|axes| axes.integers().ok_or("its axes must be constant")).transpose()?;
        let sizes = Pad::amounts(&pads, axes, x.rank())?.into_iter().zip(&x.shape).map(|((before, after), dim)| match dim {
            Dim::Known(n) => match usize::try_from(*n as i64 + before + after) {
                Ok(size) => Ok(Dim::Known(size)),
                Err(_) => Err(format!("pads={pads:?} crop more than there is")),
            },
            other if (before, after) == (0, 0) => Ok(other.clone()),
            _ => Ok(Dim::Unknown),
        });
        Ok(vec![Fact::new(x.data_type, sizes.collect::<Result<_, _>>()?)])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let axes = site.get(3).map(|_| site.integers(3)).transpose()?;
        let amounts = Pad::amounts(&site.integers(1)?, axes, shape.len())?;
        let picks: Vec<Vec<Option<usize>>> = shape.iter().zip(amounts).map(|(size, amount)| s.pick(*size, amount)).collect();
        let value = site.get(2).map(|value| value.constant.as_ref().and_then(TensorData::to_f64).ok_or("its value must be constant"));
        let fill = value.transpose()?.and_then(|value| value.first().copied()).unwrap_or(0.0);
        Ok(Implementation::Move { maps: vec![index_map(&shape, &picks)], fill })
    }
);

/// Takes the slices of input 0 along `axis` whose numbers stand in input 1.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    pub axis: i64,
}

impl Gather {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let axis = attributes.take_int("axis", 0)?;
        attributes.finish()?;
        Ok(Parsed::plain(Gather { axis }))
    }
}

operator!(
    Gather,
    PassThrough,
    |s| Attributes::default().int("axis", s.axis),
    |s, inputs| {
        let (x, indices) = (inputs.required(0)?, inputs.required(1)?);
        let axis = normalize_axis(s.axis, x.rank())?;
        let mut shape = x.shape[..axis].to_vec();
        shape.extend(indices.shape.iter().cloned());
        shape.extend(x.shape[axis + 1..].iter().cloned());
        Ok(vec![Fact::new(x.data_type, shape)])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let axis = normalize_axis(s.axis, shape.len())?;
        let size = shape[axis] as i64;
        let index = |index: i64| {
            let at = if index < 0 { index + size } else { index };
            (0..size)
                .contains(&at)
                .then_some(Some(at as usize))
                .ok_or_else(|| format!("index {index} is outside dimension {axis} of {size}"))
        };
        let mut picks: Vec<Vec<Option<usize>>> = shape.iter().map(|n| (0..*n).map(Some).collect()).collect();
        picks[axis] = site.integers(1)?.into_iter().map(index).collect::<Result<_, _>>()?;
        // The indices that Move counts by come after the data; they are never read.
        Ok(moved(vec![index_map(&shape, &picks)]))
    }
);

/// Broadcasts input 0 with the shape in input 1.
#[derive(Clone, Copy, Debug)]
pub struct Expand;

impl Expand {
    /// # Errors
    /// If an attribute is unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        form.attributes.finish()?;
        Ok(Parsed::plain(Expand))
    }
}

/// Sizes from a list of integers.
pub(super) fn sizes(list: &[i64]) -> Result<Vec<usize>, Refusal> {
    let sizes =
        list.iter().map(|n| usize::try_from(*n).map_err(|_| format!("shape {list:?} is negative"))).collect::<Result<Vec<_>, _>>()?;
    let total = sizes.iter().try_fold(1usize, |total, n| total.checked_mul(*n));
    if total.is_none_or(|total| total > MOST) { Err(format!("shape {list:?} is too large")) } else { Ok(sizes) }
}

operator!(
    Expand,
    PassThrough,
    |s| Attributes::default(),
    |s, inputs| {
        let (x, target) = (inputs.required(0)?, inputs.required(1)?);
        let shape = match target.integers() {
            Some(list) => broadcast(&x.shape, &sizes(&list)?.into_iter().map(Dim::Known).collect::<Vec<_>>())?,
            None => {
                let rank = target.shape.first().and_then(Dim::known).ok_or("the rank of its result is not known")?;
                vec![Dim::Unknown; rank.max(x.rank())]
            }
        };
        Ok(vec![Fact::new(x.data_type, shape)])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let output = site.outputs.first().ok_or("it has no output")?;
        let offsets = Layout::row_major(&shape).broadcast_offsets(&output.shape);
        Ok(moved(vec![offsets.into_iter().map(|offset| offset as u32).collect()]))
    }
);

/// `[N, C, H, W]` to `[N, C / b², H·b, W·b]`; `column_row_depth` is ONNX's mode CRD.
#[derive(Clone, Copy, Debug)]
pub struct DepthToSpace {
    pub block_size: usize,
    pub column_row_depth: bool,
}

impl DepthToSpace {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let block_size = attributes.take_int("blocksize", 0)?;
        let column_row_depth = match attributes.take_string("mode", "DCR")?.as_str() {
            "DCR" => false,
            "CRD" => true,
            other => return Err(format!("mode={other} is not known")),
        };
        attributes.finish()?;
        if !(1..=1024).contains(&block_size) {
            return Err(format!("blocksize={block_size} is out of range"));
        }
        Ok(Parsed::plain(DepthToSpace { block_size: block_size as usize, column_row_depth }))
    }
}

operator!(
    DepthToSpace,
    PassThrough,
    |s| Attributes::default().int("blocksize", s.block_size as i64).string("mode", if s.column_row_depth { "CRD" } else { "DCR" }),
    |s, inputs| {
        let x = inputs.required(0)?;
        let [n, c, h, w] = &x.shape[..] else { return Err(format!("its input has rank {}, it needs 4", x.rank())) };
        let grow = |dim: &Dim| dim.known().map_or(Dim::Unknown, |n| Dim::Known(n * s.block_size));
        let channels = match c.known() {
            Some(c) if c % (s.block_size * s.block_size) == 0 => Dim::Known(c / (s.block_size * s.block_size)),
            Some(c) => return Err(format!("blocksize={} does not divide {c} channels", s.block_size)),
            None => Dim::Unknown,
        };
        Ok(vec![Fact::new(x.data_type, vec![n.clone(), channels, grow(h), grow(w)])])
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let output = &site.outputs.first().ok_or("it has no output")?.shape;
        let [_, c, h, w] = shape[..] else { return Err("it needs rank 4".to_string()) };
        let (b, depth) = (s.block_size, c / (s.block_size * s.block_size));
        let mut map = Vec::new();
        for n in 0..output[0] {
            for channel in 0..output[1] {
                for y in 0..output[2] {
                    for x in 0..output[3] {
                        let block = y % b * b + x % b;
                        let from = if s.column_row_depth { channel * b * b + block } else { block * depth + channel };
                        map.push((((n * c + from) * h + y / b) * w + x / b) as u32);
                    }
                }
            }
        }
        Ok(moved(vec![map]))
    }
);

/// Known sizes of all dimensions, or a refusal.
pub(super) fn all_known(shape: &[Dim]) -> Result<Vec<usize>, Refusal> {
    known_shape(shape).ok_or_else(|| "a size of its input is not known".to_string())
}
