//! Images that a small network makes of latent vectors; both are tuned.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::generator_graph::{Drawn, LATENT, draw};
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, Decay, Moment};
use crate::execution::tape::{Lane, SharedGradients, Tape, Tuner};
use crate::execution::{Motion, Push, Tunable, Tuning};
use crate::graph::ValueId;
use crate::kernels::Isa;
use crate::ops::operator::Gradient;
use crate::random::Random;
use crate::synthesis::canvas::Canvas;
use crate::synthesis::frame::Frame;
use crate::synthesis::source::{Setting, Source, SourceKind};

/// A fresh network and fresh latent vectors for every batch.
///
/// Paper: Jeon et al. 2023 (GENIE), arXiv:2212.04780, section 3.1 and its code. Differences: no batch normalization (weights
/// start so that variances are kept instead, and samples stay independent), hence smaller steps of the weights (0.003 instead of
/// 0.01); half a cosine for both rates instead of plateaus and decay; fewer channels for larger pictures; and tanh maps to the valid range, so that no value has to be clamped.
pub const GENERATOR: SourceKind = SourceKind {
    name: "generator",
    open,
    #[cfg(feature = "candle")]
    open_on_devices: super::tensor_generator::open,
};

/// Learning rates of Adam, at first.
pub(super) const LATENT_RATE: f32 = 0.1;
const WEIGHT_RATE: f32 = 0.003;

/// How the weights move.
pub(super) fn tunings(weights: &[ValueId]) -> Vec<Tuning> {
    weights.iter().map(|value| Tuning { value: *value, motion: Motion::Free, rate: WEIGHT_RATE }).collect()
}

/// Samples whose weight gradients are summed by one thread: how many threads there are must not show.
const GROUPS: usize = 8;

struct Generator {
    tape: Tape,
    weights: Vec<ValueId>,
    tuner: Tuner,
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
    let (drawn, latents) = start(setting)?;
    let isa = setting.isa;
    let tape = Tape::compile(&drawn.graph, &drawn.request(&[drawn.image], isa))?;
    let tuner = Tuner::new(&tape, tunings(&drawn.weights), isa);
    let latents = latents.into_iter().map(|elements| Latent { elements, adam: Adam::new(LATENT, Decay::USUAL) }).collect();
    let groups = (0..GROUPS).map(|_| Group { lane: tape.lane(), gradients: SharedGradients::default() }).collect();
    Ok(Box::new(Generator { tape, weights: drawn.weights, tuner, latents, groups, isa }))
}

/// A network with its weights, and a latent vector for each sample, drawn.
pub(super) fn start(setting: &Setting<'_>) -> Result<(Drawn, Vec<Vec<f32>>)> {
    let [input] = setting.inputs else { return Err(Error::Usage("a generator makes one input, and the model has several".into())) };
    let mut random = Random::new(setting.seed, 1 << 34 | setting.batch);
    let drawn = draw(input, &mut random)?;
    let latents = (0..setting.samples).map(|_| (0..LATENT).map(|_| random.normal()).collect()).collect();
    Ok((drawn, latents))
}

impl Source for Generator {
    fn render(&mut self, samples: &mut [Canvas]) {
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

    fn descend(&mut self, samples: &mut [Canvas], _: &Frame, at: Moment) -> Result<()> {
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
                latent.adam.step(&mut latent.elements, tape.input_gradient(&group.lane, 0), &Motion::Free, latent_rate, isa);
            }
        });
        let used = samples.len().div_ceil(share);
        self.tune(used, at.rate())
    }

    fn state(&self) -> postcard::Result<Vec<u8>> {
        let weights: Vec<&[f32]> = self.weights.iter().map(|value| self.tape.parameter(*value).unwrap_or_default()).collect();
        postcard::to_stdvec(&(weights, self.tuner.optimizers(), &self.latents))
    }

    fn restore(&mut self, state: &[u8]) -> postcard::Result<()> {
        let (weights, adams, latents): (Vec<Vec<f32>>, Vec<Adam>, Vec<Latent>) = postcard::from_bytes(state)?;
        self.latents = latents;
        self.tuner.restore(adams);
        let put_back = |(value, elements): (&ValueId, Vec<f32>)| self.tape.write_parameter(*value, &elements);
        self.weights
            .iter()
            .zip(weights)
            .try_for_each(put_back)
            .and_then(|()| self.tape.refresh())
            .map_err(|_| postcard::Error::SerdeDeCustom)
    }
}

impl Generator {
    /// Moves the weights by the gradients of the first `used` groups.
    fn tune(&mut self, used: usize, factor: f32) -> Result<()> {
        let gradients: Vec<SharedGradients> = self.groups[..used].iter_mut().map(|group| std::mem::take(&mut group.gradients)).collect();
        let gradients = self.tape.parameter_gradients(&gradients);
        self.tuner.step(&mut self.tape, &gradients, factor, Push::default())
    }
}
