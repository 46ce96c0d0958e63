//! One batch of images on its way to the goal.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::goal::{Goal, Pull, Site};
use super::input::{Augmentation, Input};
use super::loss::{ImageLoss, Plane};
use super::method::{Method, Pool};
use super::passes::Passes;
use super::source::Source;
use crate::checkpoint::Reached;
use crate::error::{Error, Result};
use crate::execution::adam::Moment;
use crate::execution::tape::{ChannelSums, SharedGradients, in_memory_order};
use crate::ops::operator::Layout;
use crate::progress::Progress;
use crate::random::Random;

/// What the batches of a set have in common.
pub struct Matching<'a> {
    pub passes: Box<dyn Passes + 'a>,
    pub goal: &'a Goal<'a>,
    pub inputs: &'a [Input],
}

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub steps: usize,
    /// Distance at which no more steps are taken.
    pub sufficient: Option<f64>,
}

/// Steps whose mean distance is held against what is sufficient.
const WINDOW: usize = 8;

/// One sample; elements and gradients are in memory order, per input.
pub struct Sample {
    pub elements: Vec<Vec<f32>>,
    pub gradients: Vec<Vec<f32>>,
    /// The elements as the network sees them, where that is not as they are.
    pub(super) blurred: Vec<Vec<f32>>,
    /// Class that it is to belong to.
    pub(super) label: usize,
    /// What it adds to the loss for itself, in the pass that is under way.
    pub(super) loss: f64,
    pub(super) scores_gradient: Vec<f32>,
    /// Per site.
    pub(super) sums: Vec<ChannelSums>,
    /// Per site, where every image is matched for itself.
    pub(super) pulls: Vec<Pull>,
    pub(super) scratch: Vec<f32>,
    /// Gradients of swing offsets, which nobody reads.
    pub(super) unused: SharedGradients,
}

/// One image of each input, row-major.
pub type Image = Vec<Vec<f32>>;

/// How one batch is moved.
pub struct Course<'a> {
    pub source: &'a mut dyn Source,
    /// Sums of the batches before, per site.
    pub earlier: &'a [ChannelSums],
    pub extent: Extent,
    pub random: Random,
    pub of_labels: Random,
    pub progress: &'a dyn Progress,
}

/// A batch that is near enough, or took all its steps.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Matched {
    pub images: Vec<Image>,
    /// Sums of this batch and of those before.
    pub sums: Vec<ChannelSums>,
    /// Of every step.
    pub losses: Vec<f64>,
}

/// What is kept of a batch on its way.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    /// Per sample and input, in memory order.
    elements: Vec<Image>,
    source: Vec<u8>,
    /// How far randomness is read.
    position: u128,
    losses: Vec<f64>,
}

impl UnderWay {
    fn of(samples: &[Sample], source: &dyn Source, random: &Random, losses: &[f64]) -> Result<Self> {
        let elements = samples.iter().map(|sample| sample.elements.clone()).collect();
        let source = source.state().map_err(|error| Error::Internal(format!("a source cannot be kept: {error}")))?;
        Ok(UnderWay { elements, source, position: random.position(), losses: losses.to_vec() })
    }

    /// Brings samples and course to where they were; returns the losses until then.
    fn put_back(self, samples: &mut [Sample], course: &mut Course<'_>) -> Result<Vec<f64>> {
        let damaged = || Error::Internal("a batch was kept by another version".into());
        let fits = |(sample, elements): (&Sample, &Image)| sample.elements.iter().map(Vec::len).eq(elements.iter().map(Vec::len));
        if samples.len() != self.elements.len() || !samples.iter().zip(&self.elements).all(fits) {
            return Err(damaged());
        }
        samples.iter_mut().zip(self.elements).for_each(|(sample, elements)| sample.elements = elements);
        course.source.restore(&self.source).map_err(|_| damaged())?;
        course.random.seek(self.position);
        Ok(self.losses)
    }
}

