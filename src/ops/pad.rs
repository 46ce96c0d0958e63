//! Pad.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{index_map, operator, row_major_shape};
use super::unary::resolve_axis;
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::tensor::TensorData;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
    /// From the other end.
    Wrap,
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
            "wrap" => PadMode::Wrap,
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
            amounts[resolve_axis(*axis, rank)?] = (pads[index], pads[axes.len() + index]);
        }
        Ok(amounts)
    }

    fn pick(self, size: usize, (before, after): (i64, i64)) -> Vec<Option<usize>> {
        let (size, last) = (size as i64, size as i64 - 1);
        let at = |i: i64| match self.mode {
            _ if (0..size).contains(&i) => Some(i as usize),
            _ if size == 0 => None,
            PadMode::Constant => None,
            PadMode::Edge => Some(i.clamp(0, last) as usize),
            PadMode::Wrap => Some(i.rem_euclid(size) as usize),
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
        PadMode::Wrap => Attributes::default().string("mode", "wrap"),
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
