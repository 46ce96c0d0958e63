//! What MaxPool and AveragePool share.

use super::Attributes;
use super::operator::{Fact, Facts, Implementation, Layout, Refusal, Site};
use super::unary::{numeric, output};
use crate::graph::Dim;
use crate::kernels::pool::{Pool, Pooling, Slide};

/// Where the zeros around the input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Zeros before each spatial dimension, then after each.
    Explicit(Vec<usize>),
    /// As many as make the output ⌈input / stride⌉; an odd one stands at the end.
    SameUpper,
    /// As above; an odd one stands at the beginning.
    SameLower,
    /// None.
    Valid,
}

/// A window that slides over the spatial dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Size along each spatial dimension.
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    /// Distance between neighbours under the window.
    pub dilations: Vec<usize>,
    pub padding: Padding,
    /// A window that reaches beyond the end counts too, if it starts before.
    pub ceil_mode: bool,
}

impl Window {
    /// # Errors
    /// If an attribute is wrong.
    pub fn take(attributes: &mut Attributes) -> Result<Self, Refusal> {
        let kernel = attributes.take_sizes("kernel_shape", false)?.ok_or("kernel_shape is missing")?;
        let rank = kernel.len();
        let strides = sized("strides", attributes.take_sizes("strides", false)?, rank, 1)?;
        let dilations = sized("dilations", attributes.take_sizes("dilations", false)?, rank, 1)?;
        let pads = sized("pads", attributes.take_sizes("pads", true)?, 2 * rank, 0)?;
        let padding = match attributes.take_string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" => Padding::Explicit(pads),
            "SAME_UPPER" => Padding::SameUpper,
            "SAME_LOWER" => Padding::SameLower,
            "VALID" => Padding::Valid,
            other => return Err(format!("auto_pad={other} is not supported")),
        };
        let ceil_mode = attributes.take_int("ceil_mode", 0)? != 0;
        Ok(Window { kernel, strides, dilations, padding, ceil_mode })
    }

    /// Whether zeros may stand around the input.
    pub fn is_padded(&self) -> bool {
        match &self.padding {
            Padding::Explicit(pads) => self.ceil_mode || pads.iter().any(|pad| *pad > 0),
            Padding::SameUpper | Padding::SameLower => true,
            Padding::Valid => false,
        }
    }

    pub fn is_dilated(&self) -> bool {
        self.dilations.iter().any(|dilation| *dilation != 1)
    }

    pub fn attributes(&self) -> Attributes {
        let attributes = Attributes::default().sizes("kernel_shape", &self.kernel).sizes("strides", &self.strides);
        let attributes = match &self.padding {
            Padding::Explicit(pads) => attributes.sizes("pads", pads),
            Padding::SameUpper => attributes.string("auto_pad", "SAME_UPPER"),
            Padding::SameLower => attributes.string("auto_pad", "SAME_LOWER"),
            Padding::Valid => attributes.string("auto_pad", "VALID"),
        };
        let attributes = if self.is_dilated() { attributes.sizes("dilations", &self.dilations) } else { attributes };
        if self.ceil_mode { attributes.int("ceil_mode", 1) } else { attributes }
    }

    /// How the window slides along spatial dimension `axis` of size `input`.
    ///
    /// # Errors
    /// If the window does not fit, or a pad is not smaller than the kernel.
    pub fn slide(&self, axis: usize, input: usize) -> Result<Slide, Refusal> {
        let (kernel, stride, dilation, reach) = (self.kernel[axis], self.strides[axis], self.dilations[axis], self.reach(axis));
        let (before, after) = self.zeros(axis, input);
        if before >= reach || after >= reach {
            return Err(format!("pads {before} and {after} must be smaller than the kernel, {reach}"));
        }
        let room = (before + input + after).checked_sub(reach);
        let room = room.filter(|_| input > 0).ok_or_else(|| format!("kernel {reach} does not fit an input of {input}"))?;
        let steps = if self.ceil_mode { room.div_ceil(stride) } else { room / stride };
        let past_end = steps * stride >= before + input;
        let output = if past_end { steps } else { steps + 1 };
        Ok(Slide { input, output, kernel, stride, dilation, before, after })
    }

    /// From the first to the last position under the window.
    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }

    fn zeros(&self, axis: usize, input: usize) -> (usize, usize) {
        let stride = self.strides[axis];
        let last = input.div_ceil(stride).saturating_sub(1) * stride;
        let total = (last + self.reach(axis)).saturating_sub(input);
        match &self.padding {
            Padding::Explicit(pads) => (pads[axis], pads[axis + self.kernel.len()]),
            Padding::SameUpper => (total / 2, total - total / 2),
            Padding::SameLower => (total - total / 2, total / 2),
            Padding::Valid => (0, 0),
        }
    }

    fn check_rank(&self, rank: usize) -> Result<(), Refusal> {
        let spatial = self.kernel.len();
        if !(1..=3).contains(&spatial) {
            return Err(format!("{spatial} spatial dimensions are not supported"));
        }
        let fits = self.strides.len() == spatial && !matches!(&self.padding, Padding::Explicit(pads) if pads.len() != 2 * spatial);
        if rank != spatial + 2 || !fits {
            return Err(format!("kernel_shape={:?} does not fit an input of rank {rank}", self.kernel));
        }
        Ok(())
    }

    /// `[N, C, …]` to the same with the number of window positions along each spatial dimension.
    ///
    /// # Errors
    /// If the window does not fit the input.
    pub fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let input = numeric(inputs, 0)?;
        self.check_rank(input.rank())?;
        let mut shape = input.shape.clone();
        for (axis, dim) in shape[2..].iter_mut().enumerate() {
            *dim = match dim.known() {
                Some(size) => Dim::Known(self.slide(axis, size)?.output),
                None => Dim::Unknown,
            };
        }
        Ok(vec![Fact::new(input.data_type, shape)])
    }

    /// # Errors
    /// If the window does not fit the input.
    pub fn implement(&self, site: &Site<'_>, pooling: Pooling) -> Result<Implementation, Refusal> {
        Ok(Implementation::Compute(Box::new(self.kernel(site, output(site)?, pooling)?)))
    }

    /// # Errors
    /// If the window does not fit the input, or makes something else of it than `output`.
    pub fn kernel(&self, site: &Site<'_>, output: &Layout, pooling: Pooling) -> Result<Pool, Refusal> {
        let input = &site.required(0)?.layout;
        self.check_rank(input.shape.len())?;
        let slides = input.shape[2..].iter().enumerate().map(|(axis, size)| self.slide(axis, *size));
        let slides = slides.collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<usize> = input.shape[..2].iter().copied().chain(slides.iter().map(|slide| slide.output)).collect();
        if sizes != output.shape {
            return Err(format!("output shape {:?} should be {sizes:?}", output.shape));
        }
        Ok(Pool::new(pooling, &slides, input, output, site.isa))
    }
}

fn sized(name: &str, values: Option<Vec<usize>>, len: usize, default: usize) -> Result<Vec<usize>, Refusal> {
    match values {
        Some(values) if values.len() != len => Err(format!("{name}={values:?} must have {len} entries")),
        Some(values) => Ok(values),
        None => Ok(vec![default; len]),
    }
}
