//! Buffers: who owns them, and slices for kernels out of slots and back.

use std::sync::{Mutex, PoisonError};

use super::{GradientPlace, Reference, SharedGradients, Step, Tape};
use crate::kernels::AlignedBuffer;

/// The buffers of one sample. Those that a pass leaves behind for nobody are lent while it runs.
pub struct Lane {
    pub(super) slots: Vec<AlignedBuffer>,
    pub(super) scratch: Vec<f32>,
}

/// Lanes of one tape that are free: a pass borrows one and brings it back.
#[derive(Default)]
pub struct Lanes(Mutex<Vec<Lane>>);

impl Lanes {
    /// Lends a lane of `tape` to `work`; makes one where none is free.
    pub fn with<R>(&self, tape: &Tape, work: impl FnOnce(&mut Lane) -> R) -> R {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut lane = free.unwrap_or_else(|| tape.lane());
        let result = work(&mut lane);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        result
    }
}

/// Buffers of a pass: as many exist as passes have run at once.
pub(super) struct Workspace {
    slots: Vec<AlignedBuffer>,
    scratch: Vec<f32>,
}

impl Workspace {
    fn swap(&mut self, lane: &mut Lane, kept: usize) {
        lane.slots[kept..].swap_with_slice(&mut self.slots);
        std::mem::swap(&mut lane.scratch, &mut self.scratch);
    }
}

impl Tape {
    /// Buffers for one sample.
    pub fn lane(&self) -> Lane {
        let mut slots: Vec<AlignedBuffer> = self.slot_sizes[..self.kept_slots].iter().map(|size| AlignedBuffer::new(*size)).collect();
        slots.resize_with(self.slot_sizes.len(), AlignedBuffer::default);
        Lane { slots, scratch: Vec::new() }
    }

    /// Bytes of a lane while it runs.
    pub fn lane_bytes(&self) -> u64 {
        let elements = self.slot_sizes.iter().chain([&self.scratch]).map(|size| *size as u64).sum::<u64>();
        elements.saturating_mul(size_of::<f32>() as u64)
    }

    pub(super) fn new_workspace(&self) -> Workspace {
        let slots = self.slot_sizes[self.kept_slots..].iter().map(|size| AlignedBuffer::new(*size)).collect();
        Workspace { slots, scratch: vec![0.0; self.scratch] }
    }

    pub(super) fn put_workspace(&self, workspace: Workspace) {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }

    /// Runs `pass` on a lane with all its buffers.
    pub(super) fn equipped(&self, lane: &mut Lane, pass: impl FnOnce(&mut Lane)) {
        let free = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = free.unwrap_or_else(|| self.new_workspace());
        workspace.swap(lane, self.kept_slots);
        pass(lane);
        workspace.swap(lane, self.kept_slots);
        self.put_workspace(workspace);
    }
}

/// Memory of a gradient while a kernel writes it.
pub(super) enum Taken {
    Nothing,
    Lane(AlignedBuffer),
    Shared(Vec<f32>),
}

pub(super) fn take(place: Option<&GradientPlace>, slots: &mut [AlignedBuffer], gradients: &mut SharedGradients) -> Taken {
    match place {
        None => Taken::Nothing,
        Some(GradientPlace::Lane { slot, .. }) => Taken::Lane(std::mem::take(&mut slots[*slot])),
        Some(GradientPlace::Shared(index)) => Taken::Shared(gradients.0.get_mut(index).map(std::mem::take).unwrap_or_default()),
    }
}

pub(super) fn put_back(place: Option<&GradientPlace>, memory: Taken, slots: &mut [AlignedBuffer], gradients: &mut SharedGradients) {
    match (place, memory) {
        (Some(GradientPlace::Lane { slot, .. }), Taken::Lane(memory)) => slots[*slot] = memory,
        (Some(GradientPlace::Shared(index)), Taken::Shared(memory)) => {
            gradients.0.insert(*index, memory);
        }
        _ => {}
    }
}

pub(super) fn prepare(step: &mut Step, shared: &[Vec<f32>]) {
    let inputs = step.inputs.iter().map(|input| match input {
        Some(Reference::Shared(index)) => Some(shared[*index].as_slice()),
        _ => None,
    });
    let inputs: Vec<Option<&[f32]>> = inputs.collect();
    step.kernel.prepare(&inputs);
}

/// Calls `work` with the input slices; omitted inputs are empty.
pub(super) fn with_inputs<R>(
    inputs: &[Option<Reference>],
    slots: &[AlignedBuffer],
    shared: &[Vec<f32>],
    work: impl FnOnce(&[&[f32]]) -> R,
) -> R {
    let slice = |input: &Option<Reference>| -> &[f32] {
        match input {
            None => &[],
            Some(Reference::Lane { slot, len }) => &slots[*slot].values()[..*len],
            Some(Reference::Shared(index)) => &shared[*index],
        }
    };
    let (mut few, mut many): ([&[f32]; FEW], _) = ([&[]; FEW], Vec::new());
    let slices = few_or_many(&mut few, &mut many, inputs.len(), || &[]);
    slices.iter_mut().zip(inputs).for_each(|(place, input)| *place = slice(input));
    work(slices)
}

/// Inputs that need no memory of their own.
pub(super) const FEW: usize = 8;

/// `count` places: those of `few` if they are enough, else those of `many`.
pub(super) fn few_or_many<'a, T>(few: &'a mut [T; FEW], many: &'a mut Vec<T>, count: usize, empty: impl FnMut() -> T) -> &'a mut [T] {
    if count <= FEW {
        return &mut few[..count];
    }
    many.resize_with(count, empty);
    many
}
