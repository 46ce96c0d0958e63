//! AffineGrid.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::reordered::row_major;
use super::unary::numeric;
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;

/// The positions that [`super::GridSample`] takes, moved by affine maps: theta `[N, 2, 3]` and a size `[N, C, H, W]` to
/// `[N, H, W, 2]`, or `[N, 3, 4]` and `[N, C, D, H, W]` to `[N, D, H, W, 3]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AffineGrid {
    pub align_corners: bool,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let align_corners = attributes.take_int("align_corners", 0)? != 0;
    attributes.finish()?;
    Ok(Parsed::plain(AffineGrid { align_corners }))
}

fn check_rank(sizes: &[usize]) -> Result<usize, Refusal> {
    match sizes.len() {
        4 | 5 => Ok(sizes.len() - 2),
        _ => Err(format!("size={sizes:?} is neither of images nor of volumes")),
    }
}

impl Operator for AffineGrid {
    fn name(&self) -> &str {
        "AffineGrid"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("align_corners", i64::from(self.align_corners))
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (theta, size) = (numeric(inputs, 0)?, inputs.required(1)?);
        let shape = match size.integers() {
            Some(sizes) => {
                let sizes = super::rearrange::sizes(&sizes)?;
                let dims = check_rank(&sizes)?;
                [&sizes[..1], &sizes[2..], &[dims]].concat().into_iter().map(Dim::Known).collect()
            }
            None => vec![Dim::Unknown; size.shape.first().and_then(Dim::known).ok_or("the length of its size is not known")?],
        };
        Ok(vec![Fact::new(theta.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let sizes = super::rearrange::sizes(&site.integers(1)?)?;
        let (dims, theta) = (check_rank(&sizes)?, &site.required(0)?.layout.shape);
        if *theta != [sizes[0], dims, dims + 1] {
            return Err(format!("theta of shape {theta:?} does not fit size={sizes:?}"));
        }
        let axis = |size: &usize| (0..*size).map(|at| self.coordinate(at, *size)).collect();
        let kernel = Positions { axes: sizes[2..].iter().map(axis).collect(), images: sizes[0] };
        Ok(Implementation::Compute(row_major(site, 0, kernel)))
    }
}

impl AffineGrid {
    /// From −1 to 1.
    fn coordinate(&self, at: usize, size: usize) -> f32 {
        let (at, size) = (at as f32, size as f32);
        if !self.align_corners {
            (2.0 * at + 1.0) / size - 1.0
        } else if size > 1.0 {
            2.0 * at / (size - 1.0) - 1.0
        } else {
            -1.0
        }
    }
}

/// Each point, `(x, y, …, 1)`, times theta.
struct Positions {
    /// Coordinates along each dimension, the fastest last.
    axes: Vec<Vec<f32>>,
    images: usize,
}

impl Positions {
    /// For each number of each output: its place, the row of theta, and the point.
    fn for_each(&self, mut visit: impl FnMut(usize, usize, &[f32])) {
        let dims = self.axes.len();
        let count: usize = self.axes.iter().map(Vec::len).product();
        let mut point = vec![1.0; dims + 1];
        for at in 0..count {
            let mut rest = at;
            for (coordinate, axis) in point.iter_mut().zip(self.axes.iter().rev()) {
                *coordinate = axis[rest % axis.len()];
                rest /= axis.len();
            }
            for row in 0..self.images * dims {
                visit((row / dims * count + at) * dims + row % dims, row * (dims + 1), &point);
            }
        }
    }
}

impl Kernel for Positions {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.for_each(|at, row, point| output[at] = inputs[0][row..].iter().zip(point).map(|(theta, x)| theta * x).sum());
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let target = gradient.open();
        self.for_each(|at, row, point| {
            target[row..].iter_mut().zip(point).for_each(|(target, x)| *target += call.output_gradient[at] * x);
        });
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}
