//! The kernel of Gemm and MatMul.

use super::operator::{BackwardCall, Gradient, Kernel, Operand};
use crate::kernels::{AlignedBuffer, MatrixProduct, SLACK, align};

/// `output = scale · left · right + addend`, batch by batch. Input 0 is the left side, 1 the right side, 2 the addend.
pub struct MatrixKernel {
    product: MatrixProduct,
    batches: Vec<Batch>,
    right_batches: usize,
    /// The left side lies as `[depth, rows]`.
    left_transposed: bool,
    scale: f32,
    addend: Option<Addend>,
    /// The right side packed for the product and, where that is wanted, for the left side's gradient; `None` where it differs
    /// by image.
    packed: Option<[AlignedBuffer; 2]>,
    right_is_constant: bool,
}

/// Which matrices of either side meet, and which one they make.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub left: usize,
    pub right: usize,
    pub output: usize,
}

/// A matrix that is added, broadcast by strides of zero.
#[derive(Clone, Copy, Debug)]
pub struct Addend {
    pub scale: f32,
    pub row_stride: usize,
    pub column_stride: usize,
}

/// How sides that are not plain matrices are read.
pub struct MatrixForm {
    pub batches: Vec<Batch>,
    pub left_transposed: bool,
    pub scale: f32,
    pub addend: Option<Addend>,
}

type Pack = fn(&MatrixProduct, &[f32], f32, &mut [f32]);

const PACKS: [Pack; 2] = [MatrixProduct::pack, MatrixProduct::pack_for_left];

impl MatrixKernel {
    pub fn new(product: MatrixProduct, form: MatrixForm, left: &Operand, right: &Operand) -> Self {
        let right_batches = form.batches.iter().map(|batch| batch.right + 1).max().unwrap_or(0);
        let buffer = |wanted| AlignedBuffer::new(if wanted { product.packed_len() * right_batches } else { 0 });
        MatrixKernel {
            packed: right.shared.then(|| [buffer(true), buffer(left.wants_gradient)]),
            right_is_constant: right.constant.is_some(),
            batches: form.batches,
            right_batches,
            left_transposed: form.left_transposed,
            scale: form.scale,
            addend: form.addend,
            product,
        }
    }

    fn left_len(&self) -> usize {
        self.product.rows * self.product.depth
    }

    fn right_len(&self) -> usize {
        self.product.depth * self.product.columns
    }

    fn output_len(&self) -> usize {
        self.product.rows * self.product.columns
    }

    fn pack_all(&self, which: usize, right: &[f32], packed: &mut [f32]) {
        for batch in 0..self.right_batches {
            let packed = &mut packed[batch * self.product.packed_len()..];
            PACKS[which](&self.product, &right[batch * self.right_len()..], self.scale, packed);
        }
    }

