//! Sliding windows: what convolutions and pools have in common.

use super::attributes::Attributes;
use super::operator::Refusal;
use crate::graph::Dim;

/// How padding is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoPad {
    #[default]
    NotSet,
    SameUpper,
    SameLower,
    Valid,
}

/// Kernel, strides, dilations and pads over the spatial dimensions. Empty lists stand for the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    pub kernel_shape: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// All begins, then all ends.
    pub pads: Vec<usize>,
    pub auto_pad: AutoPad,
    pub ceil_mode: bool,
}

/// A window with every number filled in for a given input.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub begins: Vec<usize>,
    pub ends: Vec<usize>,
    pub output: Vec<usize>,
}

/// Largest kernel, stride, dilation or pad that is believed.
const LIMIT: usize = 1 << 20;

impl Window {
    /// Takes the window attributes out of `attributes`.
    ///
    /// # Errors
    /// If one of them is out of range.
    pub fn parse(attributes: &mut Attributes) -> Result<Self, Refusal> {
        let mut sizes = |name: &str, zero: bool| -> Result<Vec<usize>, Refusal> {
            let sizes = attributes.take_sizes(name, zero)?.unwrap_or_default();
            match sizes.iter().find(|size| **size > LIMIT) {
                Some(size) => Err(format!("attribute {name}: {size} is out of range")),
                None => Ok(sizes),
            }
        };
        let (kernel_shape, strides) = (sizes("kernel_shape", false)?, sizes("strides", false)?);
        let (dilations, pads) = (sizes("dilations", false)?, sizes("pads", true)?);
        let auto_pad = match attributes.take_string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => AutoPad::NotSet,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => return Err(format!("auto_pad={other} is not known")),
        };
        let ceil_mode = attributes.take_int("ceil_mode", 0)? != 0;
        Ok(Window { kernel_shape, strides, dilations, pads, auto_pad, ceil_mode })
    }

    /// Writes what differs from the defaults.
    pub fn write(&self, mut attributes: Attributes) -> Attributes {
        for (name, sizes) in [("kernel_shape", &self.kernel_shape), ("strides", &self.strides), ("dilations", &self.dilations)] {
            if !sizes.is_empty() {
                attributes = attributes.sizes(name, sizes);
            }
        }
        if self.ceil_mode {
            attributes = attributes.int("ceil_mode", 1);
        }
        match self.auto_pad {
            AutoPad::NotSet if self.pads.is_empty() => attributes,
            AutoPad::NotSet => attributes.sizes("pads", &self.pads),
            AutoPad::SameUpper => attributes.string("auto_pad", "SAME_UPPER"),
            AutoPad::SameLower => attributes.string("auto_pad", "SAME_LOWER"),
            AutoPad::Valid => attributes.string("auto_pad", "VALID"),
        }
    }

    /// The numbers for an input of spatial sizes `input` and a kernel of `kernel` (if not given by attribute).
    ///
    /// # Errors
    /// If ranks differ, or the output would be empty.
    pub fn resolve(&self, input: &[usize], kernel: Option<&[usize]>) -> Result<Resolved, Refusal> {
        let rank = input.len();
        let kernel = kernel.map_or_else(|| self.kernel_shape.clone(), <[usize]>::to_vec);
        if kernel.len() != rank || (!self.kernel_shape.is_empty() && self.kernel_shape != kernel) {
            return Err(format!("kernel_shape {:?} does not fit {rank} spatial dimensions of kernel {kernel:?}", self.kernel_shape));
        }
        let filled = |name: &str, sizes: &[usize], default: usize, len: usize| match sizes.len() {
            0 => Ok(vec![default; len]),
            found if found == len => Ok(sizes.to_vec()),
            found => Err(format!("{name} has {found} entries for {rank} spatial dimensions")),
        };
        let strides = filled("strides", &self.strides, 1, rank)?;
        let dilations = filled("dilations", &self.dilations, 1, rank)?;
        let pads = filled("pads", &self.pads, 0, 2 * rank)?;
        let mut resolved =
            Resolved { kernel, strides, dilations, begins: pads[..rank].to_vec(), ends: pads[rank..].to_vec(), output: vec![] };
        for axis in 0..rank {
            let size = self.resolve_axis(&mut resolved, axis, input[axis])?;
            resolved.output.push(size);
        }
        Ok(resolved)
    }

    fn resolve_axis(&self, resolved: &mut Resolved, axis: usize, input: usize) -> Result<usize, Refusal> {
        let (stride, extent) = (resolved.strides[axis], (resolved.kernel[axis] - 1) * resolved.dilations[axis] + 1);
        match self.auto_pad {
            AutoPad::NotSet => {}
            AutoPad::Valid => (resolved.begins[axis], resolved.ends[axis]) = (0, 0),
            AutoPad::SameUpper | AutoPad::SameLower => {
                let total = ((input.div_ceil(stride).max(1) - 1) * stride + extent).saturating_sub(input);
                let (small, large) = (total / 2, total - total / 2);
                let upper = self.auto_pad == AutoPad::SameUpper;
                (resolved.begins[axis], resolved.ends[axis]) = if upper { (small, large) } else { (large, small) };
            }
        }
        let padded = input + resolved.begins[axis] + resolved.ends[axis];
        if input == 0 || padded < extent {
            return Err(format!(
                "a window of {extent} does not fit an input of {input} with pads {}+{}",
                resolved.begins[axis], resolved.ends[axis]
            ));
        }
        let steps = padded - extent;
        let mut output = steps / stride + 1;
        // The last window of ceil mode may not start in the padding behind.
        if self.ceil_mode && steps % stride != 0 && output * stride < input + resolved.begins[axis] {
            output += 1;
        }
        Ok(output)
    }

    /// Shape of the output for an input `[N, C, spatial…]` whose channels become `channels`.
    ///
    /// # Errors
    /// As [`Window::resolve`]; unknown spatial sizes stay unknown.
    pub fn output_shape(&self, input: &[Dim], channels: Dim, kernel: Option<&[usize]>) -> Result<Vec<Dim>, Refusal> {
        let Some(spatial) = input.get(2..).filter(|spatial| !spatial.is_empty()) else {
            return Err(format!("its input has rank {}, it needs at least 3", input.len()));
        };
        let mut shape = vec![input[0].clone(), channels];
        match spatial.iter().map(Dim::known).collect::<Option<Vec<usize>>>() {
            Some(sizes) => shape.extend(self.resolve(&sizes, kernel)?.output.into_iter().map(Dim::Known)),
            None => shape.extend(spatial.iter().map(|_| Dim::Unknown)),
        }
        Ok(shape)
    }
}
