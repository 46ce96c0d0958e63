//! Memory that starts on a cache line, so that vectors do not straddle two.

use crate::memory::Lent;

const LINE_BYTES: usize = 64;

/// Elements that [`align`] may skip.
pub const SLACK: usize = LINE_BYTES / size_of::<f32>();

/// The part of `memory` that starts on a cache line.
pub fn align(memory: &mut [f32]) -> &mut [f32] {
    let skipped = memory.as_ptr().align_offset(LINE_BYTES).min(memory.len());
    &mut memory[skipped..]
}

/// Numbers that start on a cache line.
#[derive(Default)]
pub struct AlignedBuffer {
    memory: Vec<f32>,
    start: usize,
    len: usize,
    _lent: Lent,
}

impl AlignedBuffer {
    /// Zeros.
    pub fn new(len: usize) -> Self {
        let memory = vec![0.0; len + SLACK];
        let lent = Lent::new(size_of_val(memory.as_slice()) as u64);
        let start = memory.as_ptr().align_offset(LINE_BYTES).min(SLACK);
        AlignedBuffer { memory, start, len, _lent: lent }
    }

    pub fn values(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }

    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}
