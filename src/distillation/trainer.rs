//! Steps of a student toward its teacher.

use std::collections::HashMap;

use rayon::prelude::*;

use super::pairs::Pair;
use super::parameters::{Parameters, Snapshot};
use super::{Config, Lesson};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::execution::tape::{Lane, Request, SharedGradients, Tape};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::ops::operator::{Gradient, Layout};
use crate::passes::single_sample;
use crate::random::Random;
use crate::synthesis::input::{Augmentation, Input};

/// Groups of samples whose gradients are summed apart and then in order: part of the result, not of the machine.
const GROUPS: usize = 8;

/// A student and its teacher, compiled, with what is tuned of the student.
pub struct Trainer {
    teacher: Tape,
    student: Tape,
    pairs: Vec<Pair>,
    parameters: Parameters,
    /// The state of all QuantizationDrops.
    drop_state: Option<ValueId>,
    batch: usize,
    isa: Isa,
    groups: Vec<Group>,
    inputs: Vec<Input>,
    /// Where each element of a tape's input comes from in a row-major sample, per input: as it is, and augmented.
    plain: Vec<Vec<u32>>,
    views: Vec<Vec<u32>>,
    random: Random,
    /// Samples that are still to be seen before all have been.
    order: Vec<usize>,
}

/// What a trainer works toward.
pub struct Goal {
    pub pairs: Vec<Pair>,
    pub drop_state: Option<ValueId>,
    pub stream: u64,
}

struct Group {
    teacher: Lane,
    student: Lane,
    gradients: SharedGradients,
    loss: f64,
}

impl Trainer {
    /// Brings `graph` nearer to the teacher at `pairs` by tuning what the student names. `stream` sets the randomness apart.
    pub fn new(lesson: Lesson<'_>, graph: &Graph, goal: Goal, config: &Config) -> Result<Self> {
        let Lesson { teacher, student, inputs, .. } = lesson;
        let Goal { pairs, drop_state, stream } = goal;
        let isa = config.execution.isa;
        let targets: Vec<ValueId> = pairs.iter().map(|pair| pair.teacher).collect();
        let request = Request { targets: &targets, seeds: &[], input_gradients: false, parameters: &[], isa };
        let teacher = Tape::compile(&single_sample(teacher)?, &request)?;
        let seeds: Vec<ValueId> = pairs.iter().map(|pair| pair.student).collect();
        let mut values = Parameters::values(student);
        values.extend(drop_state);
        let request = Request { targets: &[], seeds: &seeds, input_gradients: false, parameters: &values, isa };
        let tape = Tape::compile(&single_sample(graph)?, &request)?;
        let parameters = Parameters::new(&tape, graph, student, config.rates);
        let group = |_| Group { teacher: teacher.lane(), student: tape.lane(), gradients: tape.shared_gradients(), loss: 0.0 };
        let groups = (0..GROUPS.min(config.batch)).map(group).collect();
        let plain = inputs.iter().enumerate().map(|(index, input)| {
            let mut view = vec![0; input.len()];
            input.view(Augmentation::default(), &Layout::row_major(&input.shape), tape.input_layout(index), &mut view);
            view
        });
        let plain: Vec<Vec<u32>> = plain.collect();
        let (inputs, views) = (inputs.to_vec(), plain.clone());
        let (batch, random, order) = (config.batch, Random::new(config.seed, stream), Vec::new());
        Ok(Trainer { teacher, student: tape, pairs, parameters, drop_state, batch, isa, groups, inputs, plain, views, random, order })
    }

    /// One step on the next samples of `set`; returns their mean loss.
    pub fn step(&mut self, set: &CalibrationSet, moment: Moment) -> f64 {
        if self.order.len() < self.batch {
            self.order = self.random.permutation(set.len());
        }
        let batch = self.order.split_off(self.order.len().saturating_sub(self.batch));
        let random = &mut self.random;
        let augmentation = Augmentation { flip: random.below(2) == 1, shift: (random.below(5) as isize - 2, random.below(5) as isize - 2) };
        let state = random.below(1 << 20) as f32;
        self.set_drop_state(state);
        self.step_on(set, &batch, augmentation, moment)
    }

    fn set_drop_state(&mut self, state: f32) {
        if let Some(value) = self.drop_state {
            if let Some(memory) = self.student.parameter_mut(value) {
                memory.fill(state);
            }
            self.student.refresh();
        }
    }

