//! Which samples a step sees, and how.

use crate::calibration::CalibrationSet;
use crate::ops::operator::Layout;
use crate::random::Random;
use crate::synthesis::input::{Augmentation, Input};

/// A sample as a step sees it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    sample: usize,
    augmentation: Augmentation,
    /// Another sample, and its part of the mixture.
    mixed: Option<(usize, f32)>,
}

impl View {
    /// Sample `index` as it is.
    pub fn plain(sample: usize) -> Self {
        View { sample, augmentation: Augmentation::default(), mixed: None }
    }

    /// Writes input `index` of the sample to `memory`, which lies as `layout` says; `places` is scratch.
    pub fn load(&self, set: &CalibrationSet, index: usize, input: &Input, layout: &Layout, places: &mut Vec<u32>, memory: &mut [f32]) {
        places.resize(input.len(), 0);
        input.view(self.augmentation, &Layout::row_major(&input.shape), layout, places);
        let elements = set.inputs[index].sample(self.sample);
        memory.iter_mut().zip(&*places).for_each(|(to, from)| *to = elements[*from as usize]);
        if let Some((other, part)) = self.mixed {
            let other = set.inputs[index].sample(other);
            memory.iter_mut().zip(&*places).for_each(|(to, from)| *to += part * (other[*from as usize] - *to));
        }
    }
}

/// Deals out the samples of a set: every one is seen before one is seen again.
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

    /// A number that sets one step apart from all others.
    pub fn state(&mut self) -> f32 {
        self.random.below(1 << 20) as f32
    }
}
