//! ConvTranspose: what Conv does to gradients, done to values.

use super::attributes::Attributes;
use super::conv::{Conv, check_facts, check_group, check_ranks};
use super::convolution_kernel;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::sliding::{AutoPad, Sliding, three_axes};
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::{Direction, Window};

/// Input `[N, C, …]`, weights `[C, M / group, k…]`, bias `[M]` or none, output `[N, M, …]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConvTranspose {
    /// What it shares with Conv.
    pub conv: Conv,
    /// Empty where the attribute is left out.
    pub output_padding: Vec<usize>,
    /// Spatial sizes; empty where the attribute is left out.
    pub output_shape: Vec<usize>,
}

impl ConvTranspose {
    /// Output size along `axis` for `input` positions, and how many are cut off before it.
    fn output(&self, sliding: &Sliding, axis: usize, input: usize) -> Result<(usize, usize), Refusal> {
        let axes = sliding.kernel.len();
        let extra = self.output_padding.get(axis).copied().unwrap_or(0);
        let steps =
            input.checked_sub(1).and_then(|steps| steps.checked_mul(sliding.strides[axis])).ok_or("the input is empty or too large")?;
        let full = steps.saturating_add(sliding.extent(axis)).saturating_add(extra);
        let asked = match self.conv.auto_pad {
            _ if !self.output_shape.is_empty() => Some(self.output_shape[axis]),
            AutoPad::SameUpper | AutoPad::SameLower => Some(input.saturating_mul(sliding.strides[axis])),
            AutoPad::NotSet | AutoPad::Valid => None,
        };
        if let Some(size) = asked {
            let cut = full.saturating_sub(size);
            return Ok((size, if self.conv.auto_pad == AutoPad::SameUpper { cut / 2 } else { cut - cut / 2 }));
        }
        let (before, after) = match self.conv.auto_pad {
            AutoPad::NotSet => (sliding.pads[axis], sliding.pads[axis + axes]),
            _ => (0, 0),
        };
        let size = full.checked_sub(before + after).filter(|size| *size > 0);
        Ok((size.ok_or_else(|| format!("pads leave nothing along axis {}", axis + 2))?, before))
    }

    fn check_lengths(&self, axes: usize) -> Result<(), Refusal> {
        for (name, list) in [("output_padding", &self.output_padding), ("output_shape", &self.output_shape)] {
            if !list.is_empty() && list.len() != axes {
                return Err(format!("{name}={list:?} has {} entries, expected {axes}", list.len()));
            }
        }
        Ok(())
    }

    /// The geometry for an input and weights of these shapes: the input is the map, the output the image.
    ///
    /// # Errors
    /// If they do not fit each other.
    pub fn window(&self, input: &[usize], weights: &[usize]) -> Result<Window, Refusal> {
        check_ranks(input.len(), weights)?;
        let sliding = self.sliding(weights)?;
        check_input(input[1], weights[0])?;
        let places: Result<Vec<(usize, usize)>, Refusal> =
            (0..weights.len() - 2).map(|axis| self.output(&sliding, axis, input[axis + 2])).collect();
        let (image, pad): (Vec<usize>, Vec<usize>) = places?.into_iter().unzip();
        Ok(Window {
            batch: input[0],
            group: self.conv.group,
            channels: self.features(weights)?,
            features: input[1],
            image: three_axes(&image, 1)?,
            map: three_axes(&input[2..], 1)?,
            kernel: three_axes(&sliding.kernel, 1)?,
            stride: three_axes(&sliding.strides, 1)?,
            dilation: three_axes(&sliding.dilations, 1)?,
            pad: three_axes(&pad, 0)?,
        })
    }

    fn sliding(&self, weights: &[usize]) -> Result<Sliding, Refusal> {
        self.check_lengths(weights.len() - 2)?;
        check_group(weights[0], self.conv.group)?;
        self.conv.sliding(&weights[2..])
    }

    fn features(&self, weights: &[usize]) -> Result<usize, Refusal> {
        weights[1].checked_mul(self.conv.group).ok_or_else(|| format!("group={} is too large", self.conv.group))
    }
}

fn check_input(channels: usize, wanted: usize) -> Result<(), Refusal> {
    if channels == wanted { Ok(()) } else { Err(format!("an input of {channels} channels does not fit weights for {wanted}")) }
}

impl Operator for ConvTranspose {
    fn name(&self) -> &str {
        "ConvTranspose"
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = self.conv.write();
        for (name, list) in [("output_padding", &self.output_padding), ("output_shape", &self.output_shape)] {
            if !list.is_empty() {
                attributes = attributes.sizes(name, list);
            }
        }
        attributes
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (data, weights) = check_facts(inputs, |weights| weights[1].saturating_mul(self.conv.group))?;
        let sliding = self.sliding(&weights)?;
        if let Dim::Known(channels) = data.shape[1] {
            check_input(channels, weights[0])?;
        }
        let mut shape = vec![data.shape[0].clone(), Dim::Known(self.features(&weights)?)];
        for (axis, size) in data.shape[2..].iter().enumerate() {
            shape.push(match (size.known(), self.output_shape.get(axis)) {
                (Some(size), _) => Dim::Known(self.output(&sliding, axis, size)?.0),
                (None, Some(size)) => Dim::Known(*size),
                (None, None) => Dim::Unknown,
            });
        }
        Ok(vec![Fact::new(data.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let window = self.window(&site.required(0)?.layout.shape, &site.required(1)?.layout.shape)?;
        convolution_kernel::implement(site, &window, Direction::ToImage)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Weighted
    }
}

/// # Errors
/// If the node is malformed.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let operator = ConvTranspose {
        conv: Conv::take(&mut attributes)?,
        output_padding: attributes.take_sizes("output_padding", true)?.unwrap_or_default(),
        output_shape: attributes.take_sizes("output_shape", false)?.unwrap_or_default(),
    };
    attributes.finish()?;
    Ok(Parsed::plain(operator))
}
