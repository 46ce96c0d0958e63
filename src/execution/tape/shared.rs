//! What all samples share: read or computed when the first kernel wants it, packed by kernels, and freed where only what is
//! packed is read. At no time do all weights lie there as they stand in the graph.

use rayon::prelude::*;

use super::memory::{prepare, with_inputs};
use super::order::in_memory_order;
use super::{Reference, Step, Tape};
use crate::error::Result;
use crate::memory;
use crate::ops::operator::Layout;
use crate::tensor::TensorData;

/// Part of all shared elements that kernels prepare for at a time, beyond those of one step.
const PARTS: usize = 16;
/// Elements that they prepare for at a time, at least and at most.
const AT_ONCE: (usize, usize) = (1 << 18, 1 << 22);

/// Where a shared value comes from.
pub(super) enum SharedValue {
    Constant(TensorData, Layout),
    /// Output of a shared step.
    Computed {
        len: usize,
        step: usize,
    },
}

impl SharedValue {
    fn len(&self) -> usize {
        match self {
            SharedValue::Constant(_, layout) => layout.len(),
            SharedValue::Computed { len, .. } => *len,
        }
    }
}

/// Which shared values are there, and who still wants them.
struct Sharing {
    values: Vec<SharedValue>,
    there: Vec<bool>,
    kept: Vec<bool>,
    /// Steps, shared ones included, that have not read the value yet.
    readers: Vec<usize>,
}

impl Tape {
    /// Computes what all samples share and lets the kernels prepare for it, a few at a time: what nobody reads afterwards is
    /// freed before the next ones copy theirs.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(super) fn share(&mut self, values: Vec<SharedValue>) -> Result<()> {
        let directions = if self.steps.iter().any(|step| step.backward.is_some()) { 2 } else { 1 };
        let constants = values.iter().filter(|value| matches!(value, SharedValue::Constant(..)));
        let elements = constants.map(SharedValue::len).sum::<usize>();
        memory::require(elements as u64 * directions * size_of::<f32>() as u64, "the weights, as kernels read them")?;
        let at_once = (elements / PARTS).clamp(AT_ONCE.0, AT_ONCE.1);
        let mut sharing = Sharing::new(self, values);
        let mut start = 0;
        while start < self.steps.len() {
            let mut end = start;
            let mut elements = 0;
            while end < self.steps.len() && (end == start || elements < at_once) {
                elements += shared_inputs(&self.steps[end]).map(|(_, index)| sharing.values[index].len()).sum::<usize>();
                end += 1;
            }
            let read: Vec<usize> = self.steps[start..end].iter().flat_map(shared_inputs).map(|(_, index)| index).collect();
            self.provide(&read, &mut sharing);
            let shared = &self.shared;
            self.steps[start..end].par_iter_mut().for_each(|step| prepare(step, shared));
            read.iter().for_each(|index| self.release(*index, &mut sharing));
            start = end;
        }
        let kept: Vec<usize> = (0..self.shared.len()).filter(|index| sharing.kept[*index]).collect();
        self.provide(&kept, &mut sharing);
        Ok(())
    }

    /// Makes sure that the shared values `wanted` are there.
    fn provide(&mut self, wanted: &[usize], sharing: &mut Sharing) {
        let (mut waiting, mut constants, mut steps) = (wanted.to_vec(), Vec::new(), Vec::new());
        while let Some(index) = waiting.pop() {
            if std::mem::replace(&mut sharing.there[index], true) {
                continue;
            }
            match sharing.values[index] {
                SharedValue::Constant(..) => constants.push(index),
                SharedValue::Computed { step, .. } => {
                    steps.push(step);
                    waiting.extend(shared_inputs(&self.shared_steps[step]).map(|(_, index)| index));
                }
            }
        }
        let read = |index: &usize| match &sharing.values[*index] {
            SharedValue::Constant(tensor, layout) => (*index, in_memory_order(&tensor.as_f32().unwrap_or_default(), layout)),
            SharedValue::Computed { .. } => (*index, Vec::new()),
        };
        let read: Vec<(usize, Vec<f32>)> = constants.par_iter().map(read).collect();
        read.into_iter().for_each(|(index, elements)| self.shared[index] = elements);
        steps.sort_unstable();
        let mut scratch = vec![0.0; self.scratch];
        for step in steps {
            self.shared[self.shared_steps[step].output] = vec![0.0; sharing.values[self.shared_steps[step].output].len()];
            self.compute(step, &mut scratch);
            let read: Vec<usize> = shared_inputs(&self.shared_steps[step]).map(|(_, index)| index).collect();
            read.into_iter().for_each(|index| self.release(index, sharing));
        }
    }

    /// One reader less: frees what nobody reads any more.
    fn release(&mut self, index: usize, sharing: &mut Sharing) {
        sharing.readers[index] -= 1;
        if sharing.readers[index] == 0 && !sharing.kept[index] {
            self.shared[index] = Vec::new();
        }
    }

    /// As [`Tape::share`], of what changed parameters reach.
    pub(super) fn share_changes(&mut self) {
        let mut scratch = vec![0.0; self.scratch];
        for step in 0..self.shared_steps.len() {
            if self.shared_steps[step].changes {
                self.compute(step, &mut scratch);
            }
        }
        let shared = &self.shared;
        self.steps.par_iter_mut().filter(|step| step.changes).for_each(|step| prepare(step, shared));
    }

    fn compute(&mut self, step: usize, scratch: &mut [f32]) {
        let step = &mut self.shared_steps[step];
        let mut output = std::mem::take(&mut self.shared[step.output]);
        prepare(step, &self.shared);
        with_inputs(&step.inputs, &[], &self.shared, |inputs| step.kernel.forward(inputs, &mut output, scratch));
        self.shared[step.output] = output;
    }
}

impl Sharing {
    fn new(tape: &Tape, values: Vec<SharedValue>) -> Self {
        let (mut kept, mut readers) = (vec![false; values.len()], vec![0; values.len()]);
        let mut keep = |reference: Option<&Reference>| {
            if let Some(Reference::Shared(index)) = reference {
                kept[*index] = true;
            }
        };
        tape.readable.values().for_each(|(reference, _)| keep(Some(reference)));
        for step in tape.shared_steps.iter().filter(|step| step.changes) {
            step.inputs.iter().for_each(|input| keep(input.as_ref()));
            keep(Some(&Reference::Shared(step.output)));
        }
        let parameters = tape.parameters.values().map(|(index, _)| index);
        parameters.chain(&tape.shared_with_gradient).for_each(|index| keep(Some(&Reference::Shared(*index))));
        for step in &tape.steps {
            shared_inputs(step).filter(|(input, _)| !step.kernel.keeps_copy(*input)).for_each(|(_, index)| kept[index] = true);
        }
        for step in tape.steps.iter().chain(&tape.shared_steps) {
            shared_inputs(step).for_each(|(_, index)| readers[index] += 1);
        }
        Sharing { there: vec![false; values.len()], values, kept, readers }
    }
}

/// The inputs that all samples share: which of the step's, and where it lies.
fn shared_inputs(step: &Step) -> impl Iterator<Item = (usize, usize)> {
    step.inputs.iter().enumerate().filter_map(|(input, reference)| match reference {
        Some(Reference::Shared(index)) => Some((input, *index)),
        _ => None,
    })
}
