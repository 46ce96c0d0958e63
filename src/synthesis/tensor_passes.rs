//! The same passes on tensors: on graphics cards, with whole batches at once.

use candle_core::Tensor;
use rayon::prelude::*;

use super::frame::Frame;
use super::goal::{Goal, Pull, Site};
use super::matching::Sample;
use super::passes::{Passes, Setup, draw_offsets};
use crate::error::Result;
use crate::execution::Tunable;
use crate::execution::candle::{Network, Pass, in_parts, moments, numbers, pull, share_out, tensor_error};
use crate::execution::tape::{ChannelSums, Request};
use crate::graph::ValueId;
use crate::ops::operator::Layout;
use crate::progress::Progress;
use crate::random::Random;

/// The network on each device, with the samples of a batch shared out to all.
pub struct TensorPasses {
    ranks: Vec<Rank>,
    swings: Vec<ValueId>,
}

/// One device.
struct Rank {
    network: Network,
    /// Samples that go through at once.
    at_once: usize,
    /// The pass that the samples of this rank left, where they went through at once.
    pass: Option<Pass>,
}

impl TensorPasses {
    /// # Errors
    /// If a device does not answer, or something before a seed cannot be computed.
    pub fn new(setup: &Setup<'_>, progress: &dyn Progress) -> Result<Self> {
        let Setup { graph, goal, swings, samples, execution, .. } = *setup;
        let seeds = goal.seeds();
        let request = Request { targets: &[], seeds: &seeds, input_gradients: true, parameters: swings, isa: execution.isa };
        let devices = execution.device.open()?;
        let networks = devices.iter().map(|device| Network::compile(graph, &request, device)).collect::<Result<Vec<_>>>()?;
        if let Some([first, ..]) = networks.first().map(Network::on_host) {
            let count = networks[0].on_host().len();
            progress.note(&format!("{}: {count} nodes run on the CPU, beginning with {first}", execution.device));
        }
        let swings = swings.iter().copied().filter(|value| networks.iter().all(|network| network.parameter(*value).is_some())).collect();
        let at_once = samples.div_ceil(networks.len().max(1)).max(1);
        Ok(TensorPasses { ranks: networks.into_iter().map(|network| Rank { network, at_once, pass: None }).collect(), swings })
    }
}

impl Passes for TensorPasses {
    fn input_layout(&self, input: usize) -> Layout {
        self.ranks.first().map_or_else(|| Layout::row_major(&[]), |rank| Layout::row_major(rank.network.input_shape(input)))
    }

    fn swing(&mut self, random: &mut Random) -> Result<()> {
        for value in &self.swings {
            let mut offsets = self.ranks[0].network.parameter(*value).unwrap_or_default().to_vec();
            draw_offsets(&mut offsets, random);
            for rank in &mut self.ranks {
                rank.network.parameter_mut(*value).into_iter().for_each(|memory| memory.copy_from_slice(&offsets));
            }
        }
        if !self.swings.is_empty() {
            self.ranks.iter_mut().try_for_each(|rank| rank.network.refresh())?;
        }
        Ok(())
    }

    fn forward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, progress: &dyn Progress) -> Result<()> {
        samples.par_iter_mut().for_each(|sample| sample.look(frame));
        let share = 1.0 / samples.len().max(1) as f64;
        share_out(&mut self.ranks, samples, |rank, samples| {
            rank.in_parts(samples, progress, |rank, samples| rank.forward(samples, frame, goal, share))
        })
    }

    fn backward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, shared: &[Pull], progress: &dyn Progress) -> Result<()> {
        let share = 1.0 / samples.len().max(1) as f32;
        share_out(&mut self.ranks, samples, |rank, samples| {
            rank.in_parts(samples, progress, |rank, samples| rank.backward(samples, frame, goal, shared, share))
        })?;
        samples.par_iter_mut().for_each(|sample| sample.complete_gradients(goal.method, frame, share));
        Ok(())
    }
}

impl Rank {
    /// Does `work` on as many samples at once as there is memory for.
    fn in_parts(
        &mut self,
        samples: &mut [Sample],
        progress: &dyn Progress,
        work: impl Fn(&mut Rank, &mut [Sample]) -> Result<()>,
    ) -> Result<()> {
        let mut at_once = self.at_once;
        let done = in_parts(samples.len(), &mut at_once, progress, |part| {
            let all = part.len() == samples.len();
            let done = work(self, &mut samples[part]);
            // What a part leaves is overwritten by the next.
            self.pass.take_if(|_| !all || done.is_err());
            done
        });
        self.at_once = at_once;
        done
    }

