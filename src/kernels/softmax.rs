//! Softmax and its logarithm along one dimension.

use crate::ops::operator::{BackwardCall, Kernel, Layout};

/// exp(x) / Σ exp(x) along one dimension, or its logarithm.
pub struct Softmax {
    logarithm: bool,
    size: usize,
    input: Lines,
    output: Lines,
}

/// Lines of a layout along one dimension, in the order of the logical indices.
pub(super) struct Lines {
    pub(super) starts: Vec<usize>,
    pub(super) stride: usize,
}

impl Lines {
    pub(super) fn new(layout: &Layout, axis: usize) -> Self {
        let (mut shape, mut strides) = (layout.shape.clone(), layout.strides.clone());
        shape.remove(axis);
        let stride = strides.remove(axis);
        Lines { starts: Layout { shape, strides }.offsets(), stride }
    }
}

impl Softmax {
    /// `axis` must be a dimension of both layouts, which have one shape.
    pub fn new(input: &Layout, output: &Layout, axis: usize, logarithm: bool) -> Self {
        Softmax { logarithm, size: input.shape[axis], input: Lines::new(input, axis), output: Lines::new(output, axis) }
    }

    fn write_line(&self, x: &[f32], y: &mut [f32]) {
        let x = |i: usize| x[i * self.input.stride];
        let stride = self.output.stride;
        let most = (0..self.size).map(x).fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for i in 0..self.size {
            let power = (x(i) - most).exp();
            y[i * stride] = power;
            sum += power;
        }
        if self.logarithm {
            let logarithm = sum.ln();
            (0..self.size).for_each(|i| y[i * stride] = x(i) - most - logarithm);
        } else {
            (0..self.size).for_each(|i| y[i * stride] /= sum);
        }
    }

    fn add_line(&self, y: &[f32], g: &[f32], dx: &mut [f32]) {
        let at = |i: usize| i * self.output.stride;
        let weight = |i: usize| if self.logarithm { 1.0 } else { y[at(i)] };
        let sum: f32 = (0..self.size).map(|i| g[at(i)] * weight(i)).sum();
        for i in 0..self.size {
            let d = &mut dx[i * self.input.stride];
            *d += if self.logarithm { g[at(i)] - y[at(i)].exp() * sum } else { y[at(i)] * (g[at(i)] - sum) };
        }
    }
}

impl Kernel for Softmax {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        if self.size == 0 {
            return;
        }
        for (from, to) in self.input.starts.iter().zip(&self.output.starts) {
            self.write_line(&inputs[0][*from..], &mut output[*to..]);
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let dx = gradient.open();
        if self.size == 0 {
            return;
        }
        for (from, to) in self.input.starts.iter().zip(&self.output.starts) {
            self.add_line(&call.output[*to..], &call.output_gradient[*to..], &mut dx[*from..]);
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }

    fn backward_needs_output(&self) -> bool {
        true
    }
}
