//! The CPU engine: a graph compiled once into steps that run forward and backward, one sample at a time.
//!
//! A [`Tape`] holds what all samples share (weights, packed for the kernels); a [`Lane`] holds one sample's buffers.
//! Samples depend on each other only through sums that the caller makes in sample order, so results do not depend on
//! the number of threads.

mod compile;
mod fusion;
mod memory;
mod moves;
mod order;
mod plan;
mod shared;
mod slots;
mod statistics;
mod tuning;

use std::collections::HashMap;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::ops::operator::{BackwardCall, Gradient, Kernel, Layout};

pub use compile::needed_nodes;
#[cfg(feature = "candle")]
pub(super) use fusion::{Fusion, NormChain};
use memory::{FEW, Taken, Workspace, few_or_many, put_back, take, with_inputs};
pub use memory::{Lane, Lanes};
#[cfg(any(test, feature = "candle"))]
pub(crate) use moves::Move;
pub use order::in_memory_order;
pub use statistics::ChannelSums;
pub use tuning::Tuner;

/// What a tape is compiled for.
pub struct Request<'a> {
    /// Values that stay readable after [`Tape::forward`] and [`Tape::backward`].
    pub targets: &'a [ValueId],
    /// Values at which a gradient enters; readable until their own backward step.
    pub seeds: &'a [ValueId],
    /// Whether graph inputs get a gradient.
    pub input_gradients: bool,
    /// Constants that get a gradient and may change.
    pub parameters: &'a [ValueId],
    pub isa: Isa,
}

impl Request<'_> {
    pub(super) fn wanted(&self) -> Vec<ValueId> {
        let mut wanted: Vec<ValueId> = self.targets.iter().chain(self.seeds).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}

#[derive(Clone, Copy, Debug)]
enum Reference {
    Lane { slot: usize, len: usize },
    Shared(usize),
}

#[derive(Clone, Copy, Debug)]
enum GradientPlace {
    Lane { slot: usize, len: usize, accumulate: bool },
    Shared(usize),
}

struct Backward {
    /// Slot (or shared index) of the output's gradient.
    gradient: usize,
    /// Whether consumers have written before the seed enters.
    seed_accumulates: bool,
    inputs: Vec<Option<GradientPlace>>,
}

struct Step {
    name: String,
    kernel: Box<dyn Kernel>,
    inputs: Vec<Option<Reference>>,
    /// Slot, or shared index for shared steps.
    output: usize,
    len: usize,
    /// The output's seed number.
    seed: Option<usize>,
    /// Whether a shared input is, or comes from, a parameter.
    changes: bool,
    backward: Option<Backward>,
}

struct TapeInput {
    slot: usize,
    gradient: Option<usize>,
    layout: Layout,
    /// Memory offset of each row-major element.
    offsets: Vec<usize>,
    seed: Option<usize>,
}

/// A compiled graph.
pub struct Tape {
    steps: Vec<Step>,
    shared_steps: Vec<Step>,
    shared: Vec<Vec<f32>>,
    /// Shared values that get a gradient from lanes.
    shared_with_gradient: Vec<usize>,
    slot_sizes: Vec<usize>,
    /// The first slots belong to the lane, the others to whoever runs it.
    kept_slots: usize,
    workspaces: Mutex<Vec<Workspace>>,
    inputs: Vec<TapeInput>,
    readable: HashMap<ValueId, (Reference, Layout)>,
    parameters: HashMap<ValueId, (usize, Layout)>,
    scratch: usize,
    seed_values: Vec<ValueId>,
}

/// Gradients of shared values, summed over the samples of one group.
#[derive(Clone, Default)]
pub struct SharedGradients(HashMap<usize, Vec<f32>>);

/// Adds the gradient of the loss with respect to seed number `usize`, whose value is given, in memory order.
pub type Seed<'a> = dyn Fn(usize, &[f32], &mut Gradient<'_>) + Sync + 'a;

impl Tape {
    /// Compiles what `request` needs of `graph`, whose shapes must all be known.
    ///
    /// # Errors
    /// Every node that cannot be computed, all at once; or too little memory for one sample.
    pub fn compile(graph: &Graph, request: &Request<'_>) -> Result<Tape> {
        let (mut tape, values) = compile::compile(graph, request)?;
        tape.share(values)?;
        crate::memory::require(tape.lane_bytes(), "the activations of one sample")?;
        let first = tape.new_workspace();
        tape.put_workspace(first);
        Ok(tape)
    }

    /// Layout of a target or seed.
    pub fn layout(&self, value: ValueId) -> Option<&Layout> {
        self.readable.get(&value).map(|(_, layout)| layout)
    }

