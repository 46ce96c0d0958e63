//! Images that a small network makes of latent vectors; both are tuned.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::generator_graph::{LATENT, draw};
use crate::error::{Error, Result};
use crate::execution::Tunable;
use crate::execution::adam::{Adam, Decay, Moment};
use crate::execution::tape::{Lane, Request, SharedGradients, Tape};
use crate::graph::ValueId;
use crate::kernels::Isa;
use crate::ops::operator::Gradient;
use crate::random::Random;
use crate::synthesis::frame::Frame;
use crate::synthesis::matching::Sample;
use crate::synthesis::source::{Setting, Source, SourceKind};

/// A fresh network and fresh latent vectors for every batch.
///
/// Paper: Jeon et al. 2023 (GENIE), arXiv:2212.04780, section 3.1 and its code. Differences: no batch normalization (weights
/// start so that variances are kept instead, and samples stay independent), hence smaller steps of the weights (0.003 instead of
/// 0.01); half a cosine for both rates instead of plateaus and decay; fewer channels for larger pictures; and tanh maps to the valid range, so that no value has to be clamped.
pub const GENERATOR: SourceKind = SourceKind { name: "generator", open };

/// Learning rates of Adam, at first.
const LATENT_RATE: f32 = 0.1;
const WEIGHT_RATE: f32 = 0.003;
/// Samples whose weight gradients are summed by one thread: how many threads there are must not show.
const GROUPS: usize = 8;

struct Generator {
    tape: Tape,
    weights: Vec<(ValueId, Adam)>,
    latents: Vec<Latent>,
    groups: Vec<Group>,
    isa: Isa,
}

#[derive(Serialize, Deserialize)]
struct Latent {
    elements: Vec<f32>,
    adam: Adam,
}

struct Group {
    lane: Lane,
    gradients: SharedGradients,
}

fn open(setting: &Setting<'_>) -> Result<Box<dyn Source>> {
    let [input] = setting.inputs else { return Err(Error::Usage("a generator makes one input, and the model has several".into())) };
    let mut random = Random::new(setting.seed, 1 << 34 | setting.batch);
    let drawn = draw(input, &mut random)?;
    let isa = setting.isa;
    let seeds = [drawn.image];
    let request = Request { targets: &[], seeds: &seeds, input_gradients: true, parameters: &drawn.weights, isa };
    let tape = Tape::compile(&drawn.graph, &request)?;
    let size = |value: &ValueId| tape.parameter(*value).map_or(0, <[f32]>::len);
    let weights = drawn.weights.iter().map(|value| (*value, Adam::new(size(value), Decay::USUAL))).collect();
    let mut latent = |_| Latent { elements: (0..LATENT).map(|_| random.normal()).collect(), adam: Adam::new(LATENT, Decay::USUAL) };
    let latents = (0..setting.samples).map(&mut latent).collect();
    let groups = (0..GROUPS).map(|_| Group { lane: tape.lane(), gradients: SharedGradients::default() }).collect();
    Ok(Box::new(Generator { tape, weights, latents, groups, isa }))
}

impl Source for Generator {
    fn render(&mut self, samples: &mut [Sample]) {
        let share = samples.len().div_ceil(GROUPS).max(1);
        let tape = &self.tape;
        let work = self.groups.par_iter_mut().zip(samples.par_chunks_mut(share)).zip(self.latents.par_chunks(share));
        work.for_each(|((group, samples), latents)| {
            for (sample, latent) in samples.iter_mut().zip(latents) {
                tape.load(&mut group.lane, 0, &latent.elements);
                tape.forward_with(&mut group.lane, &mut |_, values| sample.elements[0].copy_from_slice(values));
            }
        });
    }

    fn descend(&mut self, samples: &mut [Sample], _: &Frame, at: Moment) -> Result<()> {
        let share = samples.len().div_ceil(GROUPS).max(1);
        let (tape, isa) = (&self.tape, self.isa);
        let latent_rate = LATENT_RATE * at.rate();
        let work = self.groups.par_iter_mut().zip(samples.par_chunks_mut(share)).zip(self.latents.par_chunks_mut(share));
        work.for_each(|((group, samples), latents)| {
            group.gradients = tape.shared_gradients();
            for (sample, latent) in samples.iter().zip(latents) {
                // Activations are made again instead of kept for every sample.
                tape.load(&mut group.lane, 0, &latent.elements);
                tape.forward(&mut group.lane);
                let seed = |_: usize, _: &[f32], gradient: &mut Gradient<'_>| {
                    gradient.open().iter_mut().zip(&sample.gradients[0]).for_each(|(to, from)| *to += from);
                };
                tape.backward(&mut group.lane, &mut group.gradients, &seed);
                let mut gradient = tape.input_gradient(&group.lane, 0).to_vec();
                latent.adam.direct(&mut gradient, isa);
                latent.elements.iter_mut().zip(gradient).for_each(|(x, direction)| *x -= latent_rate * direction);
            }
        });
        let used = samples.len().div_ceil(share);
        self.tune(used, WEIGHT_RATE * at.rate())
    }

    fn state(&self) -> postcard::Result<Vec<u8>> {
        let weights: Vec<&[f32]> = self.weights.iter().map(|(value, _)| self.tape.parameter(*value).unwrap_or_default()).collect();
        let adams: Vec<&Adam> = self.weights.iter().map(|(_, adam)| adam).collect();
        postcard::to_stdvec(&(weights, adams, &self.latents))
    }

    fn restore(&mut self, state: &[u8]) -> postcard::Result<()> {
        let (weights, adams, latents): (Vec<Vec<f32>>, Vec<Adam>, Vec<Latent>) = postcard::from_bytes(state)?;
        self.latents = latents;
        for (((value, adam), kept), elements) in self.weights.iter_mut().zip(adams).zip(weights) {
            *adam = kept;
            if let Some(memory) = self.tape.parameter_mut(*value).filter(|memory| memory.len() == elements.len()) {
                memory.copy_from_slice(&elements);
            }
        }
        self.tape.refresh().map_err(|_| postcard::Error::SerdeDeCustom)
    }
}

impl Generator {
    /// Moves the weights by the gradients of the first `used` groups.
    fn tune(&mut self, used: usize, rate: f32) -> Result<()> {
        let gradients: Vec<SharedGradients> = self.groups[..used].iter_mut().map(|group| std::mem::take(&mut group.gradients)).collect();
        let mut gradients = self.tape.parameter_gradients(&gradients);
        for (value, adam) in &mut self.weights {
            let gradient = gradients.get_mut(value).ok_or_else(|| Error::Internal("a weight has no gradient".into()))?;
            adam.direct(gradient, self.isa);
            let weights = self.tape.parameter_mut(*value).ok_or_else(|| Error::Internal("a weight is not a parameter".into()))?;
            weights.iter_mut().zip(gradient.iter()).for_each(|(weight, direction)| *weight -= rate * direction);
        }
        self.tape.refresh()
    }
}
