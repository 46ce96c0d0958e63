//! Tuning the quantized graph against the original on the same images.
//!
//! The student's weights, biases and scales move so that its layer outputs and its outputs come nearer to the
//! teacher's; quantizers pass gradients straight through (Esser et al. 2020, LSQ, arXiv:1902.08153, for scales).
//! Part of the images is held out and decides which state is kept, so that tuning never makes the student worse there.

mod pairs;
mod parameters;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use rayon::prelude::*;

use crate::calibration::CalibrationSet;
use crate::emit::Student;
use crate::error::{Error, Result};
use crate::execution;
use crate::execution::adam::cosine;
use crate::execution::tape::{Lane, Request, SharedGradients, Tape};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::ops::operator::{Gradient, Layout};
use crate::passes::single_sample;
use crate::progress::Progress;
use crate::random::Random;
use crate::synthesis::input::{Augmentation, Input};
use pairs::{Pair, find_pairs};
use parameters::Parameters;
pub use parameters::Rates;

/// How long to distill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    Exactly(usize),
    /// As many as the untuned student's loss asks for: the most from a noise-to-signal ratio of 0.05 on, fewer below.
    Between {
        least: usize,
        most: usize,
    },
}

/// Loss (13 dB) of a student that needs all the tuning it can get.
const DISTURBED: f64 = 0.05;

impl Steps {
    fn after(self, loss: f64) -> usize {
        match self {
            Steps::Exactly(steps) => steps,
            Steps::Between { least, most } => ((most as f64 * loss / DISTURBED).ceil() as usize).clamp(least.min(most), most),
        }
    }
}

/// How to distill.
#[derive(Clone, Debug)]
pub struct Config {
    pub steps: Steps,
    /// Samples per step.
    pub batch: usize,
    pub seed: u64,
    pub rates: Rates,
    pub execution: execution::Config,
}

/// What distillation did. Losses are noise-to-signal ratios averaged over layers and outputs, on held-out samples.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    pub steps: usize,
    pub loss_before: f64,
    pub loss_after: f64,
    /// Step after which the kept state stood; 0 if tuning did not help.
    pub kept_step: usize,
    pub held_out: usize,
    pub seconds: f64,
}

/// Groups of samples whose gradients are summed apart and then in order: part of the result, not of the machine.
const GROUPS: usize = 8;
/// How often the held-out samples are looked at.
const CHECKS: usize = 8;

/// Tunes `graph` (a copy of `teacher` with QDQ pairs, described by `student`) on `set`.
///
/// # Errors
/// If either graph cannot be computed.
pub fn distill(
    teacher: &Graph,
    graph: &mut Graph,
    student: &Student,
    set: &CalibrationSet,
    inputs: &[Input],
    config: &Config,
    progress: &dyn Progress,
) -> Result<Summary> {
    let start = std::time::Instant::now();
    let held_out = (set.len() / 8).clamp(1, 64);
    if set.len() < 2 || config.steps.after(1.0) == 0 {
        return Err(Error::Data("distillation needs at least two samples and one step".into()));
    }
    let (train, check) = (set.slice(0..set.len() - held_out), set.slice(set.len() - held_out..set.len()));
    let pairs = find_pairs(teacher, graph, student, &check, &config.execution)?;
    if pairs.is_empty() {
        return Err(Error::Internal("no layer of the student can be held against the teacher".into()));
    }
    let mut trainer = Trainer::new(teacher, graph, student, pairs, inputs, config)?;
    let before = trainer.loss(&check);
    let steps = config.steps.after(before);
    let mut best = (before, trainer.parameters.snapshot(&trainer.student), 0);
    let mut random = Random::new(config.seed, 2 << 32);
    let mut order = Vec::new();
    progress.begin("distill", steps);
    for step in 0..steps {
        if order.len() < config.batch {
            order = random.permutation(train.len());
        }
        let batch: Vec<usize> = order.split_off(order.len().saturating_sub(config.batch));
        let augmentation = Augmentation { flip: random.below(2) == 1, shift: (random.below(5) as isize - 2, random.below(5) as isize - 2) };
        let loss = trainer.step(&train, &batch, inputs, augmentation, cosine(step, steps));
        progress.step(&format!("loss {loss:.5}"));
        progress.check()?;
        if (step + 1) % steps.div_ceil(CHECKS) == 0 || step + 1 == steps {
            let loss = trainer.loss(&check);
            if loss < best.0 {
                best = (loss, trainer.parameters.snapshot(&trainer.student), step + 1);
            }
        }
    }
    progress.end();
    trainer.parameters.restore(&mut trainer.student, &best.1);
    trainer.parameters.store(&trainer.student, graph);
    let seconds = start.elapsed().as_secs_f64();
    Ok(Summary { steps, loss_before: before, loss_after: best.0, kept_step: best.2, held_out, seconds })
}

struct Trainer {
    teacher: Tape,
    student: Tape,
    pairs: Vec<Pair>,
    parameters: Parameters,
    isa: Isa,
    groups: Vec<Group>,
    /// Where each element of a tape's input comes from in a row-major sample, per input: as it is, and augmented.
    plain: Vec<Vec<u32>>,
    views: Vec<Vec<u32>>,
}

struct Group {
    teacher: Lane,
    student: Lane,
    gradients: SharedGradients,
    loss: f64,
}

impl Trainer {
    fn new(teacher: &Graph, graph: &Graph, student: &Student, pairs: Vec<Pair>, inputs: &[Input], config: &Config) -> Result<Self> {
        let isa = config.execution.isa;
        let targets: Vec<ValueId> = pairs.iter().map(|pair| pair.teacher).collect();
        let request = Request { targets: &targets, seeds: &[], input_gradients: false, parameters: &[], isa };
        let teacher = Tape::compile(&single_sample(teacher)?, &request)?;
        let seeds: Vec<ValueId> = pairs.iter().map(|pair| pair.student).collect();
        let values = Parameters::values(student);
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
        Ok(Trainer { teacher, student: tape, pairs, parameters, isa, groups, views: plain.clone(), plain })
    }

    /// One step on the samples `batch`; returns their mean loss.
    fn step(&mut self, set: &CalibrationSet, batch: &[usize], inputs: &[Input], augmentation: Augmentation, factor: f32) -> f64 {
        let share = batch.len().div_ceil(self.groups.len());
        for (index, (input, view)) in inputs.iter().zip(&mut self.views).enumerate() {
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
        self.parameters.step(&mut self.student, &mut gradients, factor, self.isa);
        self.groups[..used].iter().map(|group| group.loss).sum::<f64>() / batch.len() as f64
    }

    /// Mean loss over all of `set`.
    fn loss(&mut self, set: &CalibrationSet) -> f64 {
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
