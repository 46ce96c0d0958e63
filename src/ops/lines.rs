//! What operators share that work along one dimension: lines of elements, one beside another.

use super::operator::{Layout, Refusal, Site};
use super::unary::resolve_axis;

/// The lines of input 0 along one dimension, row-major.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    /// Elements of a line.
    pub size: usize,
    /// Distance between its elements.
    pub inner: usize,
    /// Number of lines.
    pub count: usize,
}

impl Lines {
    /// # Errors
    /// If input 0 has no dimension `axis`.
    pub fn of(site: &Site<'_>, axis: i64) -> Result<Self, Refusal> {
        let shape = &site.required(0)?.layout.shape;
        let axis = resolve_axis(axis, shape.len())?;
        let inner = Layout::row_major(shape).strides[axis];
        let outer: usize = shape[..axis].iter().product();
        Ok(Lines { size: shape[axis], inner, count: outer * inner })
    }

    /// Where line `line` begins in a tensor whose lines have `size` elements.
    pub fn start(self, line: usize, size: usize) -> usize {
        line / self.inner * self.inner * size + line % self.inner
    }

    /// The places of the elements of line `line`.
    pub fn places(self, line: usize) -> impl DoubleEndedIterator<Item = usize> + Clone {
        let start = self.start(line, self.size);
        (0..self.size).map(move |at| start + at * self.inner)
    }
}
