//! Which buffers can share memory: values whose lifetimes do not overlap take the same slot.

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
    by_birth.sort_by_key(|index| (buffers[*index].born, std::cmp::Reverse(buffers[*index].len), *index));
    let mut slot_of = vec![0; buffers.len()];
    let mut slots: Vec<(usize, usize)> = Vec::new();
    for index in by_birth {
        let Lifetime { len, born, last } = buffers[index];
        let free = slots.iter().enumerate().filter(|(_, (_, busy_until))| *busy_until < born + 1);
        let best = free.min_by_key(|(slot, (size, _))| (size.abs_diff(len), *slot)).map(|(slot, _)| slot);
        let slot = best.unwrap_or_else(|| {
            slots.push((0, 0));
            slots.len() - 1
        });
        slots[slot] = (slots[slot].0.max(len), last + 1);
        slot_of[index] = slot;
    }
    (slot_of, slots.into_iter().map(|(size, _)| size).collect())
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
}
