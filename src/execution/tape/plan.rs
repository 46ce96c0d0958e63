//! Steps in, tape out: when each buffer lives, which slot it takes, and where every gradient goes.

use std::collections::HashMap;
use std::sync::Mutex;

use super::shared::SharedValue;
use super::slots::{Lifetime, Slots};
use super::{Backward, GradientPlace, Reference, Request, Step, Tape, TapeInput};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::operator::{Kernel, Layout};

/// Where a value lives: in every lane, or once for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Lane(usize),
    Shared(usize),
}

pub(super) struct DraftStep {
    pub name: String,
    pub kernel: Box<dyn Kernel>,
    /// Place and length of each input.
    pub inputs: Vec<Option<(Place, usize)>>,
    /// Which inputs need a gradient.
    pub wanted: Vec<bool>,
}

/// A lane value: its length and the step that makes it.
struct LaneValue {
    len: usize,
    producer: Option<usize>,
}

#[derive(Default)]
pub(super) struct Draft {
    pub inputs: Vec<(usize, Layout)>,
    pub parameters: HashMap<ValueId, (Place, Layout)>,
    lane_values: Vec<LaneValue>,
    shared: Vec<SharedValue>,
    steps: Vec<(DraftStep, usize)>,
    shared_steps: Vec<(DraftStep, usize)>,
}

impl Draft {
    pub fn add_lane_value(&mut self, len: usize, producer: Option<usize>) -> usize {
        self.lane_values.push(LaneValue { len, producer });
        self.lane_values.len() - 1
    }

    pub fn add_shared(&mut self, value: SharedValue) -> usize {
        self.shared.push(value);
        self.shared.len() - 1
    }

    pub fn add_step(&mut self, step: DraftStep, len: usize, shared: bool) -> Place {
        if shared {
            let output = self.add_shared(SharedValue::Computed { len, step: self.shared_steps.len() });
            self.shared_steps.push((step, output));
            return Place::Shared(output);
        }
        let output = self.add_lane_value(len, Some(self.steps.len()));
        self.steps.push((step, output));
        Place::Lane(output)
    }

    pub fn finish(self, request: &Request<'_>, readable: HashMap<ValueId, (Place, Layout)>) -> Result<(Tape, Vec<SharedValue>)> {
        let seeds: Vec<usize> = request.seeds.iter().filter_map(|value| lane_of(readable.get(value)?.0)).collect();
        let targets: Vec<usize> = request.targets.iter().filter_map(|value| lane_of(readable.get(value)?.0)).collect();
        let flow = Flow::trace(&self, &seeds);
        let lifetimes = lifetimes(&self, &flow, &seeds, &targets, request.input_gradients);
        let (pass, end) = (self.steps.len(), 2 * self.steps.len() + 2);
        let slots = Slots::assign(&lifetimes, |life| life.born == 0 || life.last >= end || (life.born <= pass && life.last > pass));
        let slot_of = &slots.of;
        let value_count = self.lane_values.len();
        let resolver = Resolver { slot_of, value_count, lane_values: &self.lane_values };
        let inputs = self.inputs.iter().map(|(value, layout)| TapeInput {
            slot: slot_of[*value],
            gradient: (request.input_gradients && flow.first_write[*value].is_some()).then(|| slot_of[value_count + value]),
            offsets: layout.offsets(),
            layout: layout.clone(),
            seed: seeds.iter().position(|seed| seed == value),
        });
        let inputs = inputs.collect();
        let readable = readable.into_iter().map(|(value, (place, layout))| {
            let len = layout.len();
            (value, (resolver.reference((place, len)), layout))
        });
        let readable = readable.collect();
        let parameters = self.parameters.iter().filter_map(|(value, (place, layout))| match place {
            Place::Shared(index) => Some((*value, (*index, layout.clone()))),
            Place::Lane(_) => None,
        });
        let parameters = parameters.collect();
        let scratch = self.steps.iter().chain(&self.shared_steps).map(|(step, _)| step.kernel.scratch()).max().unwrap_or(0);
        let mut steps = Vec::new();
        for ((step, output), backward) in self.steps.into_iter().zip(flow.backward) {
            let backward = backward.map(|draft| Backward {
                gradient: slot_of[value_count + output],
                seed_accumulates: draft.consumers_wrote,
                inputs: draft.inputs.iter().map(|place| place.map(|(place, accumulate)| resolver.gradient(place, accumulate))).collect(),
            });
            let seed = seeds.iter().position(|seed| *seed == output);
            let len = self.lane_values[output].len;
            steps.push(Step { seed, ..resolver.step(step, slot_of[output], len, backward) });
        }
        let shared_steps = self.shared_steps.into_iter().map(|(step, output)| {
            let inputs = step.inputs.iter().zip(&step.wanted).map(|(input, wanted)| match input {
                Some((Place::Shared(index), _)) if *wanted => Some(GradientPlace::Shared(*index)),
                _ => None,
            });
            let backward =
                step.wanted.contains(&true).then(|| Backward { gradient: output, seed_accumulates: true, inputs: inputs.collect() });
            resolver.step(step, output, 0, backward)
        });
        let shared_steps = shared_steps.collect();
        let mut shared_with_gradient = flow.shared;
        shared_with_gradient.sort_unstable();
        let tape = Tape {
            steps,
            shared_steps,
            shared: self.shared.iter().map(|_| Vec::new()).collect(),
            shared_with_gradient,
            workspaces: Mutex::default(),
            kept_slots: slots.kept,
            slot_sizes: slots.sizes,
            inputs,
            readable,
            parameters,
            scratch,
            seed_values: request.seeds.to_vec(),
        };
        Ok((tape, self.shared))
    }
}

