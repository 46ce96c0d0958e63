//! Samples on a device: each is brought there when it is first seen, and what a step does to it is done there.

use std::collections::HashMap;

use candle_core::{Device, Result as Made, Tensor};

use super::sampling::{Source, View};
use crate::calibration::{CalibrationSet, Samples};
use crate::error::Result;
use crate::execution::candle::tensor_error;
use crate::synthesis::input::{Augmentation, Picture};

/// Bytes of samples that stay on a device, at first; later ones are brought there at every step.
const MOST: usize = 2 << 30;

/// Samples of one set and its parts.
pub struct Gallery {
    device: Device,
    /// Of what set those are that are kept.
    owner: Vec<Samples>,
    /// By input and place in the set.
    kept: HashMap<(usize, usize), Tensor>,
    bytes: usize,
    most: usize,
}

impl Gallery {
    pub fn new(device: &Device) -> Self {
        Gallery { device: device.clone(), owner: Vec::new(), kept: HashMap::new(), bytes: 0, most: MOST }
    }

    /// Gives back the memory of all samples, and keeps none from now on.
    pub fn release(&mut self) {
        (self.bytes, self.most) = (0, 0);
        self.kept.clear();
    }

    /// The samples that `views` are of, as a step sees them: `[views, …]` for each input.
    ///
    /// # Errors
    /// If a sample cannot be read back, or the device has no memory.
    pub fn show(&mut self, set: &CalibrationSet, views: &[View], sources: &[Source]) -> Result<Vec<Tensor>> {
        let mut pairs = self.owner.iter().zip(&set.inputs);
        if self.owner.len() != set.inputs.len() || !pairs.all(|(own, other)| own.elements.share_a_store(&other.elements)) {
            (self.owner, self.bytes) = (set.inputs.clone(), 0);
            self.kept.clear();
        }
        sources.iter().enumerate().map(|(index, source)| self.show_input(index, &set.inputs[index], views, source)).collect()
    }

    fn show_input(&mut self, index: usize, samples: &Samples, views: &[View], source: &Source) -> Result<Tensor> {
        let (augmentations, picture) = (views.iter().map(|view| view.augmentation).collect::<Vec<_>>(), source.picture());
        let own = self.stack(index, samples, views.iter().map(|view| view.sample))?;
        let own = seen(&own, picture, &augmentations).map_err(tensor_error)?;
        if views.iter().all(|view| view.mixed.is_none()) {
            return Ok(own);
        }
        let mixed = |view: &View| view.mixed.unwrap_or((view.sample, 0.0));
        let others = self.stack(index, samples, views.iter().map(|view| mixed(view).0))?;
        let parts: Vec<f32> = views.iter().map(|view| mixed(view).1).collect();
        let mix = || -> Made<Tensor> {
            let mut dims = vec![1; own.rank()];
            dims[0] = parts.len();
            let (others, parts) = (seen(&others, picture, &augmentations)?, Tensor::from_vec(parts, dims, &self.device)?);
            &own + (others - &own)?.broadcast_mul(&parts)?
        };
        mix().map_err(tensor_error)
    }

    /// Samples as they are, behind one another.
    fn stack(&mut self, index: usize, samples: &Samples, places: impl Iterator<Item = usize>) -> Result<Tensor> {
        let tensors = places.map(|place| self.sample(index, samples, place)).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&tensors, 0).map_err(tensor_error)
    }

    fn sample(&mut self, index: usize, samples: &Samples, sample: usize) -> Result<Tensor> {
        let key = (index, samples.elements.place_in_store(sample));
        if let Some(tensor) = self.kept.get(&key) {
            return Ok(tensor.clone());
        }
        let dims = [&[1], samples.shape.as_slice()].concat();
        let tensor = Tensor::from_slice(&samples.sample(sample)?, dims, &self.device).map_err(tensor_error)?;
        let bytes = samples.sample_len() * size_of::<f32>();
        if self.bytes + bytes <= self.most {
            self.bytes += bytes;
            self.kept.insert(key, tensor.clone());
        }
        Ok(tensor)
    }
}

/// Images `[samples, …]`, each through an augmentation of its own.
fn seen(images: &Tensor, picture: Option<Picture>, augmentations: &[Augmentation]) -> Made<Tensor> {
    let Some(Picture { height, width, dims, .. }) = picture else { return Ok(images.clone()) };
    if augmentations.iter().all(|augmentation| *augmentation == Augmentation::default()) {
        return Ok(images.clone());
    }
    let rows = augmentations.iter().flat_map(|augmentation| augmentation.rows(height)).collect();
    let columns = augmentations.iter().flat_map(|augmentation| augmentation.columns(width)).collect();
    take(&take(images, dims[1] + 1, rows)?, dims[2] + 1, columns)
}

/// What lies along dimension `dim`, from the places that each sample has for it.
fn take(images: &Tensor, dim: usize, places: Vec<usize>) -> Made<Tensor> {
    let mut dims = vec![1; images.rank()];
    (dims[0], dims[dim]) = (images.dim(0)?, images.dim(dim)?);
    let places: Vec<u32> = places.into_iter().map(|place| place as u32).collect();
    let places = Tensor::from_vec(places, dims, images.device())?.broadcast_as(images.dims())?.contiguous()?;
    images.contiguous()?.gather(&places, dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Provenance;
    use crate::distillation::sampling::Sampler;
    use crate::execution::candle::numbers;
    use crate::execution::candle::tests::devices;
    use crate::ops::operator::Layout;
    use crate::random::Random;
    use crate::synthesis::input::Input;
    use crate::synthesis::input_range::PixelRange;

    #[test]
    fn samples_on_a_device_are_seen_as_on_the_cpu() {
        let device = devices()[0].open().unwrap().swap_remove(0);
        for shape in [vec![1, 3, 6, 5], vec![1, 6, 5, 1], vec![1, 7]] {
            let mut random = Random::new(1, 0);
            let len: usize = shape.iter().product();
            let elements = (0..8 * len).map(|_| random.normal()).collect();
            let samples = Samples::new("x", shape.clone(), elements).unwrap();
            let whole = CalibrationSet { inputs: vec![samples], provenance: Provenance::default() };
            let source = Source::new(&Input::new("x", shape.clone(), PixelRange::imagenet()));
            let mut gallery = Gallery::new(&device);
            let mut sampler = Sampler::new(random, 4, 0.5);
            for set in [whole.slice(0..6), whole.slice(3..8), whole.clone()] {
                let views = sampler.next(&set);
                let found = gallery.show(&set, &views, std::slice::from_ref(&source)).unwrap();
                assert_eq!(found[0].dims(), [&[views.len()], shape.as_slice()].concat());
                let found = numbers(&found[0]).unwrap();
                for (view, found) in views.iter().zip(found.chunks(len)) {
                    let (mut places, mut wanted) = (Vec::new(), vec![0.0; len]);
                    view.load(&set.inputs[0], &source, &Layout::row_major(&shape), &mut places, &mut wanted).unwrap();
                    assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}, not {wanted:?}");
                }
            }
            assert!(gallery.kept.len() <= 8 && gallery.bytes == gallery.kept.len() * len * 4);
            let views = sampler.next(&whole);
            let before = numbers(&gallery.show(&whole, &views, std::slice::from_ref(&source)).unwrap()[0]).unwrap();
            gallery.release();
            let after = numbers(&gallery.show(&whole, &views, std::slice::from_ref(&source)).unwrap()[0]).unwrap();
            assert!(before == after && gallery.kept.is_empty());
        }
    }
}
