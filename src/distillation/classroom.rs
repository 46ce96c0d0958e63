//! A student and its teacher side by side, on the tape.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::pairs::Pair;
use super::sampling::{Source, View};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::adam::Adam;
use crate::execution::tape::{Lane, Request, SharedGradients, Tape, Tuner};
use crate::execution::{self, Device, Push, Tunable, Tuning};
use crate::graph::{Graph, ValueId};
use crate::memory;
use crate::ops::operator::Gradient;
use crate::progress::Progress;
use crate::synthesis::input::Input;

/// Groups of samples whose gradients are summed apart and then in order: part of the result, not of the machine.
pub const GROUPS: usize = 8;

/// The engine that both run on.
pub trait Classroom {
    fn student(&self) -> &dyn Tunable;

    fn student_mut(&mut self) -> &mut dyn Tunable;

    /// Lets [`Classroom::step`] move these.
    ///
    /// # Errors
    /// If the engine fails.
    fn tune(&mut self, tunings: Vec<Tuning>) -> Result<()>;

    /// The sum of the losses of `batch`; the gradients of their mean are kept for [`Classroom::step`].
    ///
    /// # Errors
    /// If a sample cannot be read back, or the engine fails.
    fn gradients(&mut self, set: &CalibrationSet, batch: &[View], pairs: &[Pair], progress: &dyn Progress) -> Result<f64>;

    /// Moves what is tuned against its gradient, with `factor` of its rate.
    ///
    /// # Errors
    /// If there are no gradients, or the engine fails.
    fn step(&mut self, factor: f32, push: Push) -> Result<()>;

    /// The states of the optimizers, for [`Classroom::restore_optimizers`].
    ///
    /// # Errors
    /// If the engine fails.
    fn optimizers(&self) -> Result<Vec<Adam>>;

    /// # Errors
    /// If they are those of other parameters, or the engine fails.
    fn restore_optimizers(&mut self, optimizers: Vec<Adam>) -> Result<()>;

    /// The sum of the losses of `samples`.
    ///
    /// # Errors
    /// If a sample cannot be read back, or the engine fails.
    fn loss(&mut self, set: &CalibrationSet, samples: &[View], pairs: &[Pair], progress: &dyn Progress) -> Result<f64>;
}

/// What a classroom is made for. Graphs are of one sample.
pub struct Setup<'a> {
    pub teacher: &'a Graph,
    pub student: &'a Graph,
    pub pairs: &'a [Pair],
    /// Constants of the student that may change.
    pub parameters: &'a [ValueId],
    pub inputs: &'a [Input],
    /// Samples in a step.
    pub batch: usize,
    pub execution: execution::Config,
}

impl Setup<'_> {
    /// # Errors
    /// If the engine that is asked for does not answer, or cannot compute a value of a pair.
    pub fn open(&self) -> Result<Box<dyn Classroom>> {
        match self.execution.device {
            Device::Cpu => Ok(Box::new(TapeClassroom::new(self)?)),
            #[cfg(feature = "candle")]
            _ => Ok(Box::new(super::tensor_classroom::TensorClassroom::new(self)?)),
            #[cfg(not(feature = "candle"))]
            device => Err(device.is_not_built()),
        }
    }

    /// Compiles teacher and student, each by `compile`.
    ///
    /// # Errors
    /// Those of `compile`.
    pub fn both<T>(&self, compile: impl Fn(&Graph, &Request<'_>) -> Result<T>) -> Result<(T, T)> {
        let isa = self.execution.isa;
        let targets: Vec<ValueId> = self.pairs.iter().map(|pair| pair.teacher).collect();
        let request = Request { targets: &targets, seeds: &[], input_gradients: false, parameters: &[], isa };
        let teacher = compile(self.teacher, &request)?;
        let seeds: Vec<ValueId> = self.pairs.iter().map(|pair| pair.student).collect();
        let request = Request { targets: &[], seeds: &seeds, input_gradients: false, parameters: self.parameters, isa };
        Ok((teacher, compile(self.student, &request)?))
    }

    pub fn sources(&self) -> Vec<Source> {
        self.inputs.iter().map(Source::new).collect()
    }
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

/// Both on the tape.
struct TapeClassroom {
    teacher: Tape,
    student: Tape,
    crew: Crew,
    sources: Vec<Source>,
    tuner: Tuner,
    /// Of the student's parameters, in memory order.
    gradients: HashMap<ValueId, Vec<f32>>,
}

impl TapeClassroom {
    fn new(setup: &Setup<'_>) -> Result<Self> {
        let (teacher, student) = setup.both(Tape::compile)?;
        let crew = Crew::new(&teacher, &student, GROUPS.min(setup.batch))?;
        let tuner = Tuner::new(&student, Vec::new(), setup.execution.isa);
        Ok(TapeClassroom { teacher, student, crew, sources: setup.sources(), tuner, gradients: HashMap::new() })
    }
}

impl Classroom for TapeClassroom {
    fn student(&self) -> &dyn Tunable {
        &self.student
    }

    fn student_mut(&mut self) -> &mut dyn Tunable {
        &mut self.student
    }

    fn tune(&mut self, tunings: Vec<Tuning>) -> Result<()> {
        self.tuner = Tuner::new(&self.student, tunings, self.tuner.isa);
        Ok(())
    }

    fn step(&mut self, factor: f32, push: Push) -> Result<()> {
        self.tuner.step(&mut self.student, &self.gradients, factor, push)
    }

    fn optimizers(&self) -> Result<Vec<Adam>> {
        Ok(self.tuner.optimizers())
    }

    fn restore_optimizers(&mut self, optimizers: Vec<Adam>) -> Result<()> {
        self.tuner.restore(optimizers);
        Ok(())
    }

    fn gradients(&mut self, set: &CalibrationSet, batch: &[View], pairs: &[Pair], _: &dyn Progress) -> Result<f64> {
        let TapeClassroom { teacher, student, crew, sources, .. } = self;
        let (teacher, student, sources) = (&*teacher, &*student, &*sources);
        let groups = crew.share_out(batch, |group, lanes, samples| {
            *group = Group { gradients: student.shared_gradients(), loss: 0.0 };
            samples.iter().try_for_each(|view| {
                lanes.load(teacher, student, set, view, sources)?;
                lanes.run_both_ways(teacher, student, pairs, 1.0 / batch.len() as f64, group);
                Ok(())
            })
        })?;
        let loss = groups.iter().map(|group| group.loss).sum::<f64>();
        let gradients: Vec<SharedGradients> = groups.iter_mut().map(|group| std::mem::take(&mut group.gradients)).collect();
        self.gradients = student.parameter_gradients(&gradients);
        Ok(loss)
    }

    fn loss(&mut self, set: &CalibrationSet, samples: &[View], pairs: &[Pair], _: &dyn Progress) -> Result<f64> {
        let TapeClassroom { teacher, student, crew, sources, .. } = self;
        let (teacher, student, sources) = (&*teacher, &*student, &*sources);
        let groups = crew.share_out(samples, |group, lanes, samples| {
            group.loss = 0.0;
            samples.iter().try_for_each(|view| {
                lanes.load(teacher, student, set, view, sources)?;
                group.loss += lanes.loss(teacher, student, pairs);
                Ok(())
            })
        })?;
        Ok(groups.iter().map(|group| group.loss).sum())
    }
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
