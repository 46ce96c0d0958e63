//! Which samples a step sees, and how.

use serde::{Deserialize, Serialize};

use crate::calibration::{CalibrationSet, Samples};
use crate::error::Result;
use crate::ops::operator::Layout;
use crate::random::Random;
#[cfg(feature = "candle")]
use crate::synthesis::input::Picture;
use crate::synthesis::input::{Augmentation, Input};

/// An input, and how its samples lie at rest.
pub struct Source {
    input: Input,
    layout: Layout,
}

impl Source {
    pub fn new(input: &Input) -> Self {
        Source { input: input.clone(), layout: Layout::row_major(&input.shape) }
    }

    /// Where channels, rows and columns are, if it is a picture.
    #[cfg(feature = "candle")]
    pub fn picture(&self) -> Option<Picture> {
        self.input.picture()
    }
}

/// A sample as a step sees it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub(super) sample: usize,
    pub(super) augmentation: Augmentation,
    /// Another sample, and its part of the mixture.
    pub(super) mixed: Option<(usize, f32)>,
}

impl View {
    /// Sample `index` as it is.
    pub fn plain(sample: usize) -> Self {
        View { sample, augmentation: Augmentation::default(), mixed: None }
    }

    /// Writes the sample's part of `samples`, which are of `source`, to `memory`, which lies as `layout` says; `places` is
    /// scratch.
    ///
    /// # Errors
    /// If a sample cannot be read back.
    pub fn load(&self, samples: &Samples, source: &Source, layout: &Layout, places: &mut Vec<u32>, memory: &mut [f32]) -> Result<()> {
        places.resize(memory.len(), 0);
        source.input.view(self.augmentation, &source.layout, layout, places);
        let elements = samples.sample(self.sample)?;
        memory.iter_mut().zip(&*places).for_each(|(to, from)| *to = elements[*from as usize]);
        if let Some((other, part)) = self.mixed {
            let other = samples.sample(other)?;
            memory.iter_mut().zip(&*places).for_each(|(to, from)| *to += part * (other[*from as usize] - *to));
        }
        Ok(())
    }
}

/// What a [`Sampler`] has dealt out.
#[derive(Serialize, Deserialize)]
pub struct Dealt {
    /// How far randomness is read.
    position: u128,
    /// Samples that are still to be seen.
    order: Vec<usize>,
}

/// Deals out the samples of a set in whole batches: none is seen again before too few are left for another batch.
pub struct Sampler {
    random: Random,
    batch: usize,
    /// Part of the samples that are mixed with another one.
    mixed: f32,
    /// Samples that are still to be seen.
    order: Vec<usize>,
}

impl Sampler {
    pub fn new(random: Random, batch: usize, mixed: f32) -> Self {
        Sampler { random, batch, mixed, order: Vec::new() }
    }

    /// The next samples of `set`, each flipped and shifted on its own.
    pub fn next(&mut self, set: &CalibrationSet) -> Vec<View> {
        if self.order.len() < self.batch {
            self.order = self.random.permutation(set.len());
        }
        let samples = self.order.split_off(self.order.len().saturating_sub(self.batch));
        samples.into_iter().map(|sample| self.view(sample, set.len())).collect()
    }

    fn view(&mut self, sample: usize, len: usize) -> View {
        let random = &mut self.random;
        let augmentation = Augmentation { flip: random.below(2) == 1, shift: (random.below(5) as isize - 2, random.below(5) as isize - 2) };
        let mixed = (random.uniform() < self.mixed).then(|| (random.below(len), random.between(0.0, 0.5)));
        View { sample, augmentation, mixed }
    }

    /// Where the dealing stands, for [`Sampler::restore`].
    pub fn state(&self) -> Dealt {
        Dealt { position: self.random.position(), order: self.order.clone() }
    }

    pub fn restore(&mut self, dealt: Dealt) {
        self.random.seek(dealt.position);
        self.order = dealt.order;
    }

    /// A number that sets one step apart from all others.
    pub fn mark(&mut self) -> f32 {
        self.random.below(1 << 20) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Provenance;
    use crate::synthesis::input_range::PixelRange;

    fn set(count: usize) -> (CalibrationSet, Source) {
        let shape = vec![1, 1, 2, 2];
        let elements = (0..4 * count).map(|i| (i / 4) as f32).collect();
        let samples = Samples::new("x", shape.clone(), elements).unwrap();
        let set = CalibrationSet { inputs: vec![samples], provenance: Provenance::default() };
        (set, Source::new(&Input::new("x", shape, PixelRange::uniform("test", 0.0, 16.0))))
    }

    fn loaded(view: &View, set: &CalibrationSet, source: &Source) -> Vec<f32> {
        let (mut places, mut memory) = (Vec::new(), vec![0.0; 4]);
        view.load(&set.inputs[0], source, &source.layout, &mut places, &mut memory).unwrap();
        memory
    }

    #[test]
    fn every_sample_is_seen_before_one_is_seen_again() {
        let (set, input) = set(12);
        let mut sampler = Sampler::new(Random::new(0, 0), 4, 0.0);
        let mut seen: Vec<f32> = (0..3).flat_map(|_| sampler.next(&set)).map(|view| loaded(&view, &set, &input)[0]).collect();
        seen.sort_by(f32::total_cmp);
        assert_eq!(seen, (0..12).map(|i| i as f32).collect::<Vec<_>>());
    }

    #[test]
    fn a_mixture_lies_between_its_samples_and_nearer_to_the_first() {
        let (set, input) = set(12);
        let views = Sampler::new(Random::new(0, 0), 12, 1.0).next(&set);
        let mut between = 0;
        for view in views {
            let (other, part) = view.mixed.unwrap();
            let wanted = view.sample as f32 + part * (other as f32 - view.sample as f32);
            assert!((0.0..0.5).contains(&part) && loaded(&view, &set, &input).iter().all(|x| (x - wanted).abs() < 1e-5));
            between += usize::from(other != view.sample);
        }
        assert!(between > 6);
    }
}
