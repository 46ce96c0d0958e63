//! Swing: images or volumes moved by up to one element.

use super::attributes::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::sliding::three_axes;
use crate::tensor::DataType;

/// Shifts all spatial dimensions of x by offset − 1 with reflection; the offset, one number for each of them, is a shared input.
/// An operator of zeroq's own, for synthesis only.
#[derive(Clone, Copy, Debug)]
pub struct Swing;

struct SwingKernel {
    images: usize,
    /// Depth, height and width; 1 where there are fewer.
    sizes: [usize; 3],
    channels: usize,
    /// How many of the sizes are there.
    axes: usize,
    offset: [isize; 3],
}

impl SwingKernel {
    /// For each position along `axis` the one that it comes from.
    fn sources(&self, axis: usize) -> Vec<usize> {
        let last = self.sizes[axis] as isize - 1;
        let reflect = |at: isize| (if at > last { 2 * last - at } else { at.abs() }) as usize;
        (0..=last).map(|at| reflect(at + self.offset[axis] - 1)).collect()
    }

    /// `visit(to, from)` for the elements of each position.
    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        let [planes, rows, columns] = [0, 1, 2].map(|axis| self.sources(axis));
        let mut to = 0;
        for image in 0..self.images {
            for plane in &planes {
                for row in &rows {
                    let start = ((image * self.sizes[0] + plane) * self.sizes[1] + row) * self.sizes[2];
                    for column in &columns {
                        visit(to, (start + column) * self.channels);
                        to += self.channels;
                    }
                }
            }
        }
    }
}

impl Kernel for SwingKernel {
    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        if let Some(Some(offset)) = shared.get(1) {
            let absent = 3 - self.axes;
            self.offset =
                [0, 1, 2].map(|i: usize| i.checked_sub(absent).and_then(|i| offset.get(i)).map_or(1, |x| x.clamp(0.0, 2.0) as isize));
        }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let c = self.channels;
        self.each(|to, from| output[to..to + c].copy_from_slice(&inputs[0][from..from + c]));
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let (c, target) = (self.channels, gradient.open());
        self.each(|to, from| {
            for (t, g) in target[from..from + c].iter_mut().zip(&call.output_gradient[to..to + c]) {
                *t += g;
            }
        });
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

impl Operator for Swing {
    fn name(&self) -> &str {
        "Swing"
    }

    fn domain(&self) -> &str {
        "zeroq"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        Ok(vec![Fact::new(DataType::F32, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let layout = &site.required(0)?.layout;
        let [images, channels, spatial @ ..] = layout.shape.as_slice() else { return Err("its input is no image".to_string()) };
        let (sizes, axes) = (three_axes(spatial, 1)?, spatial.len());
        Ok(Implementation::Compute(Box::new(SwingKernel { images: *images, sizes, channels: *channels, axes, offset: [1; 3] })))
    }
}
