//! A pass forward through the network and one back, for all samples of a batch, on the tape.

use rayon::prelude::*;

use super::canvas::Canvas;
use super::frame::Frame;
use super::goal::{Goal, Pull};
use super::input::{Augmentation, Input};
use super::matching::{Image, Sample};
use super::method::Method;
use super::source::{Setting, Source};
use crate::error::{Error, Result};
use crate::execution::adam::Moment;
use crate::execution::tape::{Lane, Lanes, Request, Tape};
use crate::execution::{self, Device, Tunable};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::memory;
use crate::ops::operator::Gradient;
use crate::progress::Progress;
use crate::random::Random;

/// The engine that a batch goes through, which holds its images.
pub trait Passes {
    /// Takes the images of a batch, which are row-major, and a source that moves them.
    ///
    /// # Errors
    /// If the source cannot be opened, or the engine has no memory for the images.
    fn begin(&mut self, images: Vec<Image>, setting: &Setting<'_>) -> Result<()>;

    /// Draws new offsets for all swing convolutions.
    ///
    /// # Errors
    /// If they cannot be changed.
    fn swing(&mut self, random: &mut Random) -> Result<()>;

    /// How the network sees the images from now on.
    ///
    /// # Errors
    /// If the engine fails.
    fn see_through(&mut self, augmentation: Augmentation) -> Result<()>;

    /// Finds the sums of every sample at every site, and what its scores add to the loss.
    ///
    /// # Errors
    /// If the engine fails.
    fn forward(&mut self, samples: &mut [Sample], goal: &Goal<'_>, progress: &dyn Progress) -> Result<()>;

    /// Finds the gradients of every sample's elements, and returns the loss on pixels. `shared` is the pull at each site, where
    /// samples have none of their own.
    ///
    /// # Errors
    /// If the engine fails.
    fn backward(&mut self, samples: &[Sample], goal: &Goal<'_>, shared: &[Pull], progress: &dyn Progress) -> Result<f64>;

    /// Moves the images by one step against their gradients.
    ///
    /// # Errors
    /// If the engine fails.
    fn descend(&mut self, at: Moment, progress: &dyn Progress) -> Result<()>;

    /// The images and what moves them, for [`Passes::put_back`].
    ///
    /// # Errors
    /// If the engine fails.
    fn state(&self) -> Result<Vec<u8>>;

    /// Goes on from a `state` of a batch that began like this one.
    ///
    /// # Errors
    /// If it is not one, or the engine fails.
    fn put_back(&mut self, state: &[u8]) -> Result<()>;

    /// The images, row-major, as the network saw them.
    ///
    /// # Errors
    /// If the engine fails.
    fn finish(&mut self, progress: &dyn Progress) -> Result<Vec<Image>>;
}

/// A state that cannot be kept.
pub(super) fn not_kept(error: postcard::Error) -> Error {
    Error::Internal(format!("a batch cannot be kept: {error}"))
}

/// A state that does not fit.
pub(super) fn damaged() -> Error {
    Error::Internal("a batch was kept by another version".into())
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
    fn for_each<T: Send>(&mut self, tape: &Tape, samples: &mut [T], work: impl Fn(&mut T, &mut Lane, bool) + Sync) {
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
    inputs: Vec<Input>,
    method: Method,
    frame: Frame,
    canvases: Vec<Canvas>,
    source: Option<Box<dyn Source>>,
    /// Numbers that sums at any site are made in.
    scratch: usize,
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
        let layouts = (0..inputs.len()).map(|index| tape.input_layout(index).clone()).collect();
        let frame = Frame::new(inputs, layouts, goal.method.low_pass);
        let scratch = 2 * goal.sites.iter().map(|site| site.stored.len()).max().unwrap_or(0);
        let (inputs, method) = (inputs.to_vec(), goal.method.clone());
        Ok(TapePasses { tape, swings, activations, isa, inputs, method, frame, canvases: Vec::new(), source: None, scratch })
    }

    fn source(&self) -> Result<&dyn Source> {
        self.source.as_deref().ok_or_else(|| Error::Internal("no batch was begun".into()))
    }
}

/// Offsets of a swing convolution.
pub(super) fn draw_offsets(offsets: &mut [f32], random: &mut Random) {
    offsets.iter_mut().for_each(|x| *x = random.below(3) as f32);
}

impl Passes for TapePasses {
    fn begin(&mut self, images: Vec<Image>, setting: &Setting<'_>) -> Result<()> {
        self.source = Some((self.method.source.open)(setting)?);
        let canvas = |image: Image| Canvas::new(&image, &self.frame, self.scratch, self.tape.shared_gradients());
        self.canvases = images.into_iter().map(canvas).collect();
        Ok(())
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

    fn see_through(&mut self, augmentation: Augmentation) -> Result<()> {
        self.frame.see_through(&self.inputs, augmentation);
        Ok(())
    }

    fn forward(&mut self, samples: &mut [Sample], goal: &Goal<'_>, _: &dyn Progress) -> Result<()> {
        let share = 1.0 / samples.len().max(1) as f64;
        let TapePasses { tape, isa, activations, frame, canvases, source, .. } = self;
        let (tape, frame): (&Tape, &Frame) = (tape, frame);
        source.iter_mut().for_each(|source| source.render(canvases));
        let mut pairs: Vec<(&mut Canvas, &mut Sample)> = canvases.iter_mut().zip(samples).collect();
        activations.for_each(tape, &mut pairs, |(canvas, sample), lane, _| {
            canvas.look(frame);
            show(canvas, tape, lane, frame);
            let Sample { sums, scores_gradient, loss, label, .. } = &mut **sample;
            *loss = 0.0;
            tape.forward_with(lane, &mut |seed, values| match sums.get_mut(seed) {
                Some(sums) => {
                    sums.clear();
                    sums.add_sample(values, &mut canvas.scratch, *isa);
                }
                None => *loss += share * goal.judge_scores(values, *label, scores_gradient),
            });
        });
        Ok(())
    }

    fn backward(&mut self, samples: &[Sample], goal: &Goal<'_>, shared: &[Pull], _: &dyn Progress) -> Result<f64> {
        let share = 1.0 / samples.len().max(1) as f32;
        let TapePasses { tape, isa, activations, frame, canvases, .. } = self;
        let (tape, frame): (&Tape, &Frame) = (tape, frame);
        let mut pairs: Vec<(&mut Canvas, &Sample)> = canvases.iter_mut().zip(samples).collect();
        activations.for_each(tape, &mut pairs, |(canvas, sample), lane, is_there| {
            if !is_there {
                show(canvas, tape, lane, frame);
                tape.forward(lane);
            }
            let pulls = if sample.pulls.is_empty() { shared } else { sample.pulls.as_slice() };
            let seed = |index: usize, values: &[f32], gradient: &mut Gradient<'_>| {
                if index == goal.sites.len() {
                    gradient.open().iter_mut().zip(&sample.scores_gradient).for_each(|(to, from)| *to += share * from);
                } else if let Some(pull) = pulls.get(index) {
                    pull.add(values, gradient.open(), *isa);
                }
            };
            tape.backward(lane, &mut canvas.unused, &seed);
            for index in 0..canvas.elements.len() {
                canvas.take_gradient(index, tape.input_gradient(lane, index), frame);
            }
            canvas.complete_gradients(goal.method, frame, share);
        });
        Ok(self.canvases.iter().map(|canvas| canvas.loss).sum())
    }

    fn descend(&mut self, at: Moment, _: &dyn Progress) -> Result<()> {
        let TapePasses { canvases, frame, source, .. } = self;
        source.iter_mut().try_for_each(|source| source.descend(canvases, frame, at))
    }

    fn state(&self) -> Result<Vec<u8>> {
        let elements: Vec<&Vec<Vec<f32>>> = self.canvases.iter().map(|canvas| &canvas.elements).collect();
        let source = self.source()?.state().map_err(not_kept)?;
        postcard::to_stdvec(&(elements, source)).map_err(not_kept)
    }

    fn put_back(&mut self, state: &[u8]) -> Result<()> {
        let (elements, source): (Vec<Image>, Vec<u8>) = postcard::from_bytes(state).map_err(|_| damaged())?;
        let fits = |(canvas, elements): (&Canvas, &Image)| canvas.elements.iter().map(Vec::len).eq(elements.iter().map(Vec::len));
        if self.canvases.len() != elements.len() || !self.canvases.iter().zip(&elements).all(fits) {
            return Err(damaged());
        }
        self.canvases.iter_mut().zip(elements).for_each(|(canvas, elements)| canvas.elements = elements);
        self.source.iter_mut().try_for_each(|own| own.restore(&source)).map_err(|_| damaged())
    }

    fn finish(&mut self, _: &dyn Progress) -> Result<Vec<Image>> {
        let mut canvases = std::mem::take(&mut self.canvases);
        self.source.iter_mut().for_each(|source| source.render(&mut canvases));
        Ok(canvases.into_iter().map(|canvas| canvas.finish(&self.frame)).collect())
    }
}

/// Puts the sample before the network.
fn show(canvas: &Canvas, tape: &Tape, lane: &mut Lane, frame: &Frame) {
    for index in 0..canvas.elements.len() {
        tape.input_mut(lane, index).iter_mut().zip(canvas.seen(index, frame)).for_each(|(to, x)| *to = x);
    }
}
