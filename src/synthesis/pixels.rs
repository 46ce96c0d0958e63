//! Gradient descent on pixels.

use rayon::prelude::*;

use super::input::{Augmentation, Input};
use super::loss::{Gaussian, StatisticsLoss};
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, Decay, cosine};
use crate::execution::tape::{ChannelSums, Lane, Tape, in_memory_order};
use crate::graph::ValueId;
use crate::kernels::Isa;
use crate::ops::operator::{Gradient, Layout};
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
    /// Distance at which no more steps are taken.
    pub sufficient: Option<f64>,
}

/// Steps whose mean distance is held against what is sufficient.
const WINDOW: usize = 8;

/// What all samples of a batch share.
struct Frame {
    /// In memory order, per input.
    layouts: Vec<Layout>,
    lows: Vec<Vec<f32>>,
    highs: Vec<Vec<f32>>,
    /// Where each element of the tape's input comes from, per input.
    views: Vec<Vec<u32>>,
}

struct Sample {
    lane: Lane,
    /// In memory order, per input.
    elements: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    adam: Vec<Adam>,
    /// Per site.
    sums: Vec<ChannelSums>,
    scratch: Vec<f32>,
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
        let mut frame = self.frame();
        let mut samples: Vec<Sample> = initial.iter().map(|elements| self.sample(elements, &frame)).collect();
        let mut losses = Vec::with_capacity(steps);
        for step in 0..steps {
            self.swing(random)?;
            let augmentation = self.draw(random);
            for ((input, layout), view) in self.inputs.iter().zip(&frame.layouts).zip(&mut frame.views) {
                input.view(augmentation, layout, layout, view);
            }
            let pulls = self.forward(&mut samples, &frame, &mut losses);
            self.backward(&mut samples, &frame, &pulls, cosine(step, steps));
            on_step(losses.last().copied().unwrap_or(0.0))?;
            let near = |sufficient: f64| {
                losses.len() >= WINDOW && losses[losses.len() - WINDOW..].iter().sum::<f64>() <= WINDOW as f64 * sufficient
            };
            if self.sufficient.is_some_and(near) {
                break;
            }
        }
        for (elements, sample) in initial.iter_mut().zip(samples) {
            for ((elements, memory), layout) in elements.iter_mut().zip(sample.elements).zip(&frame.layouts) {
                elements.iter_mut().zip(layout.offsets()).for_each(|(element, offset)| *element = memory[offset]);
            }
        }
        Ok(losses)
    }

    fn frame(&self) -> Frame {
        let layouts: Vec<Layout> = (0..self.inputs.len()).map(|index| self.tape.input_layout(index).clone()).collect();
        let (lows, highs) = self.inputs.iter().zip(&layouts).map(|(input, layout)| input.bounds(layout)).unzip();
        let views = self.inputs.iter().map(|input| vec![0; input.len()]).collect();
        Frame { layouts, lows, highs, views }
    }

    fn sample(&self, elements: &[Vec<f32>], frame: &Frame) -> Sample {
        let adam = elements.iter().map(|elements| Adam::new(elements.len(), Decay::SHORT)).collect();
        let channels = self.sites.iter().map(|site| site.stored.len());
        Sample {
            lane: self.tape.lane(),
            elements: elements.iter().zip(&frame.layouts).map(|(elements, layout)| in_memory_order(elements, layout)).collect(),
            gradients: elements.iter().map(|elements| vec![0.0; elements.len()]).collect(),
            adam,
            sums: channels.clone().map(ChannelSums::new).collect(),
            scratch: vec![0.0; 2 * channels.max().unwrap_or(0)],
        }
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

    fn forward(&self, samples: &mut [Sample], frame: &Frame, losses: &mut Vec<f64>) -> Vec<Pull> {
        samples.par_iter_mut().for_each(|sample| {
            for (index, (elements, view)) in sample.elements.iter().zip(&frame.views).enumerate() {
                let memory = self.tape.input_mut(&mut sample.lane, index);
                memory.iter_mut().zip(view).for_each(|(to, from)| *to = elements[*from as usize]);
            }
            let (sums, scratch) = (&mut sample.sums, &mut sample.scratch);
            self.tape.forward_with(&mut sample.lane, &mut |site, values| {
                sums[site].clear();
                sums[site].add_sample(values, scratch, self.isa);
            });
        });
        let mut total = 0.0;
        let mut pulls = Vec::with_capacity(self.sites.len());
        for (index, site) in self.sites.iter().enumerate() {
            let mut sums = ChannelSums::new(site.stored.len());
            samples.iter().for_each(|sample| sums.add(&sample.sums[index]));
            let (loss, pull) = self.pull(site, &sums);
            total += loss;
            pulls.push(pull);
        }
        losses.push(total);
        pulls
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

    fn backward(&self, samples: &mut [Sample], frame: &Frame, pulls: &[Pull], rate: f32) {
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
                for index in 0..self.inputs.len() {
                    let (gradient, view) = (&mut sample.gradients[index], &frame.views[index]);
                    for (from, to) in self.tape.input_gradient(&sample.lane, index).iter().zip(view) {
                        gradient[*to as usize] = *from;
                    }
                    sample.adam[index].direct(gradient, self.isa);
                    let (elements, low, high) = (&mut sample.elements[index], &frame.lows[index], &frame.highs[index]);
                    self.isa.run(
                        #[inline(always)]
                        || descend(elements, gradient, low, high, rate),
                    );
                }
            },
        );
    }
}

/// Largest step of a pixel, as a part of its range.
const REACH: f32 = 0.035;

#[inline(always)]
fn descend(elements: &mut [f32], directions: &[f32], low: &[f32], high: &[f32], rate: f32) {
    let n = elements.len();
    let (directions, low, high) = (&directions[..n], &low[..n], &high[..n]);
    for i in 0..n {
        let moved = elements[i] - rate * REACH * (high[i] - low[i]) * directions[i];
        let raised = if moved < low[i] { low[i] } else { moved };
        elements[i] = if raised > high[i] { high[i] } else { raised };
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
