//! Walking one layout in memory order while other layouts are broadcast along.

use crate::ops::operator::Layout;

/// Runs of contiguous memory of a leading layout, and where `K` operands stand along each run.
/// Run `r` covers the leading elements `r * inner .. (r + 1) * inner`.
#[derive(Clone, Debug)]
pub struct Traversal<const K: usize> {
    /// Elements of one run.
    pub inner: usize,
    /// Step of each operand along a run; 0 where it stands still.
    pub strides: [usize; K],
    /// Where each operand stands at the start of each run.
    pub offsets: Vec<[usize; K]>,
    /// Whether several leading elements meet one element of the operand.
    pub repeats: [bool; K],
}

struct Extent<const K: usize> {
    size: usize,
    strides: [usize; K],
}

impl<const K: usize> Traversal<K> {
    /// `operands` gives each operand's stride along every dimension of `leading`, 0 where it is broadcast.
    pub fn new(leading: &Layout, operands: [&[usize]; K]) -> Self {
        let extents = coalesce(extents_in_memory_order(leading, operands));
        let repeats = std::array::from_fn(|k| extents.iter().any(|extent| extent.strides[k] == 0));
        let (inner, outer) = match extents.split_last() {
            Some((last, outer)) => (Extent { size: last.size, strides: last.strides }, outer),
            None => (Extent { size: 1, strides: [1; K] }, &[][..]),
        };
        let offsets = if leading.is_empty() { Vec::new() } else { run_offsets(outer) };
        Traversal { inner: inner.size, strides: inner.strides, offsets, repeats }
    }

    /// A walk over `leading` alone with operands of numpy-broadcastable layouts; `None` where one does not fit.
    pub fn broadcast(leading: &Layout, operands: [&Layout; K]) -> Option<Self> {
        let mut strides: [Vec<usize>; K] = std::array::from_fn(|_| Vec::new());
        for (slot, operand) in strides.iter_mut().zip(operands) {
            *slot = broadcast_strides(operand, &leading.shape)?;
        }
        Some(Self::new(leading, std::array::from_fn(|k| strides[k].as_slice())))
    }
}

/// Strides of `operand` along the dimensions of `shape` under numpy broadcasting; `None` where it does not fit.
pub fn broadcast_strides(operand: &Layout, shape: &[usize]) -> Option<Vec<usize>> {
    let lead = shape.len().checked_sub(operand.shape.len())?;
    let mut strides = vec![0; lead];
    for ((size, stride), wanted) in operand.shape.iter().zip(&operand.strides).zip(&shape[lead..]) {
        match *size {
            1 => strides.push(0),
            n if n == *wanted => strides.push(*stride),
            _ => return None,
        }
    }
    Some(strides)
}

/// Strides of a vector that lies along dimension `axis` of a value of rank `rank`; a scalar where `axis` is `None`.
pub fn axis_strides(rank: usize, axis: Option<usize>) -> Vec<usize> {
    (0..rank).map(|dim| usize::from(axis == Some(dim))).collect()
}

fn extents_in_memory_order<const K: usize>(leading: &Layout, operands: [&[usize]; K]) -> Vec<Extent<K>> {
    let mut dims: Vec<usize> = (0..leading.shape.len()).filter(|dim| leading.shape[*dim] > 1).collect();
    dims.sort_by_key(|dim| std::cmp::Reverse(leading.strides[*dim]));
    dims.iter().map(|dim| Extent { size: leading.shape[*dim], strides: operands.map(|strides| strides[*dim]) }).collect()
}

fn coalesce<const K: usize>(extents: Vec<Extent<K>>) -> Vec<Extent<K>> {
    let mut merged: Vec<Extent<K>> = Vec::new();
    for extent in extents {
        match merged.last_mut() {
            Some(outer) if (0..K).all(|k| outer.strides[k] == extent.strides[k] * extent.size) => {
                outer.size *= extent.size;
                outer.strides = extent.strides;
            }
            _ => merged.push(extent),
        }
    }
    merged
}

fn run_offsets<const K: usize>(outer: &[Extent<K>]) -> Vec<[usize; K]> {
    let mut offsets = vec![[0; K]];
    for extent in outer {
        let step = |base: &[usize; K], i: usize| std::array::from_fn(|k| base[k] + i * extent.strides[k]);
        offsets = offsets.iter().flat_map(|base| (0..extent.size).map(move |i| step(base, i))).collect();
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_layouts_are_one_run() {
        let layout = Layout::activation(&[1, 3, 4, 5]);
        let walk = Traversal::broadcast(&layout, [&layout]).unwrap();
        assert_eq!((walk.inner, walk.strides, walk.offsets.len()), (60, [1], 1));
        assert_eq!(walk.repeats, [false]);
    }

    #[test]
    fn channel_vectors_run_along_the_contiguous_dimension() {
        let layout = Layout::activation(&[1, 3, 4, 5]);
        let vector = Layout::parameter(&[3, 1, 1]);
        let walk = Traversal::broadcast(&layout, [&layout, &vector]).unwrap();
        assert_eq!((walk.inner, walk.strides, walk.offsets.len()), (3, [1, 1], 20));
        assert_eq!(walk.offsets[1], [3, 0]);
        assert_eq!(walk.repeats, [false, true]);
    }

    #[test]
    fn any_layout_meets_the_same_elements() {
        let (leading, operand) = (Layout::activation(&[2, 3, 4, 5]), Layout::parameter(&[3, 1, 5]));
        let walk = Traversal::broadcast(&leading, [&operand]).unwrap();
        let mut met = vec![0; leading.len()];
        for (run, [offset]) in walk.offsets.iter().enumerate() {
            for i in 0..walk.inner {
                met[run * walk.inner + i] = offset + i * walk.strides[0];
            }
        }
        let wanted = operand.broadcast_offsets(&leading.shape);
        let got: Vec<usize> = leading.offsets().iter().map(|at| met[*at]).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn refuses_what_does_not_broadcast() {
        assert!(Traversal::broadcast(&Layout::row_major(&[2, 3]), [&Layout::row_major(&[2])]).is_none());
    }
}
