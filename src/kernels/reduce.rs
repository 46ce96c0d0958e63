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
    SumOfSquares,
    Product,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials.
    LogSumExp,
}

/// Input 0 reduced to the output.
pub struct Reduce {
    reduction: Reduction,
    /// Leads through the input; the operand is the output.
    traversal: Traversal<1>,
    output_len: usize,
    /// Output elements per input element.
    ratio: f32,
    /// What an output element holds before any element has come to it.
    start: f32,
    isa: Isa,
}

impl Reduce {
    /// `output_strides` gives the output's stride along each dimension of the input, 0 along reduced ones.
    pub fn new(reduction: Reduction, input: &Layout, output: &Layout, output_strides: &[usize], isa: Isa) -> Self {
        let traversal = Traversal::new(input, [output_strides]);
        let ratio = output.len() as f32 / input.len().max(1) as f32;
        let start = match reduction {
            Reduction::Max => f32::NEG_INFINITY,
            Reduction::Min => f32::INFINITY,
            Reduction::Product => 1.0,
            _ => 0.0,
        };
        Reduce { reduction, traversal, output_len: output.len(), ratio, start, isa }
    }

    /// For numbers that are all within `low..=high`: the extremes of none of them are these bounds.
    pub fn within(self, low: f32, high: f32) -> Self {
        Reduce { start: self.start.clamp(low, high), ..self }
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

    /// dx = g · slope, which follows from x and y.
    fn spread_by(&self, slope: impl Fn(f32, f32) -> f32, x: &[f32], y: &[f32], g: &[f32], dx: &mut [f32]) {
        self.for_each_element(|from, at| dx[from] += g[at] * slope(x[from], y[at]));
    }

    /// dx = g · the product of all other elements; `others` holds, by output element, the product without zeros and the number of these.
    fn spread_product(&self, x: &[f32], g: &[f32], others: &mut [f32], dx: &mut [f32]) {
        let (products, zeros) = others.split_at_mut(self.output_len);
        products.fill(1.0);
        zeros.fill(0.0);
        self.for_each_element(|from, at| if x[from] == 0.0 { zeros[at] += 1.0 } else { products[at] *= x[from] });
        self.for_each_element(|from, at| {
            dx[from] += match (x[from] == 0.0, zeros[at] as usize) {
                (false, 0) => g[at] * products[at] / x[from],
                (true, 1) => g[at] * products[at],
                _ => 0.0,
            }
        });
    }

    /// Sums of exponentials, as powers above the largest element so that none is too large.
    fn add_exponentials(&self, x: &[f32], output: &mut [f32], largest: &mut [f32]) {
        largest.fill(f32::NEG_INFINITY);
        self.for_each_element(|from, at| largest[at] = larger(largest[at], x[from]));
        largest.iter_mut().filter(|most| most.is_infinite()).for_each(|most| *most = 0.0);
        self.for_each_element(|from, at| output[at] += (x[from] - largest[at]).exp());
        output.iter_mut().zip(largest).for_each(|(y, most)| *y = y.ln() + *most);
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
        match self.reduction {
            Reduction::Max | Reduction::Min | Reduction::LogSumExp => self.output_len,
            Reduction::Product => 2 * self.output_len,
            _ => 0,
        }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        self.isa.run(
            #[inline(always)]
            || {
                let x = inputs[0];
                output.fill(self.start);
                match self.reduction {
                    Reduction::Max => self.raise_runs(x, output),
                    Reduction::Min => self.for_each_element(|from, at| output[at] = smaller(output[at], x[from])),
                    Reduction::L1 => self.for_each_element(|from, at| output[at] += x[from].abs()),
                    Reduction::L2 | Reduction::SumOfSquares => self.for_each_element(|from, at| output[at] += x[from] * x[from]),
                    Reduction::Product => self.for_each_element(|from, at| output[at] *= x[from]),
                    Reduction::LogSumExp => self.add_exponentials(x, output, &mut scratch[..self.output_len]),
                    Reduction::Sum | Reduction::Mean | Reduction::LogSum => self.add_runs(x, output),
                }
                match self.reduction {
                    Reduction::L2 => output.iter_mut().for_each(|y| *y = y.sqrt()),
                    Reduction::Mean => output.iter_mut().for_each(|y| *y *= self.ratio),
                    Reduction::LogSum => output.iter_mut().for_each(|y| *y = y.ln()),
                    _ => {}
                }
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output, output_gradient, input_gradients, scratch } = call;
        let Some(Some(gradient)) = input_gradients.first_mut() else { return };
        let (dx, x, y, g) = (gradient.open(), inputs.first().copied().unwrap_or_default(), output, output_gradient);
        match self.reduction {
            Reduction::Max | Reduction::Min => {
                let left = &mut scratch[..self.output_len];
                left.copy_from_slice(g);
                self.give_to_first(x, y, left, dx);
            }
            Reduction::L1 => self.spread_by(|x, _| if x == 0.0 { 0.0 } else { x.signum() }, x, y, g, dx),
            Reduction::L2 => self.spread_by(|x, y| if y > 0.0 { x / y } else { 0.0 }, x, y, g, dx),
            Reduction::SumOfSquares => self.spread_by(|x, _| 2.0 * x, x, y, g, dx),
            Reduction::LogSum => self.spread_by(|_, y| (-y).exp(), x, y, g, dx),
            Reduction::LogSumExp => self.spread_by(|x, y| (x - y).exp(), x, y, g, dx),
            Reduction::Product => self.spread_product(x, g, &mut scratch[..2 * self.output_len], dx),
            Reduction::Sum | Reduction::Mean => {
                let factor = if self.reduction == Reduction::Mean { self.ratio } else { 1.0 };
                self.isa.run(
                    #[inline(always)]
                    || self.spread(g, factor, dx),
                );
            }
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        !matches!(self.reduction, Reduction::Sum | Reduction::Mean)
    }

    fn backward_needs_output(&self) -> bool {
        !matches!(self.reduction, Reduction::Sum | Reduction::Mean | Reduction::Product)
    }
}
