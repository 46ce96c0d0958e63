//! Tuning the quantized graph against the original on the same images.
//!
//! The student's weights, biases and scales move so that its layer outputs and its outputs come nearer to the
//! teacher's; quantizers pass gradients straight through (Esser et al. 2020, LSQ, arXiv:1902.08153, for scales).
//! Part of the images is held out and decides which state is kept, so that tuning never makes the student worse there.

mod bias_correction;
mod blocks;
mod classroom;
#[cfg(test)]
mod correction_tests;
mod corrections;
#[cfg(feature = "candle")]
mod gallery;
mod measure;
mod pairs;
mod parameters;
mod reconstruct;
mod sampling;
mod soften;
#[cfg(feature = "candle")]
mod tensor_classroom;
#[cfg(test)]
mod tests;
mod trainer;

use serde::{Deserialize, Serialize};

use crate::calibration::CalibrationSet;
use crate::checkpoint::Reached;
use crate::emit::Student;
use crate::error::{Error, Result};
use crate::execution;
use crate::execution::adam::Moment;
use crate::graph::Graph;
use crate::progress::Progress;
use crate::synthesis::input::Input;
pub use corrections::{BiasCorrection, Corrections, Rounding, correct};
use pairs::find_pairs;
pub use pairs::{LayerShares, Losses, OutputMeasure};
pub use pairs::{comparable_ends, ends};
pub use parameters::Rates;
use parameters::Snapshot;
pub use reconstruct::{Reconstruction, reconstruct};
use trainer::{Goal, Trainer, TrainerState};

/// How long to distill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    Exactly(usize),
    /// As many as the untuned student's loss asks for: the most from a noise-to-signal ratio of 0.02 on, fewer below.
    Between {
        least: usize,
        most: usize,
    },
}

/// Loss (17 dB) of a student that needs all the tuning it can get.
const DISTURBED: f64 = 0.02;

/// Part of the rates that is left for a student that is hardly disturbed: more of them disturb it (resnet56 at W8A8, from
/// 27.2 dB to 23 in the first steps).
const CALM: f64 = 0.2;

impl Steps {
    fn after(self, loss: f64) -> usize {
        match self {
            Steps::Exactly(steps) => steps,
            Steps::Between { least, most } => ((most as f64 * loss / DISTURBED).ceil() as usize).clamp(least.min(most), most),
        }
    }
}

/// What is learned from whom, on what.
#[derive(Clone, Copy)]
pub struct Lesson<'a> {
    pub teacher: &'a Graph,
    /// What may be tuned of a copy of `teacher` with QDQ pairs.
    pub student: &'a Student,
    pub set: &'a CalibrationSet,
    pub inputs: &'a [Input],
}

/// How to distill.
#[derive(Clone, Debug)]
pub struct Config {
    pub steps: Steps,
    /// Samples per step.
    pub batch: usize,
    /// Part of the samples that are mixed with another one.
    pub mixup: f32,
    pub losses: Losses,
    pub seed: u64,
    pub rates: Rates,
    pub execution: execution::Config,
}

impl Default for Config {
    /// The least that can be done: one step.
    fn default() -> Self {
        let (losses, execution) = (Losses::USUAL, execution::Config::default());
        Config { steps: Steps::Exactly(1), batch: 16, mixup: 0.0, losses, seed: 0, rates: Rates::USUAL, execution }
    }
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

/// How often the held-out samples are looked at.
const CHECKS: usize = 8;

/// Tunes `graph`, a copy of the teacher with QDQ pairs, as a whole.
///
/// # Errors
/// If either graph cannot be computed.
pub fn distill(lesson: Lesson<'_>, graph: &mut Graph, config: &Config, progress: &dyn Progress) -> Result<Summary> {
    let Lesson { teacher, student, set, .. } = lesson;
    let start = std::time::Instant::now();
    if set.len() < 2 || config.steps.after(1.0) == 0 {
        return Err(Error::Data("distillation needs at least two samples and one step".into()));
    }
    let (train, check) = hold_out(set);
    let pairs = find_pairs(teacher, graph, student, &check, config.losses, &config.execution)?;
    if pairs.is_empty() {
        return Err(Error::Internal("no layer of the student can be held against the teacher".into()));
    }
    let goal = Goal { pairs, drop_state: None, stream: 2 << 32 };
    let mut trainer = Trainer::new(lesson, graph, goal, config)?;
    let before = trainer.loss(&check, progress)?;
    let steps = config.steps.after(before);
    trainer.set_pace((before / DISTURBED).clamp(CALM, 1.0) as f32);
    let best = Best { loss: before, step: 0, parameters: trainer.snapshot()? };
    let best = tune(&mut trainer, best, steps, &train, &check, progress)?;
    trainer.restore(&best.parameters)?;
    trainer.store(graph)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Summary { steps, loss_before: before, loss_after: best.loss, kept_step: best.step, held_out: check.len(), seconds })
}

/// The parameters that held-out samples like best so far.
#[derive(Serialize, Deserialize)]
struct Best {
    loss: f64,
    /// After which they stood.
    step: usize,
    parameters: Snapshot,
}

/// Takes `steps` on `train`, or what is left of them, and returns what `check` likes best.
fn tune(
    trainer: &mut Trainer,
    mut best: Best,
    steps: usize,
    train: &CalibrationSet,
    check: &CalibrationSet,
    progress: &dyn Progress,
) -> Result<Best> {
    let (unit, mut first) = (progress.unit(), 0);
    match unit.kept::<(usize, TrainerState, Best), Best>()? {
        Some(Reached::End(best)) => {
            trainer.check(&best.parameters)?;
            return Ok(best);
        }
        Some(Reached::Step((step, state, kept))) => {
            trainer.go_on_from(state)?;
            trainer.check(&kept.parameters)?;
            (first, best) = (step, kept);
        }
        None => {}
    }
    progress.begin("distill", steps);
    for step in first..steps {
        let loss = trainer.step(train, Moment { step, of: steps }, progress)?;
        if (step + 1) % steps.div_ceil(CHECKS) == 0 || step + 1 == steps {
            let loss = trainer.loss(check, progress)?;
            if loss < best.loss {
                best = Best { loss, step: step + 1, parameters: trainer.snapshot()? };
            }
        }
        unit.keep(|| Ok((step + 1, trainer.state()?, &best)))?;
        progress.loss(loss);
        progress.step(&format!("loss {loss:.5}"));
        progress.check()?;
    }
    progress.end();
    unit.finish(&best)?;
    Ok(best)
}

/// The samples to tune on, and those that decide what is kept.
fn hold_out(set: &CalibrationSet) -> (CalibrationSet, CalibrationSet) {
    let seen = set.len() - (set.len() / 8).clamp(1, 64);
    (set.slice(0..seen), set.slice(seen..set.len()))
}
