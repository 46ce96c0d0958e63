//! One batch of images on its way to the goal.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::goal::{Goal, Pull, Site};
use super::input::{Augmentation, Input};
use super::method::Pool;
use super::passes::Passes;
use super::source::Setting;
use crate::checkpoint::Reached;
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::execution::tape::ChannelSums;
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

/// What is found of one sample.
pub struct Sample {
    /// Class that it is to belong to.
    pub(super) label: usize,
    /// What it adds to the loss for itself, in the pass that is under way.
    pub(super) loss: f64,
    pub(super) scores_gradient: Vec<f32>,
    /// Per site. Where all images are matched together, those of several samples may stand with one of them, and the others
    /// have none.
    pub(super) sums: Vec<ChannelSums>,
    /// Per site, where every image is matched for itself.
    pub(super) pulls: Vec<Pull>,
}

impl Sample {
    /// One that only its `count` scores are looked at of.
    pub fn of_scores(label: usize, count: usize) -> Sample {
        Sample { label, loss: 0.0, scores_gradient: vec![0.0; count], sums: Vec::new(), pulls: Vec::new() }
    }
}

/// One image of each input, row-major.
pub type Image = Vec<Vec<f32>>;

/// How one batch is moved.
pub struct Course<'a> {
    /// What the images start to move from.
    pub setting: Setting<'a>,
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
    /// Images, as the engine has them, and what moves them.
    passes: Vec<u8>,
    /// How far randomness is read.
    position: u128,
    losses: Vec<f64>,
}

impl Matching<'_> {
    /// Optimizes one batch of images, which are row-major, or goes on with it where its unit has kept a state.
    ///
    /// # Errors
    /// If the source cannot move, the work is to stop, or a state cannot be kept.
    pub fn optimize(&mut self, images: Vec<Image>, course: Course<'_>) -> Result<Matched> {
        let unit = course.progress.unit();
        let start: Option<UnderWay> = match unit.kept()? {
            Some(Reached::End(matched)) => return Ok(matched),
            Some(Reached::Step(start)) => Some(start),
            None => None,
        };
        let Course { setting, earlier, extent, mut random, mut of_labels, progress } = course;
        let mut samples: Vec<Sample> = images.iter().map(|_| self.sample(&mut of_labels)).collect();
        self.passes.begin(images, &setting)?;
        let mut losses = Vec::new();
        if let Some(start) = start {
            self.passes.put_back(&start.passes)?;
            random.seek(start.position);
            losses = start.losses;
        }
        for step in losses.len()..extent.steps {
            self.passes.swing(&mut random)?;
            self.passes.see_through(self.draw(&mut random))?;
            self.passes.forward(&mut samples, self.goal, progress)?;
            let (loss, pulls) = self.reduce(&mut samples, earlier);
            let loss = loss + self.passes.backward(&samples, self.goal, &pulls, progress)?;
            losses.push(loss);
            self.passes.descend(Moment { step, of: extent.steps }, progress)?;
            let is_near = extent.sufficient.is_some_and(|sufficient| is_near(&losses, sufficient));
            if !is_near && step + 1 < extent.steps {
                unit.keep(|| Ok(UnderWay { passes: self.passes.state()?, position: random.position(), losses: losses.clone() }))?;
            }
            progress.loss(loss);
            progress.step(&format!("loss {loss:.4}"));
            progress.check()?;
            if is_near {
                break;
            }
        }
        let mut sums = earlier.to_vec();
        for (index, sums) in sums.iter_mut().enumerate() {
            samples.iter().for_each(|sample| sums.add(&sample.sums[index]));
        }
        let matched = Matched { images: self.passes.finish(progress)?, sums, losses };
        unit.finish(&matched)?;
        Ok(matched)
    }

    fn sample(&self, of_labels: &mut Random) -> Sample {
        Sample {
            label: self.goal.classes().map_or(0, |classes| of_labels.below(classes)),
            loss: 0.0,
            scores_gradient: vec![0.0; self.goal.classes().unwrap_or(0)],
            sums: self.goal.sites.iter().map(|site| ChannelSums::new(site.stored.len())).collect(),
            pulls: Vec::new(),
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

fn is_near(losses: &[f64], sufficient: f64) -> bool {
    losses.len() >= WINDOW && losses[losses.len() - WINDOW..].iter().sum::<f64>() <= WINDOW as f64 * sufficient
}
