//! Gradient descent on pixels.

use rayon::prelude::*;

use super::input::{Augmentation, Input};
use super::loss::{Gaussian, StatisticsLoss};
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, cosine};
use crate::execution::tape::{ChannelSums, Lane, Tape};
use crate::graph::ValueId;
use crate::kernels::Isa;
use crate::ops::operator::Gradient;
use crate::random::Random;

/// Stored statistics of one BatchNormalization input.
pub struct Site {
    pub value: ValueId,
    /// Per channel; variances hold the layer's epsilon.
    pub stored: Vec<Gaussian>,
    pub epsilon: f64,
}

/// Gradient a + b·x per channel, which the statistics loss gives every element x of a site.
struct Pull {
    a: Vec<f32>,
    b: Vec<f32>,
}

/// What is optimized: the samples of one batch, each with its lane.
pub struct Pixels<'a> {
    pub tape: &'a mut Tape,
    pub sites: &'a [Site],
    /// Offsets of swing convolutions.
    pub swings: &'a [ValueId],
    pub loss: &'a dyn StatisticsLoss,
    pub inputs: &'a [Input],
    pub isa: Isa,
}

struct Sample {
    lane: Lane,
    /// Per input.
    elements: Vec<Vec<f32>>,
    adam: Vec<Adam>,
    sums: Vec<ChannelSums>,
}

impl Pixels<'_> {
    /// Optimizes one batch of samples in place; `initial[sample][input]` are row-major elements. Returns the losses.
    pub fn optimize(
        &mut self,
        initial: &mut [Vec<Vec<f32>>],
        steps: usize,
        random: &mut Random,
        on_step: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<Vec<f64>> {
        let mut samples: Vec<Sample> = initial.iter_mut().map(|elements| self.sample(std::mem::take(elements))).collect();
        let mut losses = Vec::with_capacity(steps);
        for step in 0..steps {
            self.swing(random)?;
            let augmentation = self.draw(random);
            let pulls = self.forward(&mut samples, augmentation, &mut losses)?;
            self.backward(&mut samples, augmentation, &pulls, cosine(step, steps));
            on_step(losses.last().copied().unwrap_or(0.0))?;
        }
        for (elements, sample) in initial.iter_mut().zip(samples) {
            *elements = sample.elements;
        }
        Ok(losses)
    }

    fn sample(&self, elements: Vec<Vec<f32>>) -> Sample {
        let adam = elements.iter().map(|elements| Adam::new(elements.len())).collect();
        Sample { lane: self.tape.lane(), elements, adam, sums: vec![ChannelSums::default(); self.sites.len()] }
    }

    /// New offsets for all swing convolutions.
    fn swing(&mut self, random: &mut Random) -> Result<()> {
        for value in self.swings {
            let offset = self.tape.parameter_mut(*value).ok_or_else(|| Error::Internal("a swing offset is not a parameter".into()))?;
            offset.iter_mut().for_each(|x| *x = random.below(3) as f32);
        }
        if !self.swings.is_empty() {
            self.tape.refresh();
        }
        Ok(())
    }

    fn draw(&self, random: &mut Random) -> Augmentation {
        let reach = self.inputs.iter().map(|input| input.height() / 16).max().unwrap_or(0).min(8);
        let mut shift = || random.below(2 * reach + 1) as isize - reach as isize;
        let shift = (shift(), shift());
        Augmentation { flip: random.below(2) == 1, shift }
    }

    fn forward(&self, samples: &mut [Sample], augmentation: Augmentation, losses: &mut Vec<f64>) -> Result<Vec<Pull>> {
        samples.par_iter_mut().try_for_each(|sample| -> Result<()> {
            for (index, (input, elements)) in self.inputs.iter().zip(&sample.elements).enumerate() {
                self.tape.load(&mut sample.lane, index, &input.augment(elements, augmentation));
            }
            self.tape.forward(&mut sample.lane);
            for (site, sums) in self.sites.iter().zip(&mut sample.sums) {
                *sums = ChannelSums::of(self.tape.read(&sample.lane, site.value)?, site.stored.len(), self.isa);
            }
            Ok(())
        })?;
        let mut total = 0.0;
        let mut pulls = Vec::with_capacity(self.sites.len());
        for (index, site) in self.sites.iter().enumerate() {
            let mut sums = ChannelSums::default();
            samples.iter().for_each(|sample| sums.add(&sample.sums[index]));
            let (loss, pull) = self.pull(site, &sums);
            total += loss;
            pulls.push(pull);
        }
        losses.push(total);
        Ok(pulls)
    }

    /// Mean distance over the site's channels, as its share of the mean over sites, and its gradient.
    fn pull(&self, site: &Site, sums: &ChannelSums) -> (f64, Pull) {
        let share = 1.0 / (site.stored.len() * self.sites.len()) as f64;
        let mut pull = Pull { a: Vec::new(), b: Vec::new() };
        let mut total = 0.0;
        for ((mean, variance), stored) in sums.moments().zip(&site.stored) {
            let found = self.loss.distance(Gaussian { mean, variance: variance + site.epsilon }, *stored);
            total += found.value * share;
            let scale = share / sums.count;
            pull.a.push((scale * (found.by_mean - 2.0 * mean * found.by_variance)) as f32);
            pull.b.push((scale * 2.0 * found.by_variance) as f32);
        }
        (total, pull)
    }

    fn backward(&self, samples: &mut [Sample], augmentation: Augmentation, pulls: &[Pull], rate: f32) {
        let seed = |index: usize, values: &[f32], gradient: &mut Gradient<'_>| {
            let Pull { a, b } = &pulls[index];
            let target = gradient.open();
            self.isa.run(
                #[inline(always)]
                || add_pull(values, a, b, target),
            );
        };
        let none = self.tape.shared_gradients();
        samples.par_iter_mut().for_each_init(
            || none.clone(),
            |unused, sample| {
                self.tape.backward(&mut sample.lane, unused, &seed);
                for (index, input) in self.inputs.iter().enumerate() {
                    let gradient: Vec<f32> = self.tape.input_gradient(&sample.lane, index).collect();
                    let gradient = input.restore(&gradient, augmentation);
                    let elements = &mut sample.elements[index];
                    sample.adam[index].step(gradient.into_iter(), |i, direction| {
                        let (low, high) = input.bounds(i);
                        elements[i] = (elements[i] - rate * 0.025 * (high - low) * direction).clamp(low, high);
                    });
                }
            },
        );
    }
}

#[inline(always)]
fn add_pull(values: &[f32], a: &[f32], b: &[f32], target: &mut [f32]) {
    for (row, target) in values.chunks_exact(a.len()).zip(target.chunks_exact_mut(a.len())) {
        for (((x, t), a), b) in row.iter().zip(target).zip(a).zip(b) {
            *t += a + b * x;
        }
    }
}
