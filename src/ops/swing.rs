//! Swing: an image moved by up to one element.

use super::attributes::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use crate::tensor::DataType;

/// Shifts all spatial dimensions of x by offset − 1 with reflection; the offset `[2]` (rows, columns) is a shared input.
/// An operator of zeroq's own, for synthesis only.
#[derive(Clone, Copy, Debug)]
pub struct Swing;

struct SwingKernel {
    height: usize,
    width: usize,
    channels: usize,
    offset: [isize; 2],
}

impl SwingKernel {
    /// Offset of the source of each position.
    fn source(&self, y: usize, x: usize) -> usize {
        let reflect = |at: isize, size: usize| {
            let last = size as isize - 1;
            (if at < 0 {
                -at
            } else if at > last {
                2 * last - at
            } else {
                at
            }) as usize
        };
        let (y, x) = (y as isize + self.offset[0] - 1, x as isize + self.offset[1] - 1);
        (reflect(y, self.height) * self.width + reflect(x, self.width)) * self.channels
    }

    fn each(&self, mut visit: impl FnMut(usize, usize)) {
        for y in 0..self.height {
            for x in 0..self.width {
                visit((y * self.width + x) * self.channels, self.source(y, x));
            }
        }
    }
}

impl Kernel for SwingKernel {
    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        if let Some(Some(offset)) = shared.get(1) {
            self.offset = [0, 1].map(|i| offset.get(i).map_or(1, |offset| offset.clamp(0.0, 2.0) as isize));
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
        let [1, channels, height, width] = layout.shape[..] else { return Err("it needs one image".to_string()) };
        Ok(Implementation::Compute(Box::new(SwingKernel { height, width, channels, offset: [1, 1] })))
    }
}