    fn step_on(&mut self, set: &CalibrationSet, batch: &[usize], augmentation: Augmentation, moment: Moment) -> f64 {
        let share = batch.len().div_ceil(self.groups.len());
        for (index, (input, view)) in self.inputs.iter().zip(&mut self.views).enumerate() {
            input.view(augmentation, &Layout::row_major(&input.shape), self.student.input_layout(index), view);
        }
        let (teacher, student, pairs, views) = (&self.teacher, &self.student, &self.pairs, &self.views);
        self.groups.par_iter_mut().zip(batch.par_chunks(share)).for_each(|(group, samples)| {
            group.gradients = student.shared_gradients();
            group.loss = 0.0;
            for sample in samples {
                group.load(teacher, student, set, *sample, views);
                group.run(teacher, student, pairs, Some(1.0 / batch.len() as f64));
            }
        });
        let used = batch.len().div_ceil(share);
        let gradients: Vec<SharedGradients> = self.groups[..used].iter_mut().map(|group| std::mem::take(&mut group.gradients)).collect();
        let mut gradients: HashMap<ValueId, Vec<f32>> = student.parameter_gradients(&gradients);
        self.parameters.step(&mut self.student, &mut gradients, moment, self.isa);
        self.groups[..used].iter().map(|group| group.loss).sum::<f64>() / batch.len() as f64
    }

    /// Mean loss over all of `set`, with nothing left out.
    pub fn loss(&mut self, set: &CalibrationSet) -> f64 {
        self.set_drop_state(-1.0);
        let samples: Vec<usize> = (0..set.len()).collect();
        let share = samples.len().div_ceil(self.groups.len());
        let (teacher, student, pairs, views) = (&self.teacher, &self.student, &self.pairs, &self.plain);
        self.groups.iter_mut().for_each(|group| group.loss = 0.0);
        self.groups.par_iter_mut().zip(samples.par_chunks(share)).for_each(|(group, samples)| {
            for sample in samples {
                group.load(teacher, student, set, *sample, views);
                group.run(teacher, student, pairs, None);
            }
        });
        self.groups.iter().map(|group| group.loss).sum::<f64>() / set.len() as f64
    }

    pub fn snapshot(&self) -> Snapshot {
        self.parameters.snapshot(&self.student)
    }

    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.parameters.restore(&mut self.student, snapshot);
    }

    /// Rounds what is rounded softly to the nearer level.
    pub fn harden(&mut self) {
        self.parameters.harden(&mut self.student);
    }

    /// Writes what was tuned into the constants of `graph`.
    pub fn store(&self, graph: &mut Graph) {
        self.parameters.store(&self.student, graph);
    }
}

impl Group {
    fn load(&mut self, teacher: &Tape, student: &Tape, set: &CalibrationSet, sample: usize, views: &[Vec<u32>]) {
        for (index, view) in views.iter().enumerate() {
            let elements = set.inputs[index].sample(sample);
            for memory in [teacher.input_mut(&mut self.teacher, index), student.input_mut(&mut self.student, index)] {
                memory.iter_mut().zip(view).for_each(|(to, from)| *to = elements[*from as usize]);
            }
        }
    }

    /// Runs the loaded sample through both; backward too if `weight`, its share of the batch, is given.
    fn run(&mut self, teacher: &Tape, student: &Tape, pairs: &[Pair], weight: Option<f64>) {
        teacher.forward(&mut self.teacher);
        student.forward(&mut self.student);
        let lane = &self.teacher;
        let wanted = |pair: &Pair| teacher.read(lane, pair.teacher).unwrap_or_default();
        let Some(weight) = weight else {
            for pair in pairs {
                let found = student.read(&self.student, pair.student).unwrap_or_default();
                self.loss += pair.share * squared_error(found, wanted(pair)) / pair.energy;
            }
            return;
        };
        let losses: Vec<std::sync::atomic::AtomicU64> = pairs.iter().map(|_| 0.into()).collect();
        let seed = |index: usize, found: &[f32], gradient: &mut Gradient<'_>| {
            let pair = &pairs[index];
            let wanted = wanted(pair);
            let loss = pair.share * squared_error(found, wanted) / pair.energy;
            losses[index].store(loss.to_bits(), std::sync::atomic::Ordering::Relaxed);
            let factor = (2.0 * weight * pair.share / pair.energy) as f32;
            for ((target, found), wanted) in gradient.open().iter_mut().zip(found).zip(wanted) {
                *target += factor * (found - wanted);
            }
        };
        student.backward(&mut self.student, &mut self.gradients, &seed);
        self.loss += losses.iter().map(|loss| f64::from_bits(loss.load(std::sync::atomic::Ordering::Relaxed))).sum::<f64>();
    }
}

fn squared_error(found: &[f32], wanted: &[f32]) -> f64 {
    let chunks = found.chunks(256).zip(wanted.chunks(256));
    chunks.map(|(found, wanted)| f64::from(found.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>())).sum()
}
