//! Conv: a kernel slides over one to three spatial axes.

use super::attributes::Attributes;
use super::convolution_kernel;
use super::operator::{Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::sliding::{AutoPad, Sliding, SlidingForm, three_axes};
use super::{NodeForm, Parsed};
use crate::graph::{Dim, known_shape};
use crate::kernels::{Direction, Window};

/// Input `[N, C, …]`, weights `[M, C / group, k…]`, bias `[M]` or none, output `[N, M, …]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Lists are empty where the attribute is left out.
    pub dilations: Vec<usize>,
    pub group: usize,
    pub kernel_shape: Vec<usize>,
    /// Zeros before each axis, then after each. Counts only if `auto_pad` is not set.
    pub pads: Vec<usize>,
    pub strides: Vec<usize>,
    pub auto_pad: AutoPad,
}

impl Default for Conv {
    fn default() -> Self {
        let none = Vec::new;
        Conv { dilations: none(), group: 1, kernel_shape: none(), pads: none(), strides: none(), auto_pad: AutoPad::NotSet }
    }
}

impl Conv {
    /// # Errors
    /// If an attribute is malformed.
    pub fn take(attributes: &mut Attributes) -> Result<Self, Refusal> {
        Ok(Conv {
            dilations: attributes.take_sizes("dilations", false)?.unwrap_or_default(),
            group: take_group(attributes)?,
            kernel_shape: attributes.take_sizes("kernel_shape", false)?.unwrap_or_default(),
            pads: attributes.take_sizes("pads", true)?.unwrap_or_default(),
            strides: attributes.take_sizes("strides", false)?.unwrap_or_default(),
            auto_pad: AutoPad::take(attributes)?,
        })
    }

    /// The attributes completed for weights whose spatial sizes are `kernel`.
    ///
    /// # Errors
    /// If they do not agree with the weights.
    pub fn sliding(&self, kernel: &[usize]) -> Result<Sliding, Refusal> {
        let Conv { dilations, kernel_shape, pads, strides, auto_pad, .. } = self;
        SlidingForm { kernel_shape, strides, dilations, pads, auto_pad: *auto_pad }.resolve(kernel)
    }

    /// Whether zeros may stand around the input of weights with spatial sizes `kernel`.
    pub fn is_padded(&self, kernel: &[usize]) -> bool {
        match self.auto_pad {
            AutoPad::NotSet => self.pads.iter().any(|pad| *pad > 0),
            AutoPad::SameUpper | AutoPad::SameLower => kernel.iter().any(|size| *size > 1),
            AutoPad::Valid => false,
        }
    }

    pub fn write(&self) -> Attributes {
        let mut attributes = Attributes::default().int("group", self.group as i64);
        let lists =
            [("dilations", &self.dilations), ("kernel_shape", &self.kernel_shape), ("pads", &self.pads), ("strides", &self.strides)];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            attributes = attributes.sizes(name, list);
        }
        if self.auto_pad != AutoPad::NotSet { attributes.string("auto_pad", self.auto_pad.name()) } else { attributes }
    }

    /// The geometry for an input and weights of these shapes.
    ///
    /// # Errors
    /// If they do not fit each other.
    pub fn window(&self, input: &[usize], weights: &[usize]) -> Result<Window, Refusal> {
        check_ranks(input.len(), weights)?;
        let sliding = self.sliding(&weights[2..])?;
        check_channels(input[1], weights[1], self.group)?;
        check_group(weights[0], self.group)?;
        let places: Result<Vec<(usize, usize)>, Refusal> =
            (0..weights.len() - 2).map(|axis| sliding.output(axis, input[axis + 2])).collect();
        let (map, pad): (Vec<usize>, Vec<usize>) = places?.into_iter().unzip();
        Ok(Window {
            batch: input[0],
            group: self.group,
            channels: input[1],
            features: weights[0],
            image: three_axes(&input[2..], 1)?,
            map: three_axes(&map, 1)?,
            kernel: three_axes(&sliding.kernel, 1)?,
            stride: three_axes(&sliding.strides, 1)?,
            dilation: three_axes(&sliding.dilations, 1)?,
            pad: three_axes(&pad, 0)?,
        })
    }
}

fn take_group(attributes: &mut Attributes) -> Result<usize, Refusal> {
    let group = attributes.take_int("group", 1)?;
    usize::try_from(group).ok().filter(|g| *g > 0).ok_or_else(|| format!("group={group} is not positive"))
}

fn check_channels(channels: usize, per_group: usize, group: usize) -> Result<(), Refusal> {
    if per_group.checked_mul(group) == Some(channels) {
        return Ok(());
    }
    Err(format!("an input of {channels} channels does not fit weights for {group} × {per_group}"))
}

pub fn check_group(channels: usize, group: usize) -> Result<(), Refusal> {
    if channels.is_multiple_of(group) { Ok(()) } else { Err(format!("group={group} does not divide {channels} channels")) }
}

/// Both ranks must be equal, at least 3, and the weights must not be empty.
pub fn check_ranks(input: usize, weights: &[usize]) -> Result<(), Refusal> {
    if input != weights.len() || input < 3 {
        return Err(format!("an input of rank {input} does not fit weights of shape {weights:?}"));
    }
    if weights.contains(&0) { Err(format!("weights of shape {weights:?} are empty")) } else { Ok(()) }
}

/// Input 0, the shape of the weights, and a check of the types and of the bias.
pub fn check_facts<'a>(inputs: &'a Facts<'_>, features: impl Fn(&[usize]) -> usize) -> Result<(&'a Fact, Vec<usize>), Refusal> {
    let (data, weights) = (inputs.required(0)?, inputs.required(1)?);
    if !data.data_type.is_float() || data.data_type != weights.data_type {
        return Err(format!("an input of type {} with weights of type {} is not supported", data.data_type, weights.data_type));
    }
    let shape = known_shape(&weights.shape).ok_or("the shape of the weights must be known")?;
    check_ranks(data.rank(), &shape)?;
    let features = features(&shape);
    match inputs.get(2).map(|bias| bias.shape.as_slice()) {
        Some([Dim::Known(found)]) if *found != features => Err(format!("a bias of {found} does not fit {features} output channels")),
        Some(shape) if shape.len() != 1 => Err(format!("a bias of rank {} is not supported", shape.len())),
        _ => Ok((data, shape)),
    }
}

impl Operator for Conv {
    fn name(&self) -> &str {
        "Conv"
    }

    fn attributes(&self) -> Attributes {
        self.write()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (data, weights) = check_facts(inputs, |weights| weights[0])?;
        let sliding = self.sliding(&weights[2..])?;
        check_group(weights[0], self.group)?;
        if let Dim::Known(channels) = data.shape[1] {
            check_channels(channels, weights[1], self.group)?;
        }
        let mut shape = vec![data.shape[0].clone(), Dim::Known(weights[0])];
        for (axis, size) in data.shape[2..].iter().enumerate() {
            shape.push(match size.known() {
                Some(size) => Dim::Known(sliding.output(axis, size)?.0),
                None => Dim::Unknown,
            });
        }
        Ok(vec![Fact::new(data.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let window = self.window(&site.required(0)?.layout.shape, &site.required(1)?.layout.shape)?;
        convolution_kernel::implement(site, &window, Direction::ToMap)
    }

    fn quantization_role(&self) -> QuantizationRole {
        QuantizationRole::Weighted
    }
}

/// # Errors
/// If the node is malformed.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let conv = Conv::take(&mut attributes)?;
    attributes.finish()?;
    Ok(Parsed::plain(conv))
}