    /// Puts one sample's row-major elements into graph input `input`. Needed before every forward.
    pub fn load(&self, lane: &mut Lane, input: usize, elements: &[f32]) {
        let TapeInput { slot, offsets, .. } = &self.inputs[input];
        let memory = lane.slots[*slot].values_mut();
        for (element, offset) in elements.iter().zip(offsets) {
            memory[*offset] = *element;
        }
    }

    /// Elements of graph input `input`, in memory order, to be written before every forward.
    pub fn input_mut<'a>(&self, lane: &'a mut Lane, input: usize) -> &'a mut [f32] {
        let TapeInput { slot, offsets, .. } = &self.inputs[input];
        &mut lane.slots[*slot].values_mut()[..offsets.len()]
    }

    /// How graph input `input` and its gradient lie in memory.
    pub fn input_layout(&self, input: usize) -> &Layout {
        &self.inputs[input].layout
    }

    pub fn forward(&self, lane: &mut Lane) {
        self.forward_with(lane, &mut |_, _| {});
    }

    /// Calls `visit(seed number, elements)` for every seed as soon as it is computed.
    pub fn forward_with(&self, lane: &mut Lane, visit: &mut dyn FnMut(usize, &[f32])) {
        self.equipped(lane, |lane| self.run_forward(lane, visit));
    }

    fn run_forward(&self, lane: &mut Lane, visit: &mut dyn FnMut(usize, &[f32])) {
        let Lane { slots, scratch } = lane;
        for input in &self.inputs {
            if let Some(seed) = input.seed {
                visit(seed, &slots[input.slot].values()[..input.offsets.len()]);
            }
        }
        for step in &self.steps {
            let mut output = std::mem::take(&mut slots[step.output]);
            with_inputs(&step.inputs, slots, &self.shared, |inputs| {
                step.kernel.forward(inputs, &mut output.values_mut()[..step.len], scratch)
            });
            if let Some(seed) = step.seed {
                visit(seed, &output.values()[..step.len]);
            }
            slots[step.output] = output;
        }
    }

    /// A target's elements in memory order.
    ///
    /// # Errors
    /// If `value` is neither target nor seed.
    pub fn read<'a>(&'a self, lane: &'a Lane, value: ValueId) -> Result<&'a [f32]> {
        match self.readable.get(&value) {
            Some((Reference::Lane { slot, len }, _)) => Ok(&lane.slots[*slot].values()[..*len]),
            Some((Reference::Shared(index), _)) => Ok(&self.shared[*index]),
            None => Err(Error::Internal(format!("value {} was not asked for", value.0))),
        }
    }

    /// Empty gradients for the shared values, one for each group of samples.
    pub fn shared_gradients(&self) -> SharedGradients {
        SharedGradients(self.shared_with_gradient.iter().map(|index| (*index, vec![0.0; self.shared[*index].len()])).collect())
    }

    /// Runs backward through a lane that went forward, adding to `gradients`.
    pub fn backward(&self, lane: &mut Lane, gradients: &mut SharedGradients, seed: &Seed<'_>) {
        self.equipped(lane, |lane| self.run_backward(lane, gradients, seed));
    }

    fn run_backward(&self, lane: &mut Lane, gradients: &mut SharedGradients, seed: &Seed<'_>) {
        for step in self.steps.iter().rev() {
            let Some(backward) = &step.backward else { continue };
            if let Some(index) = step.seed {
                let mut memory = std::mem::take(&mut lane.slots[backward.gradient]);
                let mut gradient = Gradient { values: &mut memory.values_mut()[..step.len], accumulate: backward.seed_accumulates };
                seed(index, &lane.slots[step.output].values()[..step.len], &mut gradient);
                gradient.open();
                lane.slots[backward.gradient] = memory;
            }
            self.step_backward(step, backward, lane, gradients);
        }
        for input in &self.inputs {
            if let (Some(index), Some(slot)) = (input.seed, input.gradient) {
                let mut memory = std::mem::take(&mut lane.slots[slot]);
                let len = input.offsets.len();
                let mut gradient = Gradient { values: &mut memory.values_mut()[..len], accumulate: true };
                seed(index, &lane.slots[input.slot].values()[..len], &mut gradient);
                lane.slots[slot] = memory;
            }
        }
    }

    fn step_backward(&self, step: &Step, backward: &Backward, lane: &mut Lane, gradients: &mut SharedGradients) {
        let count = backward.inputs.len();
        let (mut few, mut many) = (std::array::from_fn::<_, FEW, _>(|_| Taken::Nothing), Vec::new());
        let taken = few_or_many(&mut few, &mut many, count, || Taken::Nothing);
        for (memory, place) in taken.iter_mut().zip(&backward.inputs) {
            *memory = take(place.as_ref(), &mut lane.slots, gradients);
        }
        let Lane { slots, scratch } = lane;
        let (mut few, mut many) = (std::array::from_fn::<_, FEW, _>(|_| None), Vec::new());
        let wanted = few_or_many(&mut few, &mut many, count, || None);
        for ((wanted, memory), place) in wanted.iter_mut().zip(taken.iter_mut()).zip(&backward.inputs) {
            *wanted = match (place, memory) {
                (Some(GradientPlace::Lane { len, accumulate, .. }), Taken::Lane(memory)) => {
                    Some(Gradient { values: &mut memory.values_mut()[..*len], accumulate: *accumulate })
                }
                (Some(GradientPlace::Shared(_)), Taken::Shared(memory)) => Some(Gradient { values: memory, accumulate: true }),
                _ => None,
            };
        }
        // What the kernel does not read may have been overwritten since.
        let inputs: &[Option<Reference>] = if step.kernel.backward_needs_inputs() { &step.inputs } else { &[] };
        let output: &[f32] = if step.kernel.backward_needs_output() { &slots[step.output].values()[..step.len] } else { &[] };
        with_inputs(inputs, slots, &self.shared, |inputs| {
            let output_gradient = &slots[backward.gradient].values()[..step.len];
            step.kernel.backward(BackwardCall { inputs, output, output_gradient, input_gradients: wanted, scratch });
        });
        for (place, memory) in backward.inputs.iter().zip(taken) {
            put_back(place.as_ref(), std::mem::replace(memory, Taken::Nothing), &mut lane.slots, gradients);
        }
    }

    /// Gradient of graph input `input` after [`Tape::backward`], in memory order; empty where none flows.
    pub fn input_gradient<'a>(&self, lane: &'a Lane, input: usize) -> &'a [f32] {
        let TapeInput { gradient, offsets, .. } = &self.inputs[input];
        gradient.map_or(&[], |slot| &lane.slots[slot].values()[..offsets.len()])
    }

    /// Gradients of the parameters, in the order of [`Tape::parameter`]'s elements, from the groups' gradients.
    pub fn parameter_gradients(&self, groups: &[SharedGradients]) -> HashMap<ValueId, Vec<f32>> {
        let mut total: Vec<Vec<f32>> = self.shared.iter().map(|_| Vec::new()).collect();
        for index in &self.shared_with_gradient {
            total[*index] = vec![0.0; self.shared[*index].len()];
            for group in groups {
                for (sum, g) in total[*index].iter_mut().zip(&group.0[index]) {
                    *sum += g;
                }
            }
        }
        let mut scratch = vec![0.0; self.scratch];
        for step in self.shared_steps.iter().rev() {
            self.shared_step_backward(step, &mut total, &mut scratch);
        }
        self.parameters.iter().map(|(value, (index, _))| (*value, std::mem::take(&mut total[*index]))).collect()
    }

    fn shared_step_backward(&self, step: &Step, total: &mut [Vec<f32>], scratch: &mut [f32]) {
        let Some(backward) = &step.backward else { return };
        let gradient = std::mem::take(&mut total[step.output]);
        if gradient.is_empty() {
            return;
        }
        let mut taken: Vec<Option<Vec<f32>>> = Vec::with_capacity(backward.inputs.len());
        for place in &backward.inputs {
            taken.push(place.map(|place| {
                let GradientPlace::Shared(index) = place else { return Vec::new() };
                let mut memory = std::mem::take(&mut total[index]);
                memory.resize(self.shared[index].len(), 0.0);
                memory
            }));
        }
        let wanted = taken.iter_mut().map(|memory| memory.as_mut().map(|values| Gradient { values, accumulate: true }));
        let mut wanted: Vec<Option<Gradient<'_>>> = wanted.collect();
        with_inputs(&step.inputs, &[], &self.shared, |inputs| {
            let output = &self.shared[step.output];
            step.kernel.backward(BackwardCall { inputs, output, output_gradient: &gradient, input_gradients: &mut wanted, scratch });
        });
        drop(wanted);
        for (place, memory) in backward.inputs.iter().zip(taken) {
            if let (Some(GradientPlace::Shared(index)), Some(memory)) = (place, memory) {
                total[*index] = memory;
            }
        }
    }

    /// The values given as seeds, in the order of the seed numbers.
    pub fn seeds(&self) -> &[ValueId] {
        &self.seed_values
    }

    /// Names of the steps in execution order, for profiles.
    pub fn step_names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.name.as_str())
    }
}
