//! Functions of single elements over broadcast operands, forward and backward.

use super::Isa;
use super::traversal::Traversal;
use crate::ops::operator::{BackwardCall, Gradient, Kernel};

/// A function of `K` numbers with its partial derivatives.
pub trait Elementwise<const K: usize>: Send + Sync + 'static {
    /// Whether [`Elementwise::slope`] reads `x`.
    const READS_INPUTS: bool = true;
    /// Whether [`Elementwise::slope`] reads `y`.
    const READS_OUTPUT: bool = false;

    fn value(&self, x: [f32; K]) -> f32;

    /// Derivative with respect to `x[operand]`, where `y` is the value at `x`.
    fn slope(&self, operand: usize, x: [f32; K], y: f32) -> f32;
}

/// Elements that are worked on at once; operands that are not contiguous are copied out by blocks.
const BLOCK: usize = 512;

/// The first `K` inputs of a node through a function of single elements.
pub struct ElementwiseKernel<F, const K: usize> {
    pub function: F,
    pub traversal: Traversal<K>,
    pub isa: Isa,
}

impl<F: Elementwise<K>, const K: usize> Kernel for ElementwiseKernel<F, K> {
    fn scratch(&self) -> usize {
        scratch::<K>()
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        let operands = std::array::from_fn(|k| inputs[k]);
        forward(&self.function, &self.traversal, self.isa, operands, output, scratch);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        backward(&self.function, &self.traversal, self.isa, call);
    }

    fn backward_needs_inputs(&self) -> bool {
        F::READS_INPUTS
    }

    fn backward_needs_output(&self) -> bool {
        F::READS_OUTPUT
    }
}

/// f32 elements of scratch memory that [`forward`] and [`backward`] need.
pub fn scratch<const K: usize>() -> usize {
    (K + 1) * BLOCK
}

/// Writes `function` of the operands to all of `output`.
pub fn forward<F: Elementwise<K>, const K: usize>(
    function: &F,
    traversal: &Traversal<K>,
    isa: Isa,
    operands: [&[f32]; K],
    output: &mut [f32],
    scratch: &mut [f32],
) {
    isa.run(
        #[inline(always)]
        || {
            for (run, offsets) in traversal.offsets.iter().enumerate() {
                let mut start = 0;
                while start < traversal.inner {
                    let len = BLOCK.min(traversal.inner - start);
                    let blocks = fetch(traversal, offsets, operands, start, len, scratch);
                    write_values(function, blocks, &mut output[run * traversal.inner + start..][..len]);
                    start += len;
                }
            }
        },
    );
}

/// Writes the wanted gradients of the first `K` inputs.
pub fn backward<F: Elementwise<K>, const K: usize>(function: &F, traversal: &Traversal<K>, isa: Isa, call: BackwardCall<'_, '_>) {
    let BackwardCall { inputs, output, output_gradient, input_gradients, scratch } = call;
    let operands: [&[f32]; K] = std::array::from_fn(|k| if F::READS_INPUTS { inputs[k] } else { &[] });
    let output = if F::READS_OUTPUT { output } else { output_gradient };
    for (operand, gradient) in input_gradients.iter_mut().enumerate().take(K) {
        let Some(gradient) = gradient else { continue };
        if traversal.repeats[operand] {
            gradient.open();
        }
        // A literal operand lets each derivative be compiled on its own.
        match operand {
            0 => isa.run(
                #[inline(always)]
                || operand_gradient(function, traversal, 0, operands, output, output_gradient, gradient, scratch),
            ),
            1 => isa.run(
                #[inline(always)]
                || operand_gradient(function, traversal, 1, operands, output, output_gradient, gradient, scratch),
            ),
            _ => isa.run(
                #[inline(always)]
                || operand_gradient(function, traversal, operand, operands, output, output_gradient, gradient, scratch),
            ),
        }
    }
}

#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn operand_gradient<F: Elementwise<K>, const K: usize>(
    function: &F,
    traversal: &Traversal<K>,
    operand: usize,
    operands: [&[f32]; K],
    output: &[f32],
    output_gradient: &[f32],
    gradient: &mut Gradient<'_>,
    scratch: &mut [f32],
) {
    let (scratch, products) = scratch.split_at_mut(K * BLOCK);
    let stride = traversal.strides[operand];
    for (run, offsets) in traversal.offsets.iter().enumerate() {
        let mut start = 0;
        while start < traversal.inner {
            let len = BLOCK.min(traversal.inner - start);
            let at = run * traversal.inner + start;
            let (y, g) = (&output[at..][..len], &output_gradient[at..][..len]);
            let blocks = if F::READS_INPUTS { fetch(traversal, offsets, operands, start, len, scratch) } else { [g; K] };
            let target = &mut gradient.values[offsets[operand] + start * stride..];
            if stride == 1 && !gradient.accumulate {
                write_products(function, operand, blocks, y, g, &mut target[..len]);
            } else {
                write_products(function, operand, blocks, y, g, &mut products[..len]);
                add_strided(&products[..len], stride, gradient.accumulate, target);
            }
            start += len;
        }
    }
}

/// The operands of one block as contiguous slices, copied to `scratch` where they are not.
#[inline(always)]
fn fetch<'a, const K: usize>(
    traversal: &Traversal<K>,
    offsets: &[usize; K],
    operands: [&'a [f32]; K],
    start: usize,
    len: usize,
    scratch: &'a mut [f32],
) -> [&'a [f32]; K] {
    let mut blocks: [&[f32]; K] = [&[]; K];
    let mut rest = scratch;
    for k in 0..K {
        let stride = traversal.strides[k];
        let source = &operands[k][offsets[k] + start * stride..];
        if stride == 1 {
            blocks[k] = &source[..len];
            continue;
        }
        let (buffer, remaining) = rest.split_at_mut(len);
        rest = remaining;
        match stride {
            0 => buffer.fill(source[0]),
            _ => buffer.iter_mut().zip(source.iter().step_by(stride)).for_each(|(b, s)| *b = *s),
        }
        blocks[k] = buffer;
    }
    blocks
}

#[inline(always)]
fn write_values<F: Elementwise<K>, const K: usize>(function: &F, blocks: [&[f32]; K], output: &mut [f32]) {
    let blocks = blocks.map(|block| &block[..output.len()]);
    for (i, y) in output.iter_mut().enumerate() {
        *y = function.value(std::array::from_fn(|k| blocks[k][i]));
    }
}

#[inline(always)]
fn write_products<F: Elementwise<K>, const K: usize>(
    function: &F,
    operand: usize,
    blocks: [&[f32]; K],
    y: &[f32],
    g: &[f32],
    products: &mut [f32],
) {
    let blocks = blocks.map(|block| &block[..products.len()]);
    let (y, g) = (&y[..products.len()], &g[..products.len()]);
    for (i, product) in products.iter_mut().enumerate() {
        *product = g[i] * function.slope(operand, std::array::from_fn(|k| blocks[k][i]), y[i]);
    }
}

/// Brings `products` to every `stride`-th element of `target`, or their sum to its first where `stride` is 0.
#[inline(always)]
fn add_strided(products: &[f32], stride: usize, accumulate: bool, target: &mut [f32]) {
    match stride {
        0 => target[0] += sum(products),
        1 => target.iter_mut().zip(products).for_each(|(t, p)| *t += p),
        _ if accumulate => target.iter_mut().step_by(stride).zip(products).for_each(|(t, p)| *t += p),
        _ => target.iter_mut().step_by(stride).zip(products).for_each(|(t, p)| *t = *p),
    }
}

/// Sum in one fixed order that vectorizes.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let tail: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + tail
}
