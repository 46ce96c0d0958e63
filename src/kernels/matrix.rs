//! Product of a matrix that differs from sample to sample with one that all samples share.

use super::Isa;
use super::correlation::{Correlation, Packed, Pass, add_weight_gradient};
use crate::ops::operator::{BackwardCall, Gradient, Kernel};

/// y `[rows, n]` = x `[rows, k]` · B + bias, with B given as `[k, n]`, or `[n, k]` if `transposed`. All row-major.
pub struct MatrixProduct {
    sizes: (usize, usize, usize),
    transposed: bool,
    forward: Correlation,
    backward: Correlation,
    packed: Option<(Packed, Packed)>,
}

impl MatrixProduct {
    pub fn new(rows: usize, k: usize, n: usize, transposed: bool, isa: Isa) -> Self {
        let correlation = |from: usize, to: usize| Correlation {
            passes: vec![Pass { pixels: (0..rows).map(|row| ((row * from) as u32, (row * to) as u32)).collect(), taps: vec![(0, 0)] }],
            groups: 1,
            source_channels: from,
            target_channels: to,
            source_len: rows * from,
            target_len: rows * to,
            isa,
        };
        MatrixProduct { sizes: (rows, k, n), transposed, forward: correlation(k, n), backward: correlation(n, k), packed: None }
    }

    fn pack(&self, matrix: &[f32]) -> (Packed, Packed) {
        let (_, k, n) = self.sizes;
        let at = |row: usize, column: usize| if self.transposed { matrix[column * k + row] } else { matrix[row * n + column] };
        (self.forward.pack(|_, _, from, to| at(from, to)), self.backward.pack(|_, _, from, to| at(to, from)))
    }
}

impl Kernel for MatrixProduct {
    fn scratch(&self) -> usize {
        if self.transposed { self.sizes.1 * self.sizes.2 } else { 0 }
    }

    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        if let Some(Some(matrix)) = shared.get(1) {
            self.packed = Some(self.pack(matrix));
        }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let bias = inputs.get(2).copied().filter(|bias| !bias.is_empty());
        match &self.packed {
            Some((packed, _)) => self.forward.run(inputs[0], packed, bias, output, false),
            None => self.forward.run(inputs[0], &self.pack(inputs[1]).0, bias, output, false),
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let (_, k, n) = self.sizes;
        let BackwardCall { inputs, output_gradient, input_gradients, scratch, .. } = call;
        if let Some(Some(Gradient { values, accumulate })) = input_gradients.first_mut() {
            match &self.packed {
                Some((_, packed)) => self.backward.run(output_gradient, packed, None, values, *accumulate),
                None => self.backward.run(output_gradient, &self.pack(inputs[1]).1, None, values, *accumulate),
            }
        }
        if let Some(Some(gradient)) = input_gradients.get_mut(1) {
            let target = gradient.open();
            if self.transposed {
                let straight = &mut scratch[..k * n];
                straight.fill(0.0);
                add_weight_gradient(&self.forward, inputs[0], output_gradient, straight);
                for (index, sum) in target.iter_mut().enumerate() {
                    *sum += straight[index % k * n + index / k];
                }
            } else {
                add_weight_gradient(&self.forward, inputs[0], output_gradient, target);
            }
        }
        if let Some(Some(gradient)) = input_gradients.get_mut(2) {
            let target = gradient.open();
            for row in output_gradient.chunks_exact(n) {
                for (sum, g) in target.iter_mut().zip(row) {
                    *sum += g;
                }
            }
        }
    }
}
