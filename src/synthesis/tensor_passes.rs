//! The same passes on tensors: on graphics cards, with whole batches at once. Images stay there while they move.

use candle_core::{Device, Tensor};

use super::goal::{Goal, Pull, Site};
use super::input::Augmentation;
use super::matching::{Image, Sample};
use super::method::{Method, Pool};
use super::passes::{Passes, Setup, damaged, draw_offsets};
use super::screen::Screen;
use super::source::{Setting, TensorSetting, TensorSource};
use crate::error::{Error, Result};
use crate::execution::adam::Moment;
use crate::execution::candle::{Network, Pass, in_parts, moments, numbers, pull, share_out, tensor_error};
use crate::execution::tape::{ChannelSums, Request};
use crate::execution::{self, Tunable};
use crate::graph::ValueId;
use crate::progress::Progress;
use crate::random::Random;

/// The network on each device, with the samples of a batch shared out to all.
pub struct TensorPasses {
    ranks: Vec<Rank>,
    devices: Vec<Device>,
    swings: Vec<ValueId>,
    method: Method,
    source: Option<Box<dyn TensorSource>>,
}

/// One device.
struct Rank {
    network: Network,
    /// Samples that go through at once.
    at_once: usize,
    /// The pass that the samples of this rank left, where they went through at once.
    pass: Option<Pass>,
    /// Stored means of each site, which sums are taken from: here and on the device, `[1, channels]`.
    means: Vec<(Vec<f32>, Tensor)>,
    /// Per input.
    screens: Vec<Screen>,
    images: Vec<Tensor>,
    gradients: Vec<Tensor>,
    /// On the pixels of these samples.
    loss: f64,
}

impl TensorPasses {
    /// # Errors
    /// If a device does not answer, or something before a seed cannot be computed.
    pub fn new(setup: &Setup<'_>, progress: &dyn Progress) -> Result<Self> {
        let Setup { goal, swings, samples, execution, .. } = *setup;
        let devices = execution.device.open()?;
        let at_once = samples.div_ceil(devices.len().max(1)).max(1);
        let ranks = devices.iter().map(|device| Rank::new(setup, device, at_once)).collect::<Result<Vec<_>>>()?;
        report_host(ranks.first().map_or(&[], |rank| rank.network.on_host()), execution.device, progress);
        let is_parameter = |value: &ValueId| ranks.iter().all(|rank| rank.network.parameter_layout(*value).is_some());
        let swings = swings.iter().copied().filter(is_parameter).collect();
        Ok(TensorPasses { ranks, devices, swings, method: goal.method.clone(), source: None })
    }

    fn source(&mut self) -> Result<&mut Box<dyn TensorSource>> {
        self.source.as_mut().ok_or_else(nothing_begun)
    }
}

fn nothing_begun() -> Error {
    Error::Internal("no batch was begun".into())
}

fn report_host(nodes: &[String], device: execution::Device, progress: &dyn Progress) {
    if let [first, ..] = nodes {
        progress.note(&format!("{device}: {} nodes run on the CPU, beginning with {first}", nodes.len()));
    }
}

impl Passes for TensorPasses {
    fn begin(&mut self, images: Vec<Image>, setting: &Setting<'_>) -> Result<()> {
        let share = images.len().div_ceil(self.devices.len().max(1)).max(1);
        let mut rest = images.into_iter();
        let parts = std::iter::from_fn(|| Some(rest.by_ref().take(share).collect()).filter(|part: &Vec<Image>| !part.is_empty()));
        let images: Vec<Vec<Image>> = parts.collect();
        let start = TensorSetting { setting, devices: &self.devices, images: &images };
        self.source = Some((self.method.source.open_on_devices)(&start)?);
        Ok(())
    }

    fn swing(&mut self, random: &mut Random) -> Result<()> {
        for value in &self.swings {
            let mut offsets = vec![0.0; self.ranks[0].network.parameter_layout(*value).map_or(0, |layout| layout.len())];
            draw_offsets(&mut offsets, random);
            self.ranks.iter_mut().try_for_each(|rank| rank.network.write_parameter(*value, &offsets))?;
        }
        if !self.swings.is_empty() {
            self.ranks.iter_mut().try_for_each(|rank| rank.network.refresh())?;
        }
        Ok(())
    }