fn lane_of(place: Place) -> Option<usize> {
    match place {
        Place::Lane(value) => Some(value),
        Place::Shared(_) => None,
    }
}

struct DraftBackward {
    /// Place of each wanted input gradient, and whether something was written there before.
    inputs: Vec<Option<(Place, bool)>>,
    /// Whether consumers wrote the output's gradient before a seed is added.
    consumers_wrote: bool,
}

/// Where gradients flow, and when each value's gradient is first written.
struct Flow {
    backward: Vec<Option<DraftBackward>>,
    /// Per lane value, in backward time.
    first_write: Vec<Option<usize>>,
    shared: Vec<usize>,
}

impl Flow {
    fn trace(draft: &Draft, seeds: &[usize]) -> Flow {
        let count = draft.steps.len();
        let mut flow =
            Flow { backward: (0..count).map(|_| None).collect(), first_write: vec![None; draft.lane_values.len()], shared: vec![] };
        for (index, (step, output)) in draft.steps.iter().enumerate().rev() {
            let time = 2 * count - 1 - index;
            let consumers_wrote = flow.first_write[*output].is_some();
            let reached = consumers_wrote || seeds.contains(output);
            if !reached || !step.wanted.contains(&true) {
                continue;
            }
            flow.first_write[*output].get_or_insert(time);
            let inputs = step.inputs.iter().zip(&step.wanted).map(|(input, wanted)| {
                let (place, _) = (*input)?;
                wanted.then(|| (place, flow.touch(place, time)))
            });
            let inputs = inputs.collect();
            flow.backward[index] = Some(DraftBackward { inputs, consumers_wrote });
        }
        for seed in seeds.iter().filter(|seed| draft.lane_values[**seed].producer.is_none()) {
            flow.first_write[*seed].get_or_insert(2 * count);
        }
        flow
    }

    /// Notes a write at `time`; true if something was written before.
    fn touch(&mut self, place: Place, time: usize) -> bool {
        match place {
            Place::Shared(index) => {
                if !self.shared.contains(&index) {
                    self.shared.push(index);
                }
                true
            }
            Place::Lane(value) => {
                let before = self.first_write[value].is_some();
                self.first_write[value].get_or_insert(time);
                before
            }
        }
    }
}

/// Lifetimes of all lane values, then of all their gradients.
fn lifetimes(draft: &Draft, flow: &Flow, seeds: &[usize], targets: &[usize], input_gradients: bool) -> Vec<Lifetime> {
    let count = draft.steps.len();
    let end = 2 * count + 1;
    let backward_time = |producer: Option<usize>| producer.map_or(2 * count, |index| 2 * count - 1 - index);
    let born = |value: &LaneValue| value.producer.map_or(0, |index| index + 1);
    let mut values: Vec<Lifetime> =
        draft.lane_values.iter().map(|value| Lifetime { len: value.len, born: born(value), last: born(value) }).collect();
    for (index, (step, output)) in draft.steps.iter().enumerate() {
        let differentiated = flow.backward[index].is_some();
        let keep_inputs = differentiated && step.kernel.backward_needs_inputs();
        for (place, _) in step.inputs.iter().flatten() {
            if let Place::Lane(value) = place {
                let last = if keep_inputs { shift(backward_time(Some(index))) } else { index + 1 };
                values[*value].last = values[*value].last.max(last);
            }
        }
        if differentiated && step.kernel.backward_needs_output() {
            values[*output].last = values[*output].last.max(shift(backward_time(Some(index))));
        }
    }
    for seed in seeds {
        values[*seed].last = values[*seed].last.max(shift(backward_time(draft.lane_values[*seed].producer)));
    }
    for target in targets {
        values[*target].last = end + 1;
    }
    for (input, _) in &draft.inputs {
        values[*input].born = 0;
    }
    let gradients = draft.lane_values.iter().zip(&flow.first_write).map(|(value, first)| match first {
        None => Lifetime { len: 0, born: 0, last: 0 },
        Some(first) => {
            let last = if value.producer.is_none() && input_gradients { end } else { backward_time(value.producer) };
            Lifetime { len: value.len, born: shift(*first), last: shift(last) }
        }
    });
    let gradients: Vec<Lifetime> = gradients.collect();
    values.extend(gradients);
    values
}

/// Forward steps take times 1..=count (inputs are there at 0), backward steps follow.
fn shift(backward_time: usize) -> usize {
    backward_time + 1
}

struct Resolver<'a> {
    slot_of: &'a [usize],
    value_count: usize,
    lane_values: &'a [LaneValue],
}

impl Resolver<'_> {
    fn reference(&self, (place, len): (Place, usize)) -> Reference {
        match place {
            Place::Lane(value) => Reference::Lane { slot: self.slot_of[value], len },
            Place::Shared(index) => Reference::Shared(index),
        }
    }

    fn gradient(&self, place: Place, accumulate: bool) -> GradientPlace {
        match place {
            Place::Lane(value) => {
                GradientPlace::Lane { slot: self.slot_of[self.value_count + value], len: self.lane_values[value].len, accumulate }
            }
            Place::Shared(index) => GradientPlace::Shared(index),
        }
    }

    fn step(&self, step: DraftStep, output: usize, len: usize, backward: Option<Backward>) -> Step {
        let inputs = step.inputs.iter().map(|input| input.map(|input| self.reference(input))).collect();
        let changes = step.inputs.iter().zip(&step.wanted).any(|(input, wanted)| *wanted && matches!(input, Some((Place::Shared(_), _))));
        Step { name: step.name, kernel: step.kernel, inputs, output, len, seed: None, changes, backward }
    }
}
