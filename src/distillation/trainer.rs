//! Steps of a student toward its teacher.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::pairs::Pair;
use super::parameters::{Parameters, Snapshot};
use super::sampling::{Dealt, Sampler, Source, View};
use super::{Config, Lesson};
use crate::calibration::CalibrationSet;
use crate::emit::Student;
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, Moment};
use crate::execution::tape::{Lane, Request, SharedGradients, Tape};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::memory;
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
    crew: Crew,
    sources: Vec<Source>,
    sampler: Sampler,
}

/// Where a trainer stands.
#[derive(Serialize, Deserialize)]
pub struct TrainerState {
    parameters: Snapshot,
    optimizers: Vec<Adam>,
    dealt: Dealt,
}

/// What a trainer works toward.
pub struct Goal {
    pub pairs: Vec<Pair>,
    pub drop_state: Option<ValueId>,
    pub stream: u64,
}

/// Buffers of one sample in both graphs.
struct LanePair {
    teacher: Lane,
    student: Lane,
    places: Vec<u32>,
}

/// What one group of samples adds up to.
#[derive(Default)]
struct Group {
    gradients: SharedGradients,
    loss: f64,
}

/// Groups, and the lanes of those that work at once. Which lanes a group has makes no difference.
struct Crew {
    groups: Vec<Group>,
    lanes: Vec<LanePair>,
}

impl Crew {
    /// As many groups at once as there is memory for.
    fn new(teacher: &Tape, student: &Tape, groups: usize) -> Result<Self> {
        let bytes = teacher.lane_bytes() + student.lane_bytes();
        let at_once = memory::fit(bytes, groups.min(rayon::current_num_threads()), "the activations of one sample to tune on")?;
        let lanes = |_| LanePair { teacher: teacher.lane(), student: student.lane(), places: Vec::new() };
        let groups = std::iter::repeat_with(Group::default).take(groups).collect();
        Ok(Crew { groups, lanes: (0..at_once).map(lanes).collect() })
    }

    /// Lets every group do `work` on its share of `samples`; returns the groups that had one.
    fn share_out<T: Sync>(
        &mut self,
        samples: &[T],
        work: impl Fn(&mut Group, &mut LanePair, &[T]) -> Result<()> + Sync,
    ) -> Result<&mut [Group]> {
        let (share, at_once) = (samples.len().div_ceil(self.groups.len()).max(1), self.lanes.len());
        for (groups, samples) in self.groups.chunks_mut(at_once).zip(samples.chunks(share * at_once)) {
            let pairs = groups.par_iter_mut().zip(self.lanes.par_iter_mut());
            pairs.zip(samples.par_chunks(share)).try_for_each(|((group, lanes), samples)| work(group, lanes, samples))?;
        }
        Ok(&mut self.groups[..samples.len().div_ceil(share)])
    }
}

impl Trainer {
    /// Brings `graph` nearer to the teacher at `pairs` by tuning what the student names. `stream` sets the randomness apart.
    pub fn new(lesson: Lesson<'_>, graph: &Graph, goal: Goal, config: &Config) -> Result<Self> {
        let Lesson { teacher, student, inputs, .. } = lesson;
        require_memory(graph, student)?;
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
        let crew = Crew::new(&teacher, &tape, GROUPS.min(config.batch))?;
        let sampler = Sampler::new(Random::new(config.seed, stream), config.batch, config.mixup);
        Ok(Trainer {
            teacher,
            student: tape,
            pairs,
            parameters,
            drop_state,
            isa,
            crew,
            sources: inputs.iter().map(Source::new).collect(),
            sampler,
        })
    }