    fn see_through(&mut self, augmentation: Augmentation) -> Result<()> {
        let mut screens = self.ranks.iter_mut().flat_map(|rank| &mut rank.screens);
        screens.try_for_each(|screen| screen.see_through(augmentation)).map_err(tensor_error)
    }

    fn forward(&mut self, samples: &mut [Sample], goal: &Goal<'_>, progress: &dyn Progress) -> Result<()> {
        let images = self.source()?.images(progress)?;
        self.ranks.iter_mut().zip(images).for_each(|(rank, images)| rank.images = images);
        let share = 1.0 / samples.len().max(1) as f64;
        share_out(&mut self.ranks, samples, |rank, samples| {
            rank.in_parts(samples, progress, |rank, first, samples| rank.forward(first, samples, goal, share))
        })
    }

    fn backward(&mut self, samples: &[Sample], goal: &Goal<'_>, shared: &[Pull], progress: &dyn Progress) -> Result<f64> {
        let share = 1.0 / samples.len().max(1) as f32;
        let mut samples: Vec<&Sample> = samples.iter().collect();
        self.ranks.iter_mut().for_each(|rank| (rank.gradients, rank.loss) = (Vec::new(), 0.0));
        share_out(&mut self.ranks, &mut samples, |rank, samples| {
            let mut parts: Vec<Vec<Tensor>> = Vec::new();
            rank.in_parts(samples, progress, |rank, first, samples| {
                let part = rank.backward(first, samples, goal, shared, share)?;
                parts.push(part);
                Ok(())
            })?;
            rank.finish_gradients(&parts, goal, share)
        })?;
        Ok(self.ranks.iter().map(|rank| rank.loss).sum())
    }

    fn descend(&mut self, at: Moment, progress: &dyn Progress) -> Result<()> {
        let gradients: Vec<Vec<Tensor>> = self.ranks.iter_mut().map(|rank| std::mem::take(&mut rank.gradients)).collect();
        self.source()?.descend(&gradients, at, progress)
    }

    fn state(&self) -> Result<Vec<u8>> {
        self.source.as_ref().ok_or_else(nothing_begun)?.state()
    }

    fn put_back(&mut self, state: &[u8]) -> Result<()> {
        self.source()?.restore(state).map_err(|_| damaged())
    }

    fn finish(&mut self, progress: &dyn Progress) -> Result<Vec<Image>> {
        let found = self.source()?.images(progress)?;
        let mut images = Vec::new();
        for (rank, tensors) in self.ranks.iter_mut().zip(found) {
            let count = tensors.first().map_or(Ok(0), |tensor| tensor.dim(0)).map_err(tensor_error)?;
            let mut of_rank: Vec<Image> = vec![Vec::new(); count];
            for (screen, tensor) in rank.screens.iter().zip(&tensors) {
                let elements = numbers(&screen.blur(tensor).map_err(tensor_error)?)?;
                let length = elements.len() / count.max(1);
                of_rank.iter_mut().zip(elements.chunks(length.max(1))).for_each(|(image, input)| image.push(input.to_vec()));
            }
            images.extend(of_rank);
            (rank.images, rank.pass) = (Vec::new(), None);
        }
        self.source = None;
        Ok(images)
    }
}

impl Rank {
    fn new(setup: &Setup<'_>, device: &Device, at_once: usize) -> Result<Self> {
        let Setup { graph, goal, swings, inputs, execution, .. } = *setup;
        let seeds = goal.seeds();
        let request = Request { targets: &[], seeds: &seeds, input_gradients: true, parameters: swings, isa: execution.isa };
        let network = Network::compile(graph, &request, device)?;
        let means = |site: &Site| {
            let means: Vec<f32> = site.stored.iter().map(|stored| stored.mean as f32).collect();
            let tensor = Tensor::from_slice(&means, (1, means.len()), device)?;
            Ok((means, tensor))
        };
        let means = goal.sites.iter().map(means).collect::<candle_core::Result<_>>().map_err(tensor_error)?;
        let screens = inputs.iter().map(|input| Screen::new(input, goal.method.low_pass, device)).collect::<candle_core::Result<_>>();
        let screens = screens.map_err(tensor_error)?;
        Ok(Rank { network, at_once, pass: None, means, screens, images: Vec::new(), gradients: Vec::new(), loss: 0.0 })
    }

