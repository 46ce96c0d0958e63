//! Attributes that convolutions share: how a kernel slides over the spatial axes.

use super::attributes::Attributes;
use super::operator::Refusal;

/// How pads are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoPad {
    /// By `pads`.
    #[default]
    NotSet,
    /// Output size = ⌈input size / stride⌉; an odd zero goes to the end.
    SameUpper,
    /// As above; an odd zero goes to the beginning.
    SameLower,
    /// None.
    Valid,
}

impl AutoPad {
    /// # Errors
    /// If the attribute names no known way.
    pub fn take(attributes: &mut Attributes) -> Result<Self, Refusal> {
        match attributes.take_string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" => Ok(AutoPad::NotSet),
            "SAME_UPPER" => Ok(AutoPad::SameUpper),
            "SAME_LOWER" => Ok(AutoPad::SameLower),
            "VALID" => Ok(AutoPad::Valid),
            other => Err(format!("auto_pad={other} is not known")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            AutoPad::NotSet => "NOTSET",
            AutoPad::SameUpper => "SAME_UPPER",
            AutoPad::SameLower => "SAME_LOWER",
            AutoPad::Valid => "VALID",
        }
    }
}

/// The attributes for a given number of spatial axes, nothing left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sliding {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// Zeros before each axis, then zeros after each.
    pub pads: Vec<usize>,
    pub auto_pad: AutoPad,
}

/// Lists as the attributes give them; empty where they are left out.
pub struct SlidingForm<'a> {
    pub kernel_shape: &'a [usize],
    pub strides: &'a [usize],
    pub dilations: &'a [usize],
    pub pads: &'a [usize],
    pub auto_pad: AutoPad,
}

impl SlidingForm<'_> {
    /// The form completed for weights whose spatial sizes are `kernel`.
    ///
    /// # Errors
    /// If a list has the wrong length or the weights have another kernel shape.
    pub fn resolve(&self, kernel: &[usize]) -> Result<Sliding, Refusal> {
        if !self.kernel_shape.is_empty() && self.kernel_shape != kernel {
            return Err(format!("kernel_shape={:?} does not agree with weights of kernel {kernel:?}", self.kernel_shape));
        }
        let axes = kernel.len();
        Ok(Sliding {
            kernel: kernel.to_vec(),
            strides: complete("strides", self.strides, axes, 1)?,
            dilations: complete("dilations", self.dilations, axes, 1)?,
            pads: complete("pads", self.pads, 2 * axes, 0)?,
            auto_pad: self.auto_pad,
        })
    }
}

fn complete(name: &str, values: &[usize], count: usize, default: usize) -> Result<Vec<usize>, Refusal> {
    match values.len() {
        0 => Ok(vec![default; count]),
        found if found == count => Ok(values.to_vec()),
        found => Err(format!("{name}={values:?} has {found} entries, expected {count}")),
    }
}

impl Sliding {
    /// Input positions from the first to the last that a kernel at one place covers.
    pub fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }

    /// Output size along `axis` for `input` positions, and the zeros before them.
    ///
    /// # Errors
    /// If the kernel does not fit the padded input.
    pub fn output(&self, axis: usize, input: usize) -> Result<(usize, usize), Refusal> {
        let stride = self.strides[axis];
        let same = input.div_ceil(stride);
        let steps = same.checked_sub(1).ok_or_else(|| format!("the input is empty along axis {}", axis + 2))?;
        let total = (steps * stride).saturating_add(self.extent(axis)).saturating_sub(input);
        match self.auto_pad {
            AutoPad::SameUpper => Ok((same, total / 2)),
            AutoPad::SameLower => Ok((same, total - total / 2)),
            AutoPad::Valid => Ok((self.fitted(axis, input)?, 0)),
            AutoPad::NotSet => {
                let (before, after) = (self.pads[axis], self.pads[axis + self.kernel.len()]);
                Ok((self.fitted(axis, input.saturating_add(before + after))?, before))
            }
        }
    }

    fn fitted(&self, axis: usize, padded: usize) -> Result<usize, Refusal> {
        let room = padded.checked_sub(self.extent(axis));
        let room =
            room.ok_or_else(|| format!("a kernel that covers {} does not fit {padded} along axis {}", self.extent(axis), axis + 2))?;
        Ok(room / self.strides[axis] + 1)
    }
}

/// `values` as the last of three axes, `fill` before them.
///
/// # Errors
/// If there are more than three.
pub fn three_axes(values: &[usize], fill: usize) -> Result<[usize; 3], Refusal> {
    let mut axes = [fill; 3];
    let start = 3usize.checked_sub(values.len()).ok_or_else(|| format!("{} spatial axes are not supported", values.len()))?;
    axes[start..].copy_from_slice(values);
    Ok(axes)
}
