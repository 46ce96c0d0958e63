//! GridSample.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::{numeric, output};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::sampling::{Corner, Interpolation, Outside, Taps, cross, mix, slope, spread};

/// Elements of input 0, `[N, C, H, W]` or `[N, C, D, H, W]`, at the positions in input 1, `[N, …, 2]` or `[N, …, 3]`: x before y
/// before z, each from −1 at one end to 1 at the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridSample {
    pub interpolation: Interpolation,
    pub padding: Padding,
    /// Whether −1 and 1 are the centres of the last elements, not their outer edges.
    pub align_corners: bool,
    /// Whether modes have the names of operator set 16, which set 20 changed.
    pub old_names: bool,
}

/// What stands beyond the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    Zeros,
    Border,
    Reflection,
}

const PADDINGS: [(&str, Padding); 3] = [("zeros", Padding::Zeros), ("border", Padding::Border), ("reflection", Padding::Reflection)];

const MODES: [(&str, &str, Interpolation); 3] = [
    ("bilinear", "linear", Interpolation::Linear),
    ("nearest", "nearest", Interpolation::Nearest),
    ("bicubic", "cubic", Interpolation::Cubic),
];

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let (mut attributes, old_names) = (form.attributes, form.opset < 20);
    let mode = attributes.take_string("mode", "linear")?;
    let padding = attributes.take_string("padding_mode", "zeros")?;
    let align_corners = attributes.take_int("align_corners", 0)? != 0;
    attributes.finish()?;
    let interpolation = MODES.iter().find(|(old, new, _)| mode == *old || mode == *new).map(|(.., interpolation)| *interpolation);
    let padding_mode = PADDINGS.iter().find(|(name, _)| padding == *name).map(|(_, padding)| *padding);
    Ok(Parsed::plain(GridSample {
        interpolation: interpolation.ok_or_else(|| format!("mode={mode} is not known"))?,
        padding: padding_mode.ok_or_else(|| format!("padding_mode={padding} is not known"))?,
        align_corners,
        old_names,
    }))
}

impl Operator for GridSample {
    fn name(&self) -> &str {
        "GridSample"
    }

    fn attributes(&self) -> Attributes {
        let (old, new, _) = MODES.into_iter().find(|(.., interpolation)| *interpolation == self.interpolation).unwrap_or(MODES[0]);
        let (padding, _) = PADDINGS.into_iter().find(|(_, padding)| *padding == self.padding).unwrap_or(PADDINGS[0]);
        let attributes = Attributes::default().string("mode", if self.old_names { old } else { new });
        attributes.string("padding_mode", padding).int("align_corners", i64::from(self.align_corners))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (x, grid) = (numeric(inputs, 0)?, numeric(inputs, 1)?);
        let dims = x.rank().saturating_sub(2);
        let last = grid.shape.last().and_then(Dim::known).unwrap_or(dims);
        if !(1..=3).contains(&dims) || grid.rank() != x.rank() || last != dims {
            return Err(format!(
                "a grid of rank {} with positions of {last} numbers does not fit an input of rank {}",
                grid.rank(),
                x.rank()
            ));
        }
        let shape = [&x.shape[..2], &grid.shape[1..grid.rank() - 1]].concat();
        Ok(vec![Fact::new(x.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (x, grid) = (&site.required(0)?.layout.shape, &site.required(1)?.layout.shape);
        let output = output(site)?;
        if x.contains(&0) || x[0] != grid[0] {
            return Err(format!("a grid of shape {grid:?} does not fit an input of shape {x:?}"));
        }
        let points = output.shape[2..].iter().product();
        let kernel = Sampler { operator: *self, images: x[0], channels: x[1], sizes: x[2..].to_vec(), points };
        Ok(Implementation::Compute(row_major(site, 0, kernel)))
    }
}

struct Sampler {
    operator: GridSample,
    images: usize,
    channels: usize,
    sizes: Vec<usize>,
    points: usize,
}

impl Sampler {
    fn outside(&self) -> Outside {
        match self.operator.padding {
            Padding::Zeros => Outside::Zeros,
            Padding::Border => Outside::Border,
            Padding::Reflection => Outside::Reflection { at_centres: self.operator.align_corners },
        }
    }

    /// Elements between −1 and 1 along a dimension, halved.
    fn scale(&self, size: usize) -> f32 {
        (size as f32 - f32::from(self.operator.align_corners)) / 2.0
    }

    /// The mix of the position in `grid` whose numbers begin at `start`; the last of them is along the first dimension.
    fn corners(&self, grid: &[f32], start: usize, corners: &mut Vec<Corner>) {
        let mut taps = [Taps::default(); 3];
        let dims = self.sizes.len();
        for (dim, size) in self.sizes.iter().enumerate() {
            let edge = if self.operator.align_corners { 0.0 } else { 0.5 };
            let position = (grid[start + dims - 1 - dim] + 1.0) * self.scale(*size) - edge;
            taps[dim] = Taps::new(self.operator.interpolation, position, *size, self.outside());
        }
        cross(&taps[..dims], &self.sizes, corners);
    }

    fn plane(&self) -> usize {
        self.sizes.iter().product()
    }
}

impl Kernel for Sampler {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let (plane, mut corners) = (self.plane(), Vec::new());
        for image in 0..self.images {
            for point in 0..self.points {
                self.corners(inputs[1], (image * self.points + point) * self.sizes.len(), &mut corners);
                for channel in image * self.channels..(image + 1) * self.channels {
                    output[channel * self.points + point] = mix(&corners, &inputs[0][channel * plane..][..plane]);
                }
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
        input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
        let (plane, dims, mut corners) = (self.plane(), self.sizes.len(), Vec::new());
        for image in 0..self.images {
            for point in 0..self.points {
                let start = (image * self.points + point) * dims;
                self.corners(inputs[1], start, &mut corners);
                for channel in image * self.channels..(image + 1) * self.channels {
                    let g = output_gradient[channel * self.points + point];
                    if let Some(Some(gradient)) = input_gradients.first_mut() {
                        spread(&corners, g, &mut gradient.values[channel * plane..][..plane]);
                    }
                    if let Some(Some(gradient)) = input_gradients.get_mut(1) {
                        for (dim, size) in self.sizes.iter().enumerate() {
                            let along = slope(&corners, &inputs[0][channel * plane..][..plane], dim);
                            gradient.values[start + dims - 1 - dim] += g * along * self.scale(*size);
                        }
                    }
                }
            }
        }
    }
}