impl Matching<'_> {
    /// Optimizes one batch of images, which are row-major, or goes on with it where its unit has kept a state.
    ///
    /// # Errors
    /// If the source cannot move, the work is to stop, or a state cannot be kept.
    pub fn optimize(&mut self, images: Vec<Image>, mut course: Course<'_>) -> Result<Matched> {
        let unit = course.progress.unit();
        let start: Option<UnderWay> = match unit.kept()? {
            Some(Reached::End(matched)) => return Ok(matched),
            Some(Reached::Step(start)) => Some(start),
            None => None,
        };
        let layouts = (0..self.inputs.len()).map(|index| self.passes.input_layout(index)).collect();
        let mut frame = Frame::new(self.inputs, layouts, self.goal.method.low_pass);
        let mut samples: Vec<Sample> = images.iter().map(|image| self.sample(image, &frame, &mut course.of_labels)).collect();
        let mut losses = start.map_or(Ok(Vec::new()), |start| start.put_back(&mut samples, &mut course))?;
        let Course { source, earlier, extent, mut random, progress, .. } = course;
        for step in losses.len()..extent.steps {
            self.passes.swing(&mut random)?;
            frame.see_through(self.inputs, self.draw(&mut random));
            source.render(&mut samples);
            self.passes.forward(&mut samples, &frame, self.goal, progress)?;
            let (loss, pulls) = self.reduce(&mut samples, earlier);
            self.passes.backward(&mut samples, &frame, self.goal, &pulls, progress)?;
            samples.par_iter_mut().for_each(Sample::forget_lost_gradients);
            let loss = loss + samples.iter().map(|sample| sample.loss).sum::<f64>();
            losses.push(loss);
            source.descend(&mut samples, &frame, Moment { step, of: extent.steps })?;
            let is_near = extent.sufficient.is_some_and(|sufficient| is_near(&losses, sufficient));
            if !is_near && step + 1 < extent.steps {
                unit.keep(|| UnderWay::of(&samples, source, &random, &losses))?;
            }
            progress.loss(loss);
            progress.step(&format!("loss {loss:.4}"));
            progress.check()?;
            if is_near {
                break;
            }
        }
        source.render(&mut samples);
        let mut sums = earlier.to_vec();
        for (index, sums) in sums.iter_mut().enumerate() {
            samples.iter().for_each(|sample| sums.add(&sample.sums[index]));
        }
        let images = samples.into_iter().map(|sample| sample.finish(&frame)).collect();
        let matched = Matched { images, sums, losses };
        unit.finish(&matched)?;
        Ok(matched)
    }

    fn sample(&self, elements: &[Vec<f32>], frame: &Frame, of_labels: &mut Random) -> Sample {
        let channels = self.goal.sites.iter().map(|site| site.stored.len());
        let elements: Vec<Vec<f32>> = elements.iter().zip(&frame.layouts).map(|(row, layout)| in_memory_order(row, layout)).collect();
        Sample {
            gradients: elements.clone(),
            blurred: if frame.is_blurred() { elements.clone() } else { Vec::new() },
            elements,
            label: self.goal.classes().map_or(0, |classes| of_labels.below(classes)),
            loss: 0.0,
            scores_gradient: vec![0.0; self.goal.classes().unwrap_or(0)],
            sums: channels.clone().map(ChannelSums::new).collect(),
            pulls: Vec::new(),
            scratch: vec![0.0; 2 * channels.max().unwrap_or(0)],
            unused: self.passes.unused(),
        }
    }

    fn draw(&self, random: &mut Random) -> Augmentation {
        let reach = self.inputs.iter().map(|input| input.height() / 16).max().unwrap_or(0).min(8);
        let mut shift = || random.below(2 * reach + 1) as isize - reach as isize;
        let shift = (shift(), shift());
        Augmentation { flip: random.below(2) == 1, shift }
    }

    /// The loss, and the pull of the statistics that all samples share.
    fn reduce(&self, samples: &mut [Sample], earlier: &[ChannelSums]) -> (f64, Vec<Pull>) {
        let Some(statistics) = self.goal.statistics() else {
            return (samples.iter().map(|sample| sample.loss).sum(), Vec::new());
        };
        let (share, pool) = (1.0 / samples.len().max(1) as f64, self.goal.method.pool);
        if pool == Pool::Image {
            samples.par_iter_mut().for_each(|sample| {
                let (loss, pulls) = statistics.pulls(sample.sums.iter(), share);
                sample.loss += loss;
                sample.pulls = pulls;
            });
        }
        let own = samples.iter().map(|sample| sample.loss).sum();
        if pool == Pool::Image {
            return (own, Vec::new());
        }
        let pooled = |(index, site): (usize, &Site)| {
            let mut sums = if pool == Pool::Set { earlier[index].clone() } else { ChannelSums::new(site.stored.len()) };
            samples.iter().for_each(|sample| sums.add(&sample.sums[index]));
            sums
        };
        let pooled: Vec<ChannelSums> = self.goal.sites.iter().enumerate().map(pooled).collect();
        let (loss, pulls) = statistics.pulls(pooled.iter(), 1.0);
        (own + loss, pulls)
    }
}

