//! A pass forward through the network and one back, for all samples of a batch, on the tape.

use rayon::prelude::*;

use super::frame::Frame;
use super::goal::{Goal, Pull};
use super::input::Input;
use super::matching::Sample;
use crate::error::{Error, Result};
use crate::execution::tape::{Lane, Lanes, Request, SharedGradients, Tape};
use crate::execution::{self, Device, Tunable};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::memory;
use crate::ops::operator::{Gradient, Layout};
use crate::progress::Progress;
use crate::random::Random;

/// The engine that a batch goes through.
pub trait Passes {
    /// How elements of input `input` lie in a [`Sample`].
    fn input_layout(&self, input: usize) -> Layout;

    /// Gradients for shared values that nobody reads.
    fn unused(&self) -> SharedGradients {
        SharedGradients::default()
    }

    /// Draws new offsets for all swing convolutions.
    ///
    /// # Errors
    /// If they cannot be changed.
    fn swing(&mut self, random: &mut Random) -> Result<()>;

    /// Finds the sums of every sample at every site, and what its scores add to the loss.
    ///
    /// # Errors
    /// If the engine fails.
    fn forward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, progress: &dyn Progress) -> Result<()>;

    /// Finds the gradients of every sample's elements. `shared` is the pull at each site, where samples have none of their own.
    ///
    /// # Errors
    /// If the engine fails.
    fn backward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, shared: &[Pull], progress: &dyn Progress) -> Result<()>;
}

/// How often the pixels of a batch are in memory: as they were, as they are, their gradients, two moments, and at full size.
const PIXEL_COPIES: usize = 6;

/// Where activations are between a pass forward and the pass backward.
pub enum Activations {
    /// Every sample of a batch keeps its own.
    Kept(Vec<Lane>),
    /// There is no memory for that: as many samples as can be have them at once, and they are made again for the pass backward,
    /// bit by bit the same.
    MadeAgain { lanes: Lanes, at_once: usize },
}

impl Activations {
    /// For batches of `samples`.
    ///
    /// # Errors
    /// If there is no memory for one sample.
    pub fn plan(tape: &Tape, inputs: &[Input], samples: usize, progress: &dyn Progress) -> Result<Self> {
        let pixels = (inputs.iter().map(Input::len).sum::<usize>() * size_of::<f32>() * PIXEL_COPIES) as u64;
        let what = format!("{samples} images and the activations of one");
        let at_once = memory::fit_beside(pixels.saturating_mul(samples as u64), tape.lane_bytes(), samples, &what)?;
        if at_once == samples {
            return Ok(Activations::Kept((0..samples).map(|_| tape.lane()).collect()));
        }
        progress.note(&format!(
            "there is no memory for the activations of {samples} images: they are made again for the pass backward, which takes a third longer"
        ));
        Ok(Activations::MadeAgain { lanes: Lanes::default(), at_once: at_once.min(rayon::current_num_threads()) })
    }

    /// Does `work` on every sample, with a lane for each; the second argument says whether its activations are there.
    fn for_each(&mut self, tape: &Tape, samples: &mut [Sample], work: impl Fn(&mut Sample, &mut Lane, bool) + Sync) {
        match self {
            Activations::Kept(lanes) => {
                samples.par_iter_mut().zip(lanes).for_each(|(sample, lane)| work(sample, lane, true));
            }
            Activations::MadeAgain { lanes, at_once } => {
                for samples in samples.chunks_mut(*at_once) {
                    samples.par_iter_mut().for_each(|sample| lanes.with(tape, |lane| work(sample, lane, false)));
                }
            }
        }
    }
}

/// What passes are made for: batches of `samples` that go through `graph` to the seeds of `goal`.
pub struct Setup<'a> {
    pub graph: &'a Graph,
    pub goal: &'a Goal<'a>,
    /// Offsets of swing convolutions.
    pub swings: &'a [ValueId],
    pub inputs: &'a [Input],
    pub samples: usize,
    pub execution: execution::Config,
}

impl Setup<'_> {
    /// Passes on the engine that is asked for.
    ///
    /// # Errors
    /// If it does not answer, cannot compute something before a seed, or has no memory for one sample.
    pub fn open(&self, progress: &dyn Progress) -> Result<Box<dyn Passes>> {
        match self.execution.device {
            Device::Cpu => Ok(Box::new(TapePasses::new(self, progress)?)),
            #[cfg(feature = "candle")]
            _ => Ok(Box::new(super::tensor_passes::TensorPasses::new(self, progress)?)),
            #[cfg(not(feature = "candle"))]
            device => Err(device.is_not_built()),
        }
    }
}

