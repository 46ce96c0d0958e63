//! Steps of a student toward its teacher.

use serde::{Deserialize, Serialize};

use super::classroom::{Classroom, GROUPS, Setup};
use super::pairs::Pair;
use super::parameters::{Parameters, Snapshot, push_at};
use super::sampling::{Dealt, Sampler, View};
use super::{Config, Lesson};
use crate::calibration::CalibrationSet;
use crate::emit::Student;
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, Moment};
use crate::graph::{Graph, ValueId};
use crate::memory;
use crate::passes::single_sample;
use crate::progress::Progress;
use crate::random::Random;

/// A student and its teacher, compiled, with what is tuned of the student.
pub struct Trainer {
    classroom: Box<dyn Classroom>,
    pairs: Vec<Pair>,
    parameters: Parameters,
    /// The state of all QuantizationDrops.
    drop_state: Option<ValueId>,
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

impl Trainer {
    /// Brings `graph` nearer to the teacher at `pairs` by tuning what the student names. `stream` sets the randomness apart.
    pub fn new(lesson: Lesson<'_>, graph: &Graph, goal: Goal, config: &Config) -> Result<Self> {
        let Lesson { teacher, student, inputs, .. } = lesson;
        require_memory(graph, student)?;
        let Goal { pairs, drop_state, stream } = goal;
        let mut values = Parameters::values(student);
        values.extend(drop_state);
        let setup = Setup {
            teacher: &single_sample(teacher)?,
            student: &single_sample(graph)?,
            pairs: &pairs,
            parameters: &values,
            inputs,
            batch: config.batch,
            execution: config.execution,
        };
        let mut classroom = setup.open()?;
        let (parameters, tunings) = Parameters::new(classroom.student(), graph, student, config.rates)?;
        classroom.tune(tunings)?;
        let sampler = Sampler::new(Random::new(config.seed, stream), config.batch, config.mixup);
        Ok(Trainer { classroom, pairs, parameters, drop_state, sampler })
    }

    /// One step on the next samples of `set`; returns their mean loss.
    ///
    /// # Errors
    /// If a sample cannot be read back.
    pub fn step(&mut self, set: &CalibrationSet, moment: Moment, progress: &dyn Progress) -> Result<f64> {
        let batch = self.sampler.next(set);
        let mark = self.sampler.mark();
        self.set_drop_state(mark)?;
        let loss = self.classroom.gradients(set, &batch, &self.pairs, progress)?;
        self.classroom.step(self.parameters.pace * moment.rate(), push_at(moment))?;
        Ok(loss / batch.len() as f64)
    }

    fn set_drop_state(&mut self, state: f32) -> Result<()> {
        let Some(value) = self.drop_state else { return Ok(()) };
        let student = self.classroom.student_mut();
        if student.parameter_layout(value).is_none() {
            return Ok(());
        }
        student.write_parameter(value, &[state])?;
        student.refresh()
    }

    /// Mean loss over all of `set`, with nothing left out.
    ///
    /// # Errors
    /// If a sample cannot be read back, or the engine fails.
    pub fn loss(&mut self, set: &CalibrationSet, progress: &dyn Progress) -> Result<f64> {
        self.set_drop_state(-1.0)?;
        let views: Vec<View> = (0..set.len()).map(View::plain).collect();
        Ok(self.classroom.loss(set, &views, &self.pairs, progress)? / set.len() as f64)
    }

    /// All that steps change, for [`Trainer::go_on_from`].
    ///
    /// # Errors
    /// If the engine fails.
    pub fn state(&self) -> Result<TrainerState> {
        Ok(TrainerState { parameters: self.snapshot()?, optimizers: self.classroom.optimizers()?, dealt: self.sampler.state() })
    }

    /// # Errors
    /// If `state` is not one of a trainer like this.
    pub fn go_on_from(&mut self, state: TrainerState) -> Result<()> {
        self.check(&state.parameters)?;
        self.restore(&state.parameters)?;
        self.classroom.restore_optimizers(state.optimizers)?;
        self.sampler.restore(state.dealt);
        Ok(())
    }

    /// Uses this part of the rates from now on.
    pub fn set_pace(&mut self, pace: f32) {
        self.parameters.pace = pace;
    }

    /// # Errors
    /// If the engine fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.parameters.snapshot(self.classroom.student())
    }

    /// # Errors
    /// If `snapshot`, which an earlier run kept, is of other parameters.
    pub fn check(&self, snapshot: &Snapshot) -> Result<()> {
        match snapshot.iter().map(Vec::len).eq(self.snapshot()?.iter().map(Vec::len)) {
            true => Ok(()),
            false => Err(Error::Internal("a state that was kept is of other parameters".into())),
        }
    }

    /// # Errors
    /// If the engine fails.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.parameters.restore(self.classroom.student_mut(), snapshot)
    }

    /// Rounds what is rounded softly to the nearer level.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn harden(&mut self) -> Result<()> {
        self.parameters.harden(self.classroom.student_mut())
    }

    /// Writes what was tuned into the constants of `graph`.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn store(&self, graph: &mut Graph) -> Result<()> {
        self.parameters.store(self.classroom.student(), graph)
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