    /// One step on the next samples of `set`; returns their mean loss.
    ///
    /// # Errors
    /// If a sample cannot be read back.
    pub fn step(&mut self, set: &CalibrationSet, moment: Moment) -> Result<f64> {
        let batch = self.sampler.next(set);
        let mark = self.sampler.mark();
        self.set_drop_state(mark);
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

    fn step_on(&mut self, set: &CalibrationSet, batch: &[View], moment: Moment) -> Result<f64> {
        let (teacher, student, pairs, sources) = (&self.teacher, &self.student, &self.pairs, &self.sources);
        let groups = self.crew.share_out(batch, |group, lanes, samples| {
            *group = Group { gradients: student.shared_gradients(), loss: 0.0 };
            samples.iter().try_for_each(|view| {
                lanes.load(teacher, student, set, view, sources)?;
                lanes.run_both_ways(teacher, student, pairs, 1.0 / batch.len() as f64, group);
                Ok(())
            })
        })?;
        let loss = groups.iter().map(|group| group.loss).sum::<f64>() / batch.len() as f64;
        let gradients: Vec<SharedGradients> = groups.iter_mut().map(|group| std::mem::take(&mut group.gradients)).collect();
        let mut gradients: HashMap<ValueId, Vec<f32>> = student.parameter_gradients(&gradients);
        self.parameters.step(&mut self.student, &mut gradients, moment, self.isa);
        Ok(loss)
    }

    /// Mean loss over all of `set`, with nothing left out.
    ///
    /// # Errors
    /// If a sample cannot be read back.
    pub fn loss(&mut self, set: &CalibrationSet) -> Result<f64> {
        self.set_drop_state(-1.0);
        let samples: Vec<usize> = (0..set.len()).collect();
        let (teacher, student, pairs, sources) = (&self.teacher, &self.student, &self.pairs, &self.sources);
        let groups = self.crew.share_out(&samples, |group, lanes, samples| {
            group.loss = 0.0;
            samples.iter().try_for_each(|sample| {
                lanes.load(teacher, student, set, &View::plain(*sample), sources)?;
                group.loss += lanes.loss(teacher, student, pairs);
                Ok(())
            })
        })?;
        Ok(groups.iter().map(|group| group.loss).sum::<f64>() / set.len() as f64)
    }

    /// All that steps change, for [`Trainer::go_on_from`].
    pub fn state(&self) -> TrainerState {
        TrainerState { parameters: self.snapshot(), optimizers: self.parameters.optimizers(), dealt: self.sampler.state() }
    }

    /// # Errors
    /// If `state` is not one of a trainer like this.
    pub fn go_on_from(&mut self, state: TrainerState) -> Result<()> {
        self.check(&state.parameters)?;
        self.restore(&state.parameters);
        self.parameters.restore_optimizers(state.optimizers);
        self.sampler.restore(state.dealt);
        Ok(())
    }

    /// Uses this part of the rates from now on.
    pub fn set_pace(&mut self, pace: f32) {
        self.parameters.pace = pace;
    }

    pub fn snapshot(&self) -> Snapshot {
        self.parameters.snapshot(&self.student)
    }

    /// # Errors
    /// If `snapshot`, which an earlier run kept, is of other parameters.
    pub fn check(&self, snapshot: &Snapshot) -> Result<()> {
        match snapshot.iter().map(Vec::len).eq(self.snapshot().iter().map(Vec::len)) {
            true => Ok(()),
            false => Err(Error::Internal("a state that was kept is of other parameters".into())),
        }
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

/// Copies of a tuned weight beside the gradients of the groups: as it is and as it is read, packed twice, moments, units, the
/// best so far.
const COPIES: u64 = 10;

/// # Errors
/// If there is no memory to tune the weights of `student` in.
fn require_memory(graph: &Graph, student: &Student) -> Result<()> {
    let elements = student.weights.iter().filter_map(|weight| graph.constant(weight.value)).map(|tensor| tensor.len() as u64).sum::<u64>();
    memory::require(elements * size_of::<f32>() as u64 * (COPIES + GROUPS as u64), &format!("tuning {elements} weights"))
}

impl LanePair {
    fn load(&mut self, teacher: &Tape, student: &Tape, set: &CalibrationSet, view: &View, sources: &[Source]) -> Result<()> {
        for (index, (source, samples)) in sources.iter().zip(&set.inputs).enumerate() {
            let memory = student.input_mut(&mut self.student, index);
            view.load(samples, source, student.input_layout(index), &mut self.places, memory)?;
            teacher.input_mut(&mut self.teacher, index).copy_from_slice(memory);
        }
        Ok(())
    }

    /// Runs the loaded sample through both; returns its loss.
    fn loss(&mut self, teacher: &Tape, student: &Tape, pairs: &[Pair]) -> f64 {
        teacher.forward(&mut self.teacher);
        student.forward(&mut self.student);
        let wanted = |pair: &Pair| teacher.read(&self.teacher, pair.teacher).unwrap_or_default();
        let found = |pair: &Pair| student.read(&self.student, pair.student).unwrap_or_default();
        pairs.iter().map(|pair| pair.loss(found(pair), wanted(pair))).sum()
    }

    /// Runs the loaded sample through both, and back through the student; adds its loss and gradients, of which `weight` is
    /// its share of the batch, to those of its group.
    fn run_both_ways(&mut self, teacher: &Tape, student: &Tape, pairs: &[Pair], weight: f64, group: &mut Group) {
        teacher.forward(&mut self.teacher);
        student.forward(&mut self.student);
        let wanted = |pair: &Pair| teacher.read(&self.teacher, pair.teacher).unwrap_or_default();
        let losses: Vec<AtomicU64> = pairs.iter().map(|_| 0.into()).collect();
        let seed = |index: usize, found: &[f32], gradient: &mut Gradient<'_>| {
            let pair = &pairs[index];
            losses[index].store(pair.loss(found, wanted(pair)).to_bits(), Ordering::Relaxed);
            pair.add_gradient(weight, found, wanted(pair), gradient.open());
        };
        student.backward(&mut self.student, &mut group.gradients, &seed);
        group.loss += losses.iter().map(|loss| f64::from_bits(loss.load(Ordering::Relaxed))).sum::<f64>();
    }
}