/// The tape, with the samples of a batch in parallel.
pub struct TapePasses {
    tape: Tape,
    /// Offsets of swing convolutions.
    swings: Vec<ValueId>,
    pub(super) activations: Activations,
    isa: Isa,
}

impl TapePasses {
    /// # Errors
    /// If something before a seed cannot be computed, or there is no memory for one sample.
    pub fn new(setup: &Setup<'_>, progress: &dyn Progress) -> Result<Self> {
        let Setup { graph, goal, swings, inputs, samples, execution } = *setup;
        let (seeds, isa) = (goal.seeds(), execution.isa);
        let tape = Tape::compile(graph, &Request { targets: &[], seeds: &seeds, input_gradients: true, parameters: swings, isa })?;
        let activations = Activations::plan(&tape, inputs, samples, progress)?;
        // What lies behind the last seed is not compiled.
        let swings = swings.iter().copied().filter(|value| tape.parameter(*value).is_some()).collect();
        Ok(TapePasses { tape, swings, activations, isa })
    }
}

/// Offsets of a swing convolution.
pub(super) fn draw_offsets(offsets: &mut [f32], random: &mut Random) {
    offsets.iter_mut().for_each(|x| *x = random.below(3) as f32);
}

impl Passes for TapePasses {
    fn input_layout(&self, input: usize) -> Layout {
        self.tape.input_layout(input).clone()
    }

    fn unused(&self) -> SharedGradients {
        self.tape.shared_gradients()
    }

    fn swing(&mut self, random: &mut Random) -> Result<()> {
        for value in &self.swings {
            let offset = self.tape.parameter_mut(*value).ok_or_else(|| Error::Internal("a swing offset is not a parameter".into()))?;
            draw_offsets(offset, random);
        }
        if !self.swings.is_empty() {
            self.tape.refresh()?;
        }
        Ok(())
    }

    fn forward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, _: &dyn Progress) -> Result<()> {
        let share = 1.0 / samples.len().max(1) as f64;
        let TapePasses { tape, isa, activations, .. } = self;
        let tape: &Tape = tape;
        activations.for_each(tape, samples, |sample, lane, _| {
            sample.look(frame);
            show(sample, tape, lane, frame);
            let Sample { sums, scratch, scores_gradient, loss, label, .. } = sample;
            tape.forward_with(lane, &mut |seed, values| match sums.get_mut(seed) {
                Some(sums) => {
                    sums.clear();
                    sums.add_sample(values, scratch, *isa);
                }
                None => *loss += share * goal.judge_scores(values, *label, scores_gradient),
            });
        });
        Ok(())
    }

    fn backward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, shared: &[Pull], _: &dyn Progress) -> Result<()> {
        let share = 1.0 / samples.len().max(1) as f32;
        let TapePasses { tape, isa, activations, .. } = self;
        let tape: &Tape = tape;
        activations.for_each(tape, samples, |sample, lane, is_there| {
            if !is_there {
                show(sample, tape, lane, frame);
                tape.forward(lane);
            }
            let Sample { pulls, scores_gradient, unused, .. } = sample;
            let pulls = if pulls.is_empty() { shared } else { pulls.as_slice() };
            let seed = |index: usize, values: &[f32], gradient: &mut Gradient<'_>| {
                if index == goal.sites.len() {
                    gradient.open().iter_mut().zip(scores_gradient.iter()).for_each(|(to, from)| *to += share * from);
                } else if let Some(pull) = pulls.get(index) {
                    pull.add(values, gradient.open(), *isa);
                }
            };
            tape.backward(lane, unused, &seed);
            for index in 0..sample.elements.len() {
                sample.take_gradient(index, tape.input_gradient(lane, index), frame);
            }
            sample.complete_gradients(goal.method, frame, share);
        });
        Ok(())
    }
}

/// Puts the sample before the network.
fn show(sample: &Sample, tape: &Tape, lane: &mut Lane, frame: &Frame) {
    for index in 0..sample.elements.len() {
        tape.input_mut(lane, index).iter_mut().zip(sample.seen(index, frame)).for_each(|(to, x)| *to = x);
    }
}
