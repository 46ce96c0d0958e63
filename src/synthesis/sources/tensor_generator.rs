//! Images that a small network makes of latent vectors, on devices.

use std::collections::HashMap;

use candle_core::Tensor;

use super::generator::{LATENT_RATE, start, tunings};
use super::generator_graph::LATENT;
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, Decay, Moment};
use crate::execution::candle::{Network, Tuned, add_gradients, in_parts, numbers, tensor_error};
use crate::execution::{Motion, Push, Tunable};
use crate::graph::ValueId;
use crate::progress::Progress;
use crate::synthesis::passes::{damaged, not_kept};
use crate::synthesis::source::{TensorSetting, TensorSource};

/// The network on each device, with the latent vectors of its samples. The weights move on the first one.
struct Generator {
    ranks: Vec<Rank>,
    image: ValueId,
    weights: Vec<ValueId>,
}

struct Rank {
    network: Network,
    /// `[samples, 1, 256]`.
    latents: Tuned,
    samples: usize,
    /// Samples that go through at once.
    at_once: usize,
}

/// What is kept of latent vectors.
type Latents = (Vec<f32>, Adam);

pub fn open(setting: &TensorSetting<'_>) -> Result<Box<dyn TensorSource>> {
    let (drawn, latents) = start(setting.setting)?;
    let isa = setting.setting.isa;
    let (mut ranks, mut drawn_latents) = (Vec::with_capacity(setting.devices.len()), latents.into_iter());
    for (images, device) in setting.images.iter().zip(setting.devices) {
        let samples = images.len();
        let network = Network::compile(&drawn.graph, &drawn.request(&[drawn.image], isa), device)?;
        let elements: Vec<f32> = drawn_latents.by_ref().take(samples).flatten().collect();
        let latents = Tuned::new(&elements, &[samples, 1, LATENT], &Motion::Free, Decay::USUAL, device, isa).map_err(tensor_error)?;
        ranks.push(Rank { network, latents, samples, at_once: samples });
    }
    if let Some(first) = ranks.first_mut() {
        first.network.tune(&tunings(&drawn.weights), isa)?;
    }
    Ok(Box::new(Generator { ranks, image: drawn.image, weights: drawn.weights }))
}

impl Generator {
    /// Lets all devices have the weights of the first.
    fn spread(&mut self) -> Result<()> {
        let Some((first, others)) = self.ranks.split_first_mut() else { return Ok(()) };
        others.iter_mut().try_for_each(|rank| rank.network.follow(&first.network))
    }
}

impl TensorSource for Generator {
    fn images(&mut self, progress: &dyn Progress) -> Result<Vec<Vec<Tensor>>> {
        let image = self.image;
        self.ranks.iter_mut().map(|rank| Ok(vec![rank.images(image, progress)?])).collect()
    }

    fn descend(&mut self, gradients: &[Vec<Tensor>], at: Moment, progress: &dyn Progress) -> Result<()> {
        let mut of_weights = HashMap::new();
        for (rank, gradients) in self.ranks.iter_mut().zip(gradients) {
            let gradient = gradients.first().ok_or_else(|| Error::Internal("an image has no gradient".into()))?;
            add_gradients(&mut of_weights, rank.descend(gradient, LATENT_RATE * at.rate(), progress)?)?;
        }
        self.ranks.iter_mut().take(1).try_for_each(|first| first.network.step(&of_weights, at.rate(), Push::default()))?;
        self.spread()
    }

    fn state(&self) -> Result<Vec<u8>> {
        let Some(first) = self.ranks.first() else { return Ok(Vec::new()) };
        let weight = |value: &ValueId| Ok(first.network.read_parameter(*value)?.unwrap_or_default());
        let weights = self.weights.iter().map(weight).collect::<Result<Vec<Vec<f32>>>>()?;
        let latents = |rank: &Rank| -> Result<Latents> {
            Ok((numbers(&rank.latents.value().map_err(tensor_error)?)?, rank.latents.adam().map_err(tensor_error)?))
        };
        let latents = self.ranks.iter().map(latents).collect::<Result<Vec<Latents>>>()?;
        postcard::to_stdvec(&(weights, first.network.optimizers()?, latents)).map_err(not_kept)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let (weights, adams, latents): (Vec<Vec<f32>>, Vec<Adam>, Vec<Latents>) = postcard::from_bytes(state).map_err(|_| damaged())?;
        for (rank, (elements, adam)) in self.ranks.iter_mut().zip(latents) {
            rank.latents.set(&elements).and_then(|()| rank.latents.restore(&adam)).map_err(|_| damaged())?;
        }
        let Some(first) = self.ranks.first_mut() else { return Ok(()) };
        self.weights.iter().zip(weights).try_for_each(|(value, elements)| first.network.write_parameter(*value, &elements))?;
        first.network.restore_optimizers(&adams)?;
        first.network.refresh()?;
        self.spread()
    }
}

impl Rank {
    fn images(&mut self, image: ValueId, progress: &dyn Progress) -> Result<Tensor> {
        let (network, latents, mut parts) = (&self.network, self.latents.value().map_err(tensor_error)?, Vec::new());
        in_parts(self.samples, &mut self.at_once, progress, |part| {
            let latents = latents.narrow(0, part.start, part.len()).map_err(tensor_error)?;
            parts.push(network.forward(vec![latents], false)?.read(image)?.clone());
            Ok(())
        })?;
        joined(&parts)
    }

    /// Moves the latent vectors, and returns the gradients of the weights.
    fn descend(&mut self, gradient: &Tensor, rate: f32, progress: &dyn Progress) -> Result<HashMap<ValueId, Tensor>> {
        let (network, latents) = (&self.network, self.latents.value().map_err(tensor_error)?);
        let (mut of_weights, mut of_latents) = (HashMap::new(), Vec::new());
        in_parts(self.samples, &mut self.at_once, progress, |part| {
            let of = |tensor: &Tensor| tensor.narrow(0, part.start, part.len()).map_err(tensor_error);
            // Activations are made again instead of kept from one step of the images to the next.
            let pass = network.forward(vec![of(&latents)?], true)?;
            let gradient = of(gradient)?;
            let mut found = network.backward(pass, &mut |_, _, _| Ok(Some(gradient.clone())))?;
            let of_part = found.inputs.pop().flatten().ok_or_else(|| Error::Internal("a latent vector has no gradient".into()))?;
            add_gradients(&mut of_weights, found.parameters)?;
            of_latents.push(of_part);
            Ok(())
        })?;
        self.latents.step(&joined(&of_latents)?, rate).map_err(tensor_error)?;
        Ok(of_weights)
    }
}

fn joined(parts: &[Tensor]) -> Result<Tensor> {
    match parts {
        [one] => Ok(one.clone()),
        parts => Tensor::cat(parts, 0).map_err(tensor_error),
    }
}
