//! Steps of a student toward its teacher.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::pairs::Pair;
use super::parameters::{Parameters, Snapshot};
use super::sampling::{Sampler, Source, View};
use super::{Config, Lesson};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::execution::tape::{Lane, Request, SharedGradients, Tape};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::ops::operator::Gradient;
use crate::passes::single_sample;
use crate::random::Random;

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
    isa: Isa,
    groups: Vec<Group>,
    sources: Vec<Source>,
    sampler: Sampler,
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
    places: Vec<u32>,
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
        let group =
            |_| Group { teacher: teacher.lane(), student: tape.lane(), gradients: tape.shared_gradients(), loss: 0.0, places: Vec::new() };
        let groups = (0..GROUPS.min(config.batch)).map(group).collect();
        let sampler = Sampler::new(Random::new(config.seed, stream), config.batch, config.mixup);
        Ok(Trainer {
            teacher,
            student: tape,
            pairs,
            parameters,
            drop_state,
            isa,
            groups,
            sources: inputs.iter().map(Source::new).collect(),
            sampler,
        })
    }

    /// One step on the next samples of `set`; returns their mean loss.
    pub fn step(&mut self, set: &CalibrationSet, moment: Moment) -> f64 {
        let batch = self.sampler.next(set);
        let state = self.sampler.state();
        self.set_drop_state(state);
        self.step_on(set, &batch, moment)
    }

    fn set_drop_state(&mut self, state: f32) {
        if let Some(value) = self.drop_state {
            if let Some(memory) = self.student.parameter_mut(value) {
                memory.fill(state);
            }
            self.student.refresh();
        }
    }

    fn step_on(&mut self, set: &CalibrationSet, batch: &[View], moment: Moment) -> f64 {
        let share = batch.len().div_ceil(self.groups.len());
        let (teacher, student, pairs, sources) = (&self.teacher, &self.student, &self.pairs, &self.sources);
        self.groups.par_iter_mut().zip(batch.par_chunks(share)).for_each(|(group, samples)| {
            group.gradients = student.shared_gradients();
            group.loss = 0.0;
            for view in samples {
                group.load(teacher, student, set, view, sources);
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
        let (teacher, student, pairs, sources) = (&self.teacher, &self.student, &self.pairs, &self.sources);
        self.groups.iter_mut().for_each(|group| group.loss = 0.0);
        self.groups.par_iter_mut().zip(samples.par_chunks(share)).for_each(|(group, samples)| {
            for sample in samples {
                group.load(teacher, student, set, &View::plain(*sample), sources);
                group.run(teacher, student, pairs, None);
            }
        });
        self.groups.iter().map(|group| group.loss).sum::<f64>() / set.len() as f64
    }

    /// Uses this part of the rates from now on.
    pub fn set_pace(&mut self, pace: f32) {
        self.parameters.pace = pace;
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
    fn load(&mut self, teacher: &Tape, student: &Tape, set: &CalibrationSet, view: &View, sources: &[Source]) {
        for (index, (source, samples)) in sources.iter().zip(&set.inputs).enumerate() {
            let memory = student.input_mut(&mut self.student, index);
            view.load(samples, source, student.input_layout(index), &mut self.places, memory);
            teacher.input_mut(&mut self.teacher, index).copy_from_slice(memory);
        }
    }

    /// Runs the loaded sample through both; backward too if `weight`, its share of the batch, is given.
    fn run(&mut self, teacher: &Tape, student: &Tape, pairs: &[Pair], weight: Option<f64>) {
        teacher.forward(&mut self.teacher);
        student.forward(&mut self.student);
        let lane = &self.teacher;
        let wanted = |pair: &Pair| teacher.read(lane, pair.teacher).unwrap_or_default();
        let Some(weight) = weight else {
            let found = |pair: &Pair| student.read(&self.student, pair.student).unwrap_or_default();
            self.loss += pairs.iter().map(|pair| pair.loss(found(pair), wanted(pair))).sum::<f64>();
            return;
        };
        let losses: Vec<AtomicU64> = pairs.iter().map(|_| 0.into()).collect();
        let seed = |index: usize, found: &[f32], gradient: &mut Gradient<'_>| {
            let pair = &pairs[index];
            losses[index].store(pair.loss(found, wanted(pair)).to_bits(), Ordering::Relaxed);
            pair.add_gradient(weight, found, wanted(pair), gradient.open());
        };
        student.backward(&mut self.student, &mut self.gradients, &seed);
        self.loss += losses.iter().map(|loss| f64::from_bits(loss.load(Ordering::Relaxed))).sum::<f64>();
    }
}
