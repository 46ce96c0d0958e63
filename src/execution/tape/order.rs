//! Row-major elements as kernels want them to lie.

use rayon::prelude::*;

use crate::ops::operator::Layout;

/// Elements that one thread moves at a time, about.
const PART: usize = 1 << 16;
/// Elements of two axes that are moved together, so that what is read and what is written stay in the cache.
const BLOCK: usize = 32;

/// An axis: its size, and the steps along it in row-major order and in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    size: usize,
    from: usize,
    to: usize,
}

/// Row-major elements in the order of `layout`.
pub fn in_memory_order(elements: &[f32], layout: &Layout) -> Vec<f32> {
    let axes = merged_axes(layout);
    let Some(outer) = (0..axes.len()).max_by_key(|axis| axes[*axis].to).filter(|_| axes.len() > 1) else {
        return elements.to_vec();
    };
    let Axis { from, to, .. } = axes[outer];
    let rows = (PART / to).next_multiple_of(BLOCK).max(1);
    let mut memory = vec![0.0; elements.len()];
    memory.par_chunks_mut(rows * to).enumerate().for_each(|(index, part)| {
        let mut axes = axes.clone();
        axes[outer].size = part.len() / to;
        fill(&elements[index * rows * from..], axes, part);
    });
    memory
}

/// Fills `memory` along `axes`, of which there are two at least, one with steps of 1 in each order.
fn fill(elements: &[f32], mut axes: Vec<Axis>, memory: &mut [f32]) {
    let Some(last) = axes.pop() else { return };
    let Some(fast) = axes.iter().position(|axis| axis.to == 1) else { return };
    let fast = axes.remove(fast);
    for_each_place(&axes, |from, to| {
        for outer in (0..fast.size).step_by(BLOCK) {
            for inner in (0..last.size).step_by(BLOCK) {
                for a in outer..fast.size.min(outer + BLOCK) {
                    for b in inner..last.size.min(inner + BLOCK) {
                        memory[to + a + b * last.to] = elements[from + a * fast.from + b];
                    }
                }
            }
        }
    });
}

/// The axes of `layout`, neighbours that lie alike in both orders as one. The last one is contiguous in row-major order.
fn merged_axes(layout: &Layout) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::new();
    let mut from = layout.len();
    for (size, to) in layout.shape.iter().zip(&layout.strides).filter(|(size, _)| **size > 1) {
        from /= size;
        match axes.last_mut().filter(|last| last.to == to * size) {
            Some(last) => *last = Axis { size: last.size * size, from, to: *to },
            None => axes.push(Axis { size: *size, from, to: *to }),
        }
    }
    axes
}

/// Calls `visit` with the offsets of every place along `axes`.
fn for_each_place(axes: &[Axis], mut visit: impl FnMut(usize, usize)) {
    let mut at = vec![0; axes.len()];
    let (mut from, mut to) = (0, 0);
    loop {
        visit(from, to);
        let Some(axis) = (0..axes.len()).rev().find(|axis| at[*axis] + 1 < axes[*axis].size) else { return };
        for (at, axis) in at[axis + 1..].iter_mut().zip(&axes[axis + 1..]) {
            (from, to) = (from - *at * axis.from, to - *at * axis.to);
            *at = 0;
        }
        at[axis] += 1;
        (from, to) = (from + axes[axis].from, to + axes[axis].to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_lies_where_its_layout_says() {
        let shapes: [&[usize]; 9] =
            [&[], &[7], &[40, 3], &[70, 50, 1, 1], &[5, 4, 3, 3], &[33, 1, 3, 2], &[1, 6, 2], &[2, 3, 2, 3, 2], &[4, 0]];
        for shape in shapes {
            let order: Vec<usize> = (0..shape.len()).rev().collect();
            for layout in [Layout::row_major(shape), Layout::parameter(shape), Layout::activation(shape), Layout::ordered(shape, &order)] {
                let elements: Vec<f32> = (0..layout.len()).map(|index| index as f32).collect();
                let found = in_memory_order(&elements, &layout);
                assert!(layout.offsets().iter().zip(&elements).all(|(offset, element)| found[*offset] == *element), "{layout:?}");
            }
        }
    }
}