    /// Brings samples through the network.
    fn show(&self, samples: &[Sample], frame: &Frame) -> Result<Pass> {
        let upload = |index: usize| {
            let elements: Vec<Vec<f32>> = samples.par_iter().map(|sample| sample.seen(index, frame).collect()).collect();
            self.network.upload(index, elements.concat())
        };
        let images = (0..frame.views.len()).map(upload).collect::<Result<Vec<_>>>()?;
        self.network.forward(images, true)
    }

    fn forward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, share: f64) -> Result<()> {
        self.pass = None;
        let pass = self.show(samples, frame)?;
        for (index, value) in self.network.seeds().iter().enumerate() {
            let tensor = pass.read(*value)?;
            match goal.sites.get(index) {
                Some(site) => add_sums(tensor, site, samples, index)?,
                None => {
                    let scores = numbers(tensor)?;
                    let classes = scores.len() / samples.len().max(1);
                    for (sample, scores) in samples.iter_mut().zip(scores.chunks(classes.max(1))) {
                        sample.loss += share * goal.judge_scores(scores, sample.label, &mut sample.scores_gradient);
                    }
                }
            }
        }
        self.pass = Some(pass);
        Ok(())
    }

    fn backward(&mut self, samples: &mut [Sample], frame: &Frame, goal: &Goal<'_>, shared: &[Pull], share: f32) -> Result<()> {
        let pass = match self.pass.take() {
            Some(pass) => pass,
            None => self.show(samples, frame)?,
        };
        let seed = &mut |index: usize, x: &Tensor, before: Option<Tensor>| match index < goal.sites.len() {
            true => pulled(x, index, samples, shared, before),
            false => score_gradient(x, samples, share, before).map(Some),
        };
        let gradients = self.network.backward(pass, seed)?;
        for (index, gradient) in gradients.inputs.iter().enumerate() {
            let length = samples.first().map_or(0, |sample| sample.elements[index].len());
            let found = gradient.as_ref().map_or_else(|| Ok(vec![0.0; length * samples.len()]), numbers)?;
            samples.par_iter_mut().zip(found.par_chunks(length.max(1))).for_each(|(sample, g)| sample.take_gradient(index, g, frame));
        }
        Ok(())
    }
}

/// Sets every sample's sums at site `index`.
fn add_sums(x: &Tensor, site: &Site, samples: &mut [Sample], index: usize) -> Result<()> {
    let means: Vec<f32> = site.stored.iter().map(|stored| stored.mean as f32).collect();
    let channels = means.len();
    let count = x.elem_count() / (samples.len() * channels).max(1);
    let found = moments(x, &means)?;
    let (sums, squares) = found.split_at(found.len() / 2);
    for (sample, (sums, squares)) in samples.iter_mut().zip(sums.chunks(channels).zip(squares.chunks(channels))) {
        let of = |(mean, (sum, square)): (&f32, (&f32, &f32))| {
            let (mean, sum, square, count) = (f64::from(*mean), f64::from(*sum), f64::from(*square), count as f64);
            (sum + count * mean, square + 2.0 * mean * sum + count * mean * mean)
        };
        let (sum, sum_of_squares) = means.iter().zip(sums.iter().zip(squares)).map(of).unzip();
        sample.sums[index] = ChannelSums { count: count as f64, sum, sum_of_squares };
    }
    Ok(())
}

/// Adds what pulls at site `index`: the pull of each sample, or the one of all.
fn pulled(x: &Tensor, index: usize, samples: &[Sample], shared: &[Pull], before: Option<Tensor>) -> Result<Option<Tensor>> {
    let own: Vec<&Pull> = samples.iter().filter_map(|sample| sample.pulls.get(index)).collect();
    let pulls = if own.is_empty() { shared.get(index).into_iter().collect() } else { own };
    if pulls.is_empty() {
        return Ok(before);
    }
    let factors = [Pull::constant, Pull::by_value].iter().flat_map(|of| pulls.iter().flat_map(|pull| of(pull)).copied());
    pull(x, factors.collect(), before).map(Some)
}

fn score_gradient(scores: &Tensor, samples: &[Sample], share: f32, before: Option<Tensor>) -> Result<Tensor> {
    let elements: Vec<f32> = samples.iter().flat_map(|sample| &sample.scores_gradient).map(|g| share * g).collect();
    let gradient = Tensor::from_vec(elements, scores.dims(), scores.device());
    let sum = gradient.and_then(|gradient| if let Some(before) = before { before + gradient } else { Ok(gradient) });
    sum.map_err(tensor_error)
}
