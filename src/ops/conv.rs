//! Conv and ConvTranspose.

use super::attributes::Attributes;
use super::operator::{Fact, Facts, Implementation, Layout, Operator, QuantizationRole, Refusal, Site};
use super::window::{AutoPad, Window};
use super::{NodeForm, Parsed};
use crate::graph::{Dim, known_shape};
use crate::kernels::{Convolution, Geometry};

/// Convolution of x `[N, C, spatial…]` with weights `[M, C / group, kernel…]` and an optional bias `[M]`.
#[derive(Clone, Debug)]
pub struct Conv {
    pub window: Window,
    pub group: usize,
}

/// Transposed convolution of x `[N, C, spatial…]` with weights `[C, M / group, kernel…]` and an optional bias `[M]`.
#[derive(Clone, Debug)]
pub struct ConvTranspose {
    pub window: Window,
    pub group: usize,
    pub output_padding: Vec<usize>,
    pub output_shape: Vec<usize>,
}

fn take_group(attributes: &mut Attributes) -> Result<usize, Refusal> {
    let group = attributes.take_int("group", 1)?;
    usize::try_from(group).ok().filter(|group| (1..=1 << 20).contains(group)).ok_or_else(|| format!("group={group} is out of range"))
}

/// Checks ranks, channels and bias; returns the weights' shape.
fn check_weights(inputs: &Facts<'_>, group: usize, transposed: bool) -> Result<Option<Vec<usize>>, Refusal> {
    let (x, weight) = (inputs.required(0)?, inputs.required(1)?);
    if x.rank() < 3 || x.rank() != weight.rank() {
        return Err(format!("its input has rank {}, its weights {}", x.rank(), weight.rank()));
    }
    let Some(shape) = known_shape(&weight.shape) else { return Ok(None) };
    if shape.contains(&0) {
        return Err(format!("its weights {shape:?} are empty"));
    }
    let expected = if transposed { shape[0] } else { shape[1] * group };
    if let Some(channels) = x.shape[1].known().filter(|channels| *channels != expected) {
        return Err(format!("its input has {channels} channels, its weights {shape:?} with group={group} take {expected}"));
    }
    if shape[0] % group != 0 {
        return Err(format!("group={group} does not divide its {} channels", shape[0]));
    }
    let outputs = if transposed { shape[1] * group } else { shape[0] };
    if let Some(len) = inputs.get(2).and_then(|bias| known_shape(&bias.shape)).filter(|len| *len != [outputs]) {
        return Err(format!("its bias has shape {len:?}, its output {outputs} channels"));
    }
    Ok(Some(shape))
}

impl Conv {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let window = Window::parse(&mut attributes)?;
        let group = take_group(&mut attributes)?;
        attributes.finish()?;
        Ok(Parsed::plain(Conv { window, group }))
    }

    /// Strides and dilations, kernel and pads of a 1-D or 2-D convolution as two axes.
    fn geometry(&self, site: &Site<'_>) -> Result<Geometry, Refusal> {
        let (x, weight) = (&site.required(0)?.layout, &site.required(1)?.layout);
        let rank = x.shape.len() - 2;
        if rank > 2 {
            return Err(format!("convolutions over {rank} dimensions are not supported"));
        }
        if x.shape[0] != 1 {
            return Err("a fixed batch above 1 is not supported".to_string());
        }
        if *x != Layout::activation(&x.shape) || *weight != Layout::parameter(&weight.shape) {
            return Err("its weights are not shared by all samples, or its input is".to_string());
        }
        let resolved = self.window.resolve(&x.shape[2..], Some(&weight.shape[2..]))?;
        let two = |sizes: &[usize], default: usize| if rank == 1 { [default, sizes[0]] } else { [sizes[0], sizes[1]] };
        Ok(Geometry {
            image: two(&x.shape[2..], 1),
            output: two(&resolved.output, 1),
            channels: x.shape[1],
            filters: weight.shape[0],
            groups: self.group,
            kernel: two(&resolved.kernel, 1),
            strides: two(&resolved.strides, 1),
            dilations: two(&resolved.dilations, 1),
            pads: two(&resolved.begins, 0),
        })
    }
}

impl Operator for Conv {
    fn name(&self) -> &str {
        "Conv"
    }

