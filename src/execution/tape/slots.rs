//! Which buffers can share memory: values whose lifetimes do not overlap take the same slot.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// A buffer of `len` elements that is in use from time `born` to time `last`, both included.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub len: usize,
    pub born: usize,
    pub last: usize,
}

/// Slots of buffers: the first `kept` hold what must outlast a forward or a backward pass, the others are free after it.
pub struct Slots {
    /// Slot of each buffer.
    pub of: Vec<usize>,
    /// Length of each slot.
    pub sizes: Vec<usize>,
    pub kept: usize,
}

impl Slots {
    /// `keeps` tells which buffers outlast a pass. Buffers without elements or use still get a slot.
    pub fn assign(buffers: &[Lifetime], keeps: impl Fn(&Lifetime) -> bool) -> Slots {
        let (kept, free): (Vec<usize>, Vec<usize>) = (0..buffers.len()).partition(|index| keeps(&buffers[*index]));
        let mut slots = Slots { of: vec![0; buffers.len()], sizes: Vec::new(), kept: 0 };
        for indices in [kept, free] {
            slots.kept = slots.sizes.len();
            let (of, sizes) = assign_slots(&indices.iter().map(|index| buffers[*index]).collect::<Vec<_>>());
            indices.iter().zip(of).for_each(|(index, slot)| slots.of[*index] = slots.kept + slot);
            slots.sizes.extend(sizes);
        }
        slots
    }
}

/// Slot of each buffer, and the length of each slot.
fn assign_slots(buffers: &[Lifetime]) -> (Vec<usize>, Vec<usize>) {
    let mut by_birth: Vec<usize> = (0..buffers.len()).collect();
    by_birth.sort_by_key(|index| (buffers[*index].born, Reverse(buffers[*index].len), *index));
    let mut slot_of = vec![0; buffers.len()];
    let mut sizes: Vec<usize> = Vec::new();
    // Slots that are free, by size; slots that are not, by the time from which on they are.
    let (mut free, mut busy) = (BTreeSet::new(), BinaryHeap::new());
    for index in by_birth {
        let Lifetime { len, born, last } = buffers[index];
        while busy.peek().is_some_and(|Reverse((until, _))| *until <= born)
            && let Some(Reverse((_, slot))) = busy.pop()
        {
            free.insert((sizes[slot], slot));
        }
        let slot = match nearest(&free, len) {
            Some(best) => {
                free.remove(&best);
                best.1
            }
            None => {
                sizes.push(0);
                sizes.len() - 1
            }
        };
        sizes[slot] = sizes[slot].max(len);
        busy.push(Reverse((last + 1, slot)));
        slot_of[index] = slot;
    }
    (slot_of, sizes)
}

/// Of `(size, slot)` the one whose size is nearest to `len`, and of those the first slot.
fn nearest(free: &BTreeSet<(usize, usize)>, len: usize) -> Option<(usize, usize)> {
    let above = free.range((len, 0)..).next();
    let below = free.range(..(len, 0)).next_back().and_then(|(size, _)| free.range((*size, 0)..).next());
    above.into_iter().chain(below).min_by_key(|(size, slot)| (size.abs_diff(len), *slot)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_alive_at_once_never_share() {
        let buffers: Vec<Lifetime> =
            (0..40).map(|i| Lifetime { len: 1 + i * 7 % 13, born: i * 5 % 17, last: i * 5 % 17 + i % 6 }).collect();
        let (slot_of, sizes) = assign_slots(&buffers);
        for (i, a) in buffers.iter().enumerate() {
            assert!(sizes[slot_of[i]] >= a.len);
            for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                assert!(slot_of[i] != slot_of[j] || a.last < b.born || b.last < a.born, "{i} and {j} share");
            }
        }
        assert!(sizes.len() < buffers.len());
    }

    #[test]
    fn the_free_slot_of_the_nearest_size_is_taken() {
        let free = BTreeSet::from([(2, 7), (2, 3), (6, 5), (6, 1), (10, 0)]);
        for (len, wanted) in [(0, (2, 3)), (2, (2, 3)), (3, (2, 3)), (4, (6, 1)), (5, (6, 1)), (8, (10, 0)), (99, (10, 0))] {
            assert_eq!(nearest(&free, len), Some(wanted), "{len}");
        }
        assert_eq!(nearest(&BTreeSet::new(), 1), None);
    }
}