    /// Does `work` on as many samples at once as there is memory for; it is told which is the first.
    fn in_parts<T>(
        &mut self,
        samples: &mut [T],
        progress: &dyn Progress,
        mut work: impl FnMut(&mut Rank, usize, &mut [T]) -> Result<()>,
    ) -> Result<()> {
        let mut at_once = self.at_once;
        let done = in_parts(samples.len(), &mut at_once, progress, |part| {
            let all = part.len() == samples.len();
            let done = work(self, part.start, &mut samples[part]);
            // What a part leaves is overwritten by the next.
            self.pass.take_if(|_| !all || done.is_err());
            done
        });
        self.at_once = at_once;
        done
    }

    /// Brings `count` samples through the network, from number `first` on.
    fn show(&self, first: usize, count: usize) -> Result<Pass> {
        let shown = |(screen, images): (&Screen, &Tensor)| screen.show(&images.narrow(0, first, count)?);
        let shown = self.screens.iter().zip(&self.images).map(shown).collect::<candle_core::Result<Vec<_>>>();
        self.network.forward(shown.map_err(tensor_error)?, true)
    }

    fn forward(&mut self, first: usize, samples: &mut [Sample], goal: &Goal<'_>, share: f64) -> Result<()> {
        self.pass = None;
        samples.iter_mut().for_each(|sample| sample.loss = 0.0);
        let pass = self.show(first, samples.len())?;
        let each = goal.method.pool == Pool::Image;
        // Everything that the host needs of the pass is brought there at once.
        let mut wanted: Vec<Tensor> = Vec::new();
        for (index, value) in self.network.seeds().iter().enumerate() {
            let tensor = pass.read(*value)?;
            let found = match self.means.get(index) {
                Some((_, means)) => {
                    moments(tensor, means).and_then(|sums| if each { Ok(sums) } else { sums.sum(1).map_err(tensor_error) })?
                }
                None => tensor.clone(),
            };
            wanted.push(found.flatten_all().map_err(tensor_error)?);
        }
        let found = if wanted.is_empty() { Vec::new() } else { numbers(&Tensor::cat(&wanted, 0).map_err(tensor_error)?)? };
        let mut rest = found.as_slice();
        for (index, (value, wanted)) in self.network.seeds().iter().zip(&wanted).enumerate() {
            let (own, others) = rest.split_at(wanted.elem_count());
            rest = others;
            match self.means.get(index) {
                Some((means, _)) => {
                    let positions = pass.read(*value)?.elem_count() / (samples.len() * means.len()).max(1);
                    set_sums(samples, index, means, own, positions);
                }
                None => judge(samples, own, goal, share),
            }
        }
        self.pass = Some(pass);
        Ok(())
    }

    /// The gradients of samples from number `first` on, per input.
    fn backward(&mut self, first: usize, samples: &[&Sample], goal: &Goal<'_>, shared: &[Pull], share: f32) -> Result<Vec<Tensor>> {
        let pass = match self.pass.take() {
            Some(pass) => pass,
            None => self.show(first, samples.len())?,
        };
        let seed = &mut |index: usize, x: &Tensor, before: Option<Tensor>| match index < goal.sites.len() {
            true => pulled(x, index, samples, shared, before),
            false => score_gradient(x, samples, share, before).map(Some),
        };
        let found = self.network.backward(pass, seed)?;
        let back = |((screen, images), gradient): ((&Screen, &Tensor), &Option<Tensor>)| match gradient {
            Some(gradient) => screen.back(gradient),
            None => images.narrow(0, first, samples.len())?.zeros_like(),
        };
        let gradients = self.screens.iter().zip(&self.images).zip(&found.inputs).map(back);
        gradients.collect::<candle_core::Result<_>>().map_err(tensor_error)
    }

