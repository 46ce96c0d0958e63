//! The kernel of Conv and ConvTranspose.

use super::operator::{BackwardCall, Implementation, Kernel, Layout, Refusal, Site};
use super::reordered::reorder;
use crate::kernels::{AlignedBuffer, Convolution, Direction, SLACK, Window, align};

/// Input 0 is the side that is read, input 1 the weights, input 2 the bias, if any.
struct ConvolutionKernel {
    convolution: Convolution,
    forward: Direction,
    backward: Direction,
    /// The weights packed for either direction (for the second only where it is wanted); none where they differ from image
    /// to image.
    packed: Option<[AlignedBuffer; 2]>,
    weights_are_constant: bool,
}

/// # Errors
/// If the window is too large.
pub fn implement(site: &Site<'_>, window: &Window, forward: Direction) -> Result<Implementation, Refusal> {
    if !window.fits() {
        return Err("the convolution is too large".into());
    }
    let (input, weights) = (site.required(0)?, site.required(1)?);
    let convolution = Convolution::new(window, site.isa);
    let backward = if forward == Direction::ToMap { Direction::ToImage } else { Direction::ToMap };
    let buffer = |direction, wanted| AlignedBuffer::new(if wanted { convolution.packed_len(direction) } else { 0 });
    let kernel = ConvolutionKernel {
        packed: weights.shared.then(|| [buffer(forward, true), buffer(backward, input.wants_gradient)]),
        weights_are_constant: weights.constant.is_some(),
        convolution,
        forward,
        backward,
    };
    let output = site.output(0).ok_or("the output is missing")?;
    let wanted = [Layout::activation(&input.layout.shape), Layout::parameter(&weights.layout.shape)];
    Ok(Implementation::Compute(reorder(site, &wanted, &Layout::activation(&output.shape), Box::new(kernel))))
}

impl ConvolutionKernel {
    fn run(&self, direction: Direction, operands: Operands<'_>, accumulate: bool, target: &mut [f32], scratch: &mut [f32]) {
        let Operands { source, weights, bias } = operands;
        if let Some(packed) = &self.packed {
            let packed = packed[usize::from(direction != self.forward)].values();
            return self.convolution.run(direction, source, packed, bias, accumulate, target, scratch);
        }
        let (packed, rest) = align(scratch).split_at_mut(self.convolution.packed_len(direction));
        self.convolution.pack(direction, weights, packed);
        self.convolution.run(direction, source, packed, bias, accumulate, target, rest);
    }
}

struct Operands<'a> {
    source: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32],
}

impl Kernel for ConvolutionKernel {
    fn scratch(&self) -> usize {
        let len = |direction| self.convolution.packed_len(direction) + SLACK;
        let packed = if self.packed.is_some() { 0 } else { len(self.forward).max(len(self.backward)) };
        packed + self.convolution.scratch()
    }

    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        if let (Some(packed), Some(Some(weights))) = (&mut self.packed, shared.get(1)) {
            for (direction, packed) in [self.forward, self.backward].into_iter().zip(packed) {
                if !packed.values().is_empty() {
                    self.convolution.pack(direction, weights, packed.values_mut());
                }
            }
        }
    }

    fn keeps_copy(&self, input: usize) -> bool {
        input == 1 && self.packed.is_some()
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        let operands = Operands { source: inputs[0], weights: inputs[1], bias: inputs.get(2).copied().unwrap_or(&[]) };
        self.run(self.forward, operands, false, output, scratch);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let gradient = call.output_gradient;
        let mut wanted = call.input_gradients.iter_mut();
        if let Some(Some(data)) = wanted.next() {
            let operands = Operands { source: gradient, weights: call.inputs.get(1).copied().unwrap_or(&[]), bias: &[] };
            self.run(self.backward, operands, data.accumulate, data.values, call.scratch);
        }
        if let Some(Some(weights)) = wanted.next() {
            let (image, map) = if self.forward == Direction::ToMap { (call.inputs[0], gradient) } else { (gradient, call.inputs[0]) };
            self.convolution.add_weight_gradient(image, map, weights.open(), call.scratch);
        }
        if let Some(Some(bias)) = wanted.next() {
            self.convolution.add_bias_gradient(self.forward, gradient, bias.open());
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        !(self.weights_are_constant && self.packed.is_some())
    }
}