    /// The packed right sides and what is left of the scratch memory.
    fn packed<'a>(&'a self, which: usize, right: &[f32], scratch: &'a mut [f32]) -> (&'a [f32], &'a mut [f32]) {
        if let Some(packed) = &self.packed {
            return (packed[which].values(), scratch);
        }
        let (packed, rest) = align(scratch).split_at_mut(self.product.packed_len() * self.right_batches);
        self.pack_all(which, right, packed);
        (packed, rest)
    }

    fn packed_right<'a>(&self, packed: &'a [f32], batch: &Batch) -> &'a [f32] {
        &packed[batch.right * self.product.packed_len()..]
    }

    /// The left side of `batch`, row-major.
    fn left<'a>(&self, left: &'a [f32], batch: &Batch, scratch: &'a mut [f32]) -> &'a [f32] {
        let left = &left[batch.left * self.left_len()..][..self.left_len()];
        if !self.left_transposed {
            return left;
        }
        transpose(left, self.product.depth, self.product.rows, false, &mut scratch[..self.left_len()]);
        &scratch[..self.left_len()]
    }

    fn left_gradient(&self, right: &[f32], output_gradient: &[f32], target: &mut Gradient<'_>, scratch: &mut [f32]) {
        let direct = self.batches.len() == 1 && !self.left_transposed;
        let accumulate = if direct { target.accumulate } else { true };
        let values: &mut [f32] = if direct { &mut *target.values } else { target.open() };
        let (packed, scratch) = self.packed(1, right, scratch);
        for batch in &self.batches {
            let gradient = &output_gradient[batch.output * self.output_len()..][..self.output_len()];
            let values = &mut values[batch.left * self.left_len()..][..self.left_len()];
            let packed = self.packed_right(packed, batch);
            if self.left_transposed {
                let rows = &mut scratch[..self.left_len()];
                self.product.left_gradient(gradient, packed, false, rows);
                transpose(rows, self.product.rows, self.product.depth, true, values);
            } else {
                self.product.left_gradient(gradient, packed, accumulate, values);
            }
        }
    }

    fn right_gradient(&self, left: &[f32], output_gradient: &[f32], target: &mut Gradient<'_>, scratch: &mut [f32]) {
        let values = target.open();
        for batch in &self.batches {
            let (scaled, scratch) = scratch.split_at_mut(self.output_len());
            let mut gradient = &output_gradient[batch.output * self.output_len()..][..self.output_len()];
            if self.scale != 1.0 {
                scaled.iter_mut().zip(gradient).for_each(|(scaled, value)| *scaled = self.scale * value);
                gradient = scaled;
            }
            let left = self.left(left, batch, scratch);
            self.product.add_right_gradient(left, gradient, &mut values[batch.right * self.right_len()..][..self.right_len()]);
        }
    }

    fn addend_gradient(&self, output_gradient: &[f32], target: &mut Gradient<'_>) {
        let (Some(addend), values) = (&self.addend, target.open()) else { return };
        for (row, gradients) in output_gradient.chunks_exact(self.product.columns.max(1)).enumerate() {
            for (column, gradient) in gradients.iter().enumerate() {
                values[row * addend.row_stride + column * addend.column_stride] += addend.scale * gradient;
            }
        }
    }
}

/// Writes, or adds, `[rows, columns]` to `[columns, rows]`.
fn transpose(from: &[f32], rows: usize, columns: usize, add: bool, to: &mut [f32]) {
    for row in 0..rows {
        for column in 0..columns {
            let to = &mut to[column * rows + row];
            *to = if add { *to } else { 0.0 } + from[row * columns + column];
        }
    }
}

impl Kernel for MatrixKernel {
    fn scratch(&self) -> usize {
        let packed = if self.packed.is_some() { 0 } else { SLACK + self.product.packed_len() * self.right_batches };
        packed + self.left_len() + self.output_len()
    }

    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        let Some(Some(right)) = shared.get(1) else { return };
        let Some(mut packed) = self.packed.take() else { return };
        for (which, packed) in packed.iter_mut().enumerate().filter(|(_, packed)| !packed.values().is_empty()) {
            self.pack_all(which, right, packed.values_mut());
        }
        self.packed = Some(packed);
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        if let Some(addend) = &self.addend {
            for (row, values) in output.chunks_exact_mut(self.product.columns.max(1)).enumerate() {
                for (column, value) in values.iter_mut().enumerate() {
                    *value = addend.scale * inputs[2][row * addend.row_stride + column * addend.column_stride];
                }
            }
        }
        let (packed, scratch) = self.packed(0, inputs[1], scratch);
        for batch in &self.batches {
            let left = self.left(inputs[0], batch, scratch);
            let output = &mut output[batch.output * self.output_len()..][..self.output_len()];
            self.product.run(left, self.packed_right(packed, batch), self.addend.is_some(), output);
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let mut wanted = call.input_gradients.iter_mut();
        if let Some(Some(target)) = wanted.next() {
            self.left_gradient(call.inputs.get(1).copied().unwrap_or(&[]), call.output_gradient, target, call.scratch);
        }
        if let Some(Some(target)) = wanted.next() {
            self.right_gradient(call.inputs[0], call.output_gradient, target, call.scratch);
        }
        if let Some(Some(target)) = wanted.next() {
            self.addend_gradient(call.output_gradient, target);
        }
    }

    fn keeps_copy(&self, input: usize) -> bool {
        input == 1 && self.packed.is_some()
    }

    fn backward_needs_inputs(&self) -> bool {
        !(self.right_is_constant && self.packed.is_some())
    }
}
