//! Products of row-major matrices and their gradients.

use std::sync::Arc;

use super::indirect::{Indirection, Sweep};
use super::isa::Isa;
use super::outer::OuterSweep;

/// `[rows, depth] · [depth, columns]`, all row-major; the right side may lie transposed, as `[columns, depth]`.
pub struct MatrixProduct {
    pub rows: usize,
    pub depth: usize,
    pub columns: usize,
    transposed: bool,
    forward: Sweep,
    left: Sweep,
    right: OuterSweep,
}

impl MatrixProduct {
    pub fn new(rows: usize, depth: usize, columns: usize, transposed: bool, isa: Isa) -> Self {
        let (row_pitch, column_pitch) = if transposed { (1, depth) } else { (columns, 1) };
        let outer = if transposed {
            Indirection::matrix(rows, columns, depth, depth, 1)
        } else {
            Indirection::matrix(rows, depth, columns, columns, 1)
        };
        MatrixProduct {
            rows,
            depth,
            columns,
            transposed,
            forward: Sweep::new(Arc::new(Indirection::matrix(rows, depth, columns, row_pitch, column_pitch)), isa),
            left: Sweep::new(Arc::new(Indirection::matrix(rows, columns, depth, column_pitch, row_pitch)), isa),
            right: OuterSweep::new(Arc::new(outer), isa),
        }
    }

    /// Elements of the right side as packed by [`MatrixProduct::pack`] and [`MatrixProduct::pack_for_left`].
    pub fn packed_len(&self) -> usize {
        self.forward.packed_len().max(self.left.packed_len())
    }

    /// Packs `scale · right` for [`MatrixProduct::run`].
    pub fn pack(&self, right: &[f32], scale: f32, packed: &mut [f32]) {
        self.forward.pack(right, scale, packed);
    }

    /// Packs `scale · right` for [`MatrixProduct::left_gradient`].
    pub fn pack_for_left(&self, right: &[f32], scale: f32, packed: &mut [f32]) {
        self.left.pack(right, scale, packed);
    }

    /// Writes, or adds to, `[rows, columns]`.
    pub fn run(&self, left: &[f32], packed: &[f32], accumulate: bool, output: &mut [f32]) {
        self.forward.run(left, packed, &[], accumulate, output);
    }

    /// Writes, or adds to, the gradient `[rows, depth]` of the left side.
    pub fn left_gradient(&self, gradient: &[f32], packed: &[f32], accumulate: bool, left: &mut [f32]) {
        self.left.run(gradient, packed, &[], accumulate, left);
    }

    /// Adds the gradient of the right side, in its own order.
    pub fn add_right_gradient(&self, left: &[f32], gradient: &[f32], right: &mut [f32]) {
        match self.transposed {
            true => self.right.run(gradient, left, right),
            false => self.right.run(left, gradient, right),
        }
    }
}
