//! What all samples share: computed once, packed by kernels, and freed where only what is packed is read.

use rayon::prelude::*;

use super::memory::{prepare, with_inputs};
use super::{Reference, Step, Tape};

impl Tape {
    /// Computes what all samples share and lets the kernels prepare for it, a few at a time: what nobody reads afterwards is
    /// freed before the next ones copy theirs.
    pub(super) fn share(&mut self) {
        self.compute_shared(|_| true);
        let mut kept = self.read_by_others();
        let mut last = vec![0; self.shared.len()];
        for (at, step) in self.steps.iter().enumerate() {
            shared_inputs(step).for_each(|(_, index)| last[index] = at);
        }
        let together = rayon::current_num_threads();
        for start in (0..self.steps.len()).step_by(together) {
            let end = self.steps.len().min(start + together);
            let shared = &self.shared;
            self.steps[start..end].par_iter_mut().for_each(|step| prepare(step, shared));
            for step in &self.steps[start..end] {
                shared_inputs(step).filter(|(input, _)| !step.kernel.keeps_copy(*input)).for_each(|(_, index)| kept[index] = true);
            }
            for (_, index) in self.steps[start..end].iter().flat_map(shared_inputs).filter(|(_, index)| last[*index] < end) {
                if !kept[index] {
                    self.shared[index] = Vec::new();
                }
            }
        }
        self.shared.iter_mut().zip(kept).filter(|(_, kept)| !kept).for_each(|(elements, _)| *elements = Vec::new());
    }

    /// As [`Tape::share`], of what changed parameters reach.
    pub(super) fn share_changes(&mut self) {
        self.compute_shared(|step| step.changes);
        let shared = &self.shared;
        self.steps.par_iter_mut().filter(|step| step.changes).for_each(|step| prepare(step, shared));
    }

    fn compute_shared(&mut self, which: impl Fn(&Step) -> bool) {
        let mut scratch = vec![0.0; self.scratch];
        for step in self.shared_steps.iter_mut().filter(|step| which(step)) {
            let mut output = std::mem::take(&mut self.shared[step.output]);
            prepare(step, &self.shared);
            with_inputs(&step.inputs, &[], &self.shared, |inputs| step.kernel.forward(inputs, &mut output, &mut scratch));
            self.shared[step.output] = output;
        }
    }

    /// For each shared value whether anybody but the steps of a sample reads it later.
    fn read_by_others(&self) -> Vec<bool> {
        let mut read = vec![false; self.shared.len()];
        let mut mark = |reference: Option<&Reference>| {
            if let Some(Reference::Shared(index)) = reference {
                read[*index] = true;
            }
        };
        self.readable.values().for_each(|(reference, _)| mark(Some(reference)));
        for step in self.shared_steps.iter().filter(|step| step.changes) {
            step.inputs.iter().for_each(|input| mark(input.as_ref()));
            mark(Some(&Reference::Shared(step.output)));
        }
        let parameters = self.parameters.values().map(|(index, _)| index);
        parameters.chain(&self.shared_with_gradient).for_each(|index| mark(Some(&Reference::Shared(*index))));
        read
    }
}

/// The inputs that all samples share: which of the step's, and where it lies.
fn shared_inputs(step: &Step) -> impl Iterator<Item = (usize, usize)> {
    step.inputs.iter().enumerate().filter_map(|(input, reference)| match reference {
        Some(Reference::Shared(index)) => Some((input, *index)),
        _ => None,
    })
}
