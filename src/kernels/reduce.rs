//! Sums, means, extremes and lengths along dimensions.

use super::Isa;
use super::elementwise::sum;
use super::traversal::Traversal;
use crate::ops::operator::{BackwardCall, Kernel, Layout};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    Sum,
    Mean,
    /// Of several largest elements the first in memory takes the gradient.
    Max,
    /// As `Max`, for the smallest.
    Min,
    /// Sum of magnitudes.
    L1,
    /// Square root of the sum of squares.
    L2,
}

/// Input 0 reduced to the output.
pub struct Reduce {
    reduction: Reduction,
    /// Leads through the input; the operand is the output.
    traversal: Traversal<1>,
    output_len: usize,
    /// Output elements per input element.
    ratio: f32,
    isa: Isa,
}

impl Reduce {
    /// `output_strides` gives the output's stride along each dimension of the input, 0 along reduced ones.
    pub fn new(reduction: Reduction, input: &Layout, output: &Layout, output_strides: &[usize], isa: Isa) -> Self {
        let traversal = Traversal::new(input, [output_strides]);
        let ratio = output.len() as f32 / input.len().max(1) as f32;
        Reduce { reduction, traversal, output_len: output.len(), ratio, isa }
    }

    /// Whether an output element is one of the input.
    fn selects(&self) -> bool {
        matches!(self.reduction, Reduction::Max | Reduction::Min)
    }

    /// What an output element holds before any element has come to it.
    fn start(&self) -> f32 {
        match self.reduction {
            Reduction::Max => f32::NEG_INFINITY,
            Reduction::Min => f32::INFINITY,
            _ => 0.0,
        }
    }

    /// Calls `visit(start, offset)` for each run of the input and where it meets the output.
    #[inline(always)]
    fn for_each_run(&self, mut visit: impl FnMut(usize, usize)) {
        for (run, [offset]) in self.traversal.offsets.iter().enumerate() {
            visit(run * self.traversal.inner, *offset);
        }
    }

    #[inline(always)]
    fn add_runs(&self, x: &[f32], output: &mut [f32]) {
        let (inner, stride) = (self.traversal.inner, self.traversal.strides[0]);
        self.for_each_run(
            #[inline(always)]
            |start, offset| {
                let (x, y) = (&x[start..][..inner], &mut output[offset..]);
                match stride {
                    0 => y[0] += sum(x),
                    1 => y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
                    _ => y.iter_mut().step_by(stride).zip(x).for_each(|(y, x)| *y += x),
                }
            },
        );
    }

    /// Calls `visit` for each element of the input and where it meets the output, as places in both.
    #[inline(always)]
    fn for_each_element(&self, mut visit: impl FnMut(usize, usize)) {
        let (inner, stride) = (self.traversal.inner, self.traversal.strides[0]);
        self.for_each_run(
            #[inline(always)]
            |start, offset| (0..inner).for_each(|i| visit(start + i, offset + i * stride)),
        );
    }

    /// dx = g · x / y, and 0 where y is 0.
    fn spread_along(&self, x: &[f32], y: &[f32], g: &[f32], dx: &mut [f32]) {
        self.for_each_element(|from, at| dx[from] += if y[at] > 0.0 { g[at] * x[from] / y[at] } else { 0.0 });
    }

    #[inline(always)]
    fn raise_runs(&self, x: &[f32], output: &mut [f32]) {
        let (inner, stride) = (self.traversal.inner, self.traversal.strides[0]);
        self.for_each_run(
            #[inline(always)]
            |start, offset| {
                let (x, y) = (&x[start..][..inner], &mut output[offset..]);
                match stride {
                    0 => y[0] = x.iter().fold(y[0], |most, x| larger(most, *x)),
                    1 => y.iter_mut().zip(x).for_each(|(y, x)| *y = larger(*y, *x)),
                    _ => y.iter_mut().step_by(stride).zip(x).for_each(|(y, x)| *y = larger(*y, *x)),
                }
            },
        );
    }

    /// dx = g · factor of the output element that each input element went to.
    #[inline(always)]
    fn spread(&self, g: &[f32], factor: f32, dx: &mut [f32]) {
        let (inner, stride) = (self.traversal.inner, self.traversal.strides[0]);
        self.for_each_run(
            #[inline(always)]
            |start, offset| {
                let (dx, g) = (&mut dx[start..][..inner], &g[offset..]);
                match stride {
                    0 => dx.iter_mut().for_each(|d| *d += g[0] * factor),
                    1 => dx.iter_mut().zip(g).for_each(|(d, g)| *d += g * factor),
                    _ => dx.iter_mut().zip(g.iter().step_by(stride)).for_each(|(d, g)| *d += g * factor),
                }
            },
        );
    }

    /// Gives what is `left` of each output gradient to the first input element that equals the output.
    fn give_to_first(&self, x: &[f32], y: &[f32], left: &mut [f32], dx: &mut [f32]) {
        self.for_each_element(|from, at| {
            if x[from] == y[at] {
                dx[from] += std::mem::take(&mut left[at]);
            }
        });
    }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

impl Kernel for Reduce {
    fn scratch(&self) -> usize {
        if self.selects() { self.output_len } else { 0 }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.isa.run(
            #[inline(always)]
            || {
                let x = inputs[0];
                output.fill(self.start());
                match self.reduction {
                    Reduction::Max => self.raise_runs(x, output),
                    Reduction::Min => self.for_each_element(|from, at| output[at] = smaller(output[at], x[from])),
                    Reduction::L1 => self.for_each_element(|from, at| output[at] += x[from].abs()),
                    Reduction::L2 => self.for_each_element(|from, at| output[at] += x[from] * x[from]),
                    Reduction::Sum | Reduction::Mean => self.add_runs(x, output),
                }
                match self.reduction {
                    Reduction::L2 => output.iter_mut().for_each(|y| *y = y.sqrt()),
                    Reduction::Mean => output.iter_mut().for_each(|y| *y *= self.ratio),
                    _ => {}
                }
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output, output_gradient, input_gradients, scratch } = call;
        let Some(Some(gradient)) = input_gradients.first_mut() else { return };
        let dx = gradient.open();
        if self.selects() {
            let left = &mut scratch[..self.output_len];
            left.copy_from_slice(output_gradient);
            self.give_to_first(inputs[0], output, left, dx);
            return;
        }
        if self.reduction == Reduction::L2 {
            return self.spread_along(inputs[0], output, output_gradient, dx);
        }
        if self.reduction == Reduction::L1 {
            let x = inputs[0];
            return self.for_each_element(|from, at| dx[from] += if x[from] == 0.0 { 0.0 } else { output_gradient[at] * x[from].signum() });
        }
        let factor = if self.reduction == Reduction::Mean { self.ratio } else { 1.0 };
        self.isa.run(
            #[inline(always)]
            || self.spread(output_gradient, factor, dx),
        );
    }

    fn backward_needs_inputs(&self) -> bool {
        self.selects() || matches!(self.reduction, Reduction::L1 | Reduction::L2)
    }

    fn backward_needs_output(&self) -> bool {
        self.selects() || self.reduction == Reduction::L2
    }
}