    fn attributes(&self) -> Attributes {
        self.window.write(Attributes::default()).int("group", self.group as i64)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        let weight = check_weights(inputs, self.group, false)?;
        let filters = weight.as_ref().map_or(Dim::Unknown, |shape| Dim::Known(shape[0]));
        let shape = match &weight {
            Some(weight) => self.window.output_shape(&x.shape, filters, Some(&weight[2..]))?,
            None if !self.window.kernel_shape.is_empty() => self.window.output_shape(&x.shape, filters, None)?,
            None => return Err("the shape of its weights is not known".to_string()),
        };
        Ok(vec![Fact::new(x.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        Ok(Implementation::Compute(Box::new(Convolution::new(self.geometry(site)?, false, site.isa))))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Weighted
    }
}

impl ConvTranspose {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let window = Window::parse(&mut attributes)?;
        let group = take_group(&mut attributes)?;
        let output_padding = attributes.take_sizes("output_padding", true)?.unwrap_or_default();
        let output_shape = attributes.take_sizes("output_shape", false)?.unwrap_or_default();
        attributes.finish()?;
        Ok(Parsed::plain(ConvTranspose { window, group, output_padding, output_shape }))
    }

    /// Begin pads and output sizes for an input of spatial sizes `input`.
    fn resolve(&self, input: &[usize], kernel: &[usize]) -> Result<(Vec<usize>, Vec<usize>), Refusal> {
        let rank = input.len();
        let at = |sizes: &[usize], index: usize, default: usize| match sizes.len() {
            0 => Ok(default),
            len if len == rank || len == 2 * rank => Ok(sizes[index]),
            len => Err(format!("an attribute has {len} entries for {rank} spatial dimensions")),
        };
        let (mut begins, mut outputs) = (Vec::new(), Vec::new());
        for axis in 0..rank {
            let stride = at(&self.window.strides, axis, 1)?;
            let extent = (kernel[axis] - 1) * at(&self.window.dilations, axis, 1)? + 1;
            let full = (input[axis].max(1) - 1) * stride + extent + at(&self.output_padding, axis, 0)?;
            let given = (at(&self.window.pads, axis, 0)?, if self.window.pads.is_empty() { 0 } else { self.window.pads[rank + axis] });
            let wanted = match self.window.auto_pad {
                _ if !self.output_shape.is_empty() => {
                    Some(at(&self.output_shape[self.output_shape.len().saturating_sub(rank)..], axis, 0)?)
                }
                AutoPad::SameUpper | AutoPad::SameLower => Some(input[axis] * stride),
                _ => None,
            };
            let (begin, end) = match wanted {
                None => given,
                Some(size) => {
                    let total = full.saturating_sub(size);
                    if self.window.auto_pad == AutoPad::SameUpper { (total / 2, total - total / 2) } else { (total - total / 2, total / 2) }
                }
            };
            let size = full.checked_sub(begin + end).filter(|size| *size > 0 && input[axis] > 0).ok_or("its output would be empty")?;
            begins.push(begin);
            outputs.push(wanted.map_or(size, |wanted| wanted.max(size)));
        }
        Ok((begins, outputs))
    }
}

impl Operator for ConvTranspose {
    fn name(&self) -> &str {
        "ConvTranspose"
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = self.window.write(Attributes::default()).int("group", self.group as i64);
        if !self.output_padding.is_empty() {
            attributes = attributes.sizes("output_padding", &self.output_padding);
        }
        if self.output_shape.is_empty() { attributes } else { attributes.sizes("output_shape", &self.output_shape) }
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        let weight = check_weights(inputs, self.group, true)?.ok_or("the shape of its weights is not known")?;
        let mut shape = vec![x.shape[0].clone(), Dim::Known(weight[1] * self.group)];
        match known_shape(&x.shape[2..]) {
            Some(sizes) => shape.extend(self.resolve(&sizes, &weight[2..])?.1.into_iter().map(Dim::Known)),
            None => shape.extend(x.shape[2..].iter().map(|_| Dim::Unknown)),
        }
        Ok(vec![Fact::new(x.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (x, weight) = (&site.required(0)?.layout, &site.required(1)?.layout);
        let rank = x.shape.len() - 2;
        if rank > 2 || x.shape[0] != 1 {
            return Err("only 1-D and 2-D forms of batch 1 are supported".to_string());
        }
        if *x != Layout::activation(&x.shape) || *weight != Layout::parameter(&weight.shape) {
            return Err("its weights are not shared by all samples, or its input is".to_string());
        }
        let (begins, outputs) = self.resolve(&x.shape[2..], &weight.shape[2..])?;
        let two = |sizes: &[usize], default: usize| match (sizes.len(), rank) {
            (0, _) => [default; 2],
            (_, 1) => [default, sizes[0]],
            _ => [sizes[0], sizes[1]],
        };
        let geometry = Geometry {
            image: two(&outputs, 1),
            output: two(&x.shape[2..], 1),
            channels: weight.shape[1] * self.group,
            filters: weight.shape[0],
            groups: self.group,
            kernel: two(&weight.shape[2..], 1),
            strides: two(&self.window.strides, 1),
            dilations: two(&self.window.dilations, 1),
            pads: two(&begins, 0),
        };
        Ok(Implementation::Compute(Box::new(Convolution::new(geometry, true, site.isa))))
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Float
    }
}