    /// Puts the gradients of parts together, with those of losses on pixels.
    fn finish_gradients(&mut self, parts: &[Vec<Tensor>], goal: &Goal<'_>, share: f32) -> Result<()> {
        let losses = &goal.method.image_losses;
        let mut finish = |index: usize| -> candle_core::Result<Tensor> {
            let of_parts: Vec<&Tensor> = parts.iter().map(|part| &part[index]).collect();
            let mut gradient = if let [one] = of_parts.as_slice() { (*one).clone() } else { Tensor::cat(&of_parts, 0)? };
            if !losses.is_empty()
                && let Some((loss, own)) = self.screens[index].judge(&self.images[index], losses, share.into())?
            {
                self.loss += f64::from(loss.to_scalar::<f32>()?);
                gradient = (gradient + own)?;
            }
            Ok(gradient)
        };
        let gradients = (0..self.images.len()).map(&mut finish).collect::<candle_core::Result<_>>();
        self.gradients = gradients.map_err(tensor_error)?;
        Ok(())
    }
}

/// Takes `found`, Σ (x − mean) and then Σ (x − mean)² of each channel, as sums at site `index`: one of each for every sample with
/// `positions` each, or one for all, which stands with the first.
fn set_sums(samples: &mut [Sample], index: usize, means: &[f32], found: &[f32], positions: usize) {
    let channels = means.len();
    let (sums, squares) = found.split_at(found.len() / 2);
    let together = samples.len() * channels / sums.len().max(1);
    let count = (positions * together) as f64;
    samples.iter_mut().for_each(|sample| sample.sums[index].clear());
    for (sample, (sums, squares)) in samples.iter_mut().zip(sums.chunks(channels).zip(squares.chunks(channels))) {
        let of = |(mean, (sum, square)): (&f32, (&f32, &f32))| {
            let (mean, sum, square) = (f64::from(*mean), f64::from(*sum), f64::from(*square));
            (sum + count * mean, square + 2.0 * mean * sum + count * mean * mean)
        };
        let (sum, sum_of_squares) = means.iter().zip(sums.iter().zip(squares)).map(of).unzip();
        sample.sums[index] = ChannelSums { count, sum, sum_of_squares };
    }
}

fn judge(samples: &mut [Sample], scores: &[f32], goal: &Goal<'_>, share: f64) {
    let classes = scores.len() / samples.len().max(1);
    for (sample, scores) in samples.iter_mut().zip(scores.chunks(classes.max(1))) {
        sample.loss += share * goal.judge_scores(scores, sample.label, &mut sample.scores_gradient);
    }
}

/// Adds what pulls at site `index`: the pull of each sample, or the one of all.
fn pulled(x: &Tensor, index: usize, samples: &[&Sample], shared: &[Pull], before: Option<Tensor>) -> Result<Option<Tensor>> {
    let own: Vec<&Pull> = samples.iter().filter_map(|sample| sample.pulls.get(index)).collect();
    let pulls = if own.is_empty() { shared.get(index).into_iter().collect() } else { own };
    if pulls.is_empty() {
        return Ok(before);
    }
    let factors = [Pull::constant, Pull::by_value].iter().flat_map(|of| pulls.iter().flat_map(|pull| of(pull)).copied());
    pull(x, factors.collect(), before).map(Some)
}

fn score_gradient(scores: &Tensor, samples: &[&Sample], share: f32, before: Option<Tensor>) -> Result<Tensor> {
    let elements: Vec<f32> = samples.iter().flat_map(|sample| &sample.scores_gradient).map(|g| share * g).collect();
    let gradient = Tensor::from_vec(elements, scores.dims(), scores.device());
    let sum = gradient.and_then(|gradient| if let Some(before) = before { before + gradient } else { Ok(gradient) });
    sum.map_err(tensor_error)
}