impl Sample {
    /// The row-major elements, as the network saw them.
    fn finish(mut self, frame: &Frame) -> Image {
        frame.blur(&mut self.elements);
        let row_major = |(memory, layout): (&Vec<f32>, &Layout)| layout.offsets().into_iter().map(|offset| memory[offset]).collect();
        self.elements.iter().zip(&frame.layouts).map(row_major).collect()
    }

    /// Where sums overflow there is no direction to go; the pixel stays as it is.
    fn forget_lost_gradients(&mut self) {
        self.gradients.iter_mut().flatten().filter(|gradient| !gradient.is_finite()).for_each(|gradient| *gradient = 0.0);
    }

    /// Lets the network see the elements at this step.
    pub(super) fn look(&mut self, frame: &Frame) {
        self.loss = 0.0;
        if frame.is_blurred() {
            self.blurred.clone_from(&self.elements);
            frame.blur(&mut self.blurred);
        }
    }

    /// The elements of input `index` as `frame` lets the network see them.
    pub(super) fn seen<'a>(&'a self, index: usize, frame: &'a Frame) -> impl Iterator<Item = f32> + 'a {
        let shown = if frame.is_blurred() { &self.blurred } else { &self.elements };
        frame.views[index].iter().map(move |from| shown[index][*from as usize])
    }

    /// Takes the gradient of what the network saw of input `index`.
    pub(super) fn take_gradient(&mut self, index: usize, gradient: &[f32], frame: &Frame) {
        for (from, to) in gradient.iter().zip(&frame.views[index]) {
            self.gradients[index][*to as usize] = *from;
        }
    }

    /// Completes the gradients once the network's are there; `share` is that of the sample in the batch.
    pub(super) fn complete_gradients(&mut self, method: &Method, frame: &Frame, share: f32) {
        frame.blur(&mut self.gradients);
        self.add_image_losses(&method.image_losses, frame, share);
    }

    /// Adds the gradients of the losses on pixels, `share` of their mean over planes.
    fn add_image_losses(&mut self, losses: &[(&'static dyn ImageLoss, f64)], frame: &Frame, share: f32) {
        self.loss = 0.0;
        if losses.is_empty() {
            return;
        }
        for (index, planes) in frame.planes.iter().enumerate() {
            for place in planes {
                let width = 1.0 / (place.high - place.low);
                let pixels: Vec<f32> = place.offsets().map(|offset| (self.elements[index][offset] - place.low) * width).collect();
                let mut gradient = vec![0.0; pixels.len()];
                for (loss, weight) in losses {
                    let scale = *weight as f32 * share / planes.len() as f32;
                    self.loss += f64::from(scale) * loss.distance(Plane { pixels: &pixels, width: place.width }, &mut gradient);
                    place.offsets().zip(&gradient).for_each(|(offset, g)| self.gradients[index][offset] += scale * width * g);
                }
            }
        }
    }
}

fn is_near(losses: &[f64], sufficient: f64) -> bool {
    losses.len() >= WINDOW && losses[losses.len() - WINDOW..].iter().sum::<f64>() <= WINDOW as f64 * sufficient
}
