//! Sum, maximum and minimum of any number of broadcast inputs.

use super::Isa;
use super::elementwise::sum;
use super::traversal::Traversal;
use crate::ops::operator::{BackwardCall, Gradient, Kernel};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    Sum,
    /// Of several equal inputs the first takes the gradient.
    Max,
    Min,
}

/// All inputs of a node folded into its output.
pub struct Variadic {
    pub fold: Fold,
    /// One per input, each led by the output.
    pub traversals: Vec<Traversal<1>>,
    pub output_len: usize,
    pub isa: Isa,
}

impl Variadic {
    #[inline(always)]
    fn combine(&self, traversal: &Traversal<1>, x: &[f32], first: bool, output: &mut [f32]) {
        let stride = traversal.strides[0];
        for (run, [offset]) in traversal.offsets.iter().enumerate() {
            let (x, y) = (&x[*offset..], &mut output[run * traversal.inner..][..traversal.inner]);
            match (first, self.fold) {
                (true, _) => each(x, stride, y, |_, x| x),
                (_, Fold::Sum) => each(x, stride, y, |y, x| y + x),
                (_, Fold::Max) => each(x, stride, y, |y, x| if x > y { x } else { y }),
                (_, Fold::Min) => each(x, stride, y, |y, x| if x < y { x } else { y }),
            }
        }
    }

    #[inline(always)]
    fn add_gradient(&self, traversal: &Traversal<1>, g: &[f32], gradient: &mut Gradient<'_>) {
        if traversal.repeats[0] {
            gradient.open();
        }
        let (inner, stride) = (traversal.inner, traversal.strides[0]);
        for (run, [offset]) in traversal.offsets.iter().enumerate() {
            let (g, dx) = (&g[run * inner..][..inner], &mut gradient.values[*offset..]);
            match (stride, gradient.accumulate) {
                (0, _) => dx[0] += sum(g),
                (1, false) => dx[..inner].copy_from_slice(g),
                (1, true) => dx.iter_mut().zip(g).for_each(|(d, g)| *d += g),
                (_, false) => dx.iter_mut().step_by(stride).zip(g).for_each(|(d, g)| *d = *g),
                (_, true) => dx.iter_mut().step_by(stride).zip(g).for_each(|(d, g)| *d += g),
            }
        }
    }

    /// Moves to `taken` what is `left` of the output gradient where `x` equals the output.
    fn take_equal(&self, traversal: &Traversal<1>, x: &[f32], y: &[f32], left: &mut [f32], taken: &mut [f32]) {
        for (run, [offset]) in traversal.offsets.iter().enumerate() {
            for i in 0..traversal.inner {
                let at = run * traversal.inner + i;
                let equal = x[offset + i * traversal.strides[0]] == y[at];
                taken[at] = if equal { left[at] } else { 0.0 };
                left[at] -= taken[at];
            }
        }
    }
}

#[inline(always)]
fn each(x: &[f32], stride: usize, output: &mut [f32], combine: impl Fn(f32, f32) -> f32) {
    match stride {
        0 => output.iter_mut().for_each(|y| *y = combine(*y, x[0])),
        1 => output.iter_mut().zip(x).for_each(|(y, x)| *y = combine(*y, *x)),
        _ => output.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| *y = combine(*y, *x)),
    }
}

impl Kernel for Variadic {
    fn scratch(&self) -> usize {
        if self.fold == Fold::Sum { 0 } else { 2 * self.output_len }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.isa.run(
            #[inline(always)]
            || {
                for (index, (traversal, x)) in self.traversals.iter().zip(inputs).enumerate() {
                    self.combine(traversal, x, index == 0, output);
                }
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output, output_gradient, input_gradients, scratch } = call;
        if self.fold == Fold::Sum {
            for (traversal, gradient) in self.traversals.iter().zip(input_gradients) {
                let Some(gradient) = gradient else { continue };
                self.isa.run(
                    #[inline(always)]
                    || self.add_gradient(traversal, output_gradient, gradient),
                );
            }
            return;
        }
        let (left, taken) = scratch[..2 * self.output_len].split_at_mut(self.output_len);
        left.copy_from_slice(output_gradient);
        for ((traversal, gradient), x) in self.traversals.iter().zip(input_gradients).zip(inputs) {
            self.take_equal(traversal, x, output, left, taken);
            if let Some(gradient) = gradient {
                self.add_gradient(traversal, taken, gradient);
            }
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        self.fold != Fold::Sum
    }

    fn backward_needs_output(&self) -> bool {
        self.fold != Fold::Sum
    }
}
