//! The optimizer of pixels and parameters.

use serde::{Deserialize, Serialize};

use crate::kernels::Isa;

/// Adam on a slice of numbers.
///
/// Paper: Kingma, Ba 2015, arXiv:1412.6980.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    decay: Decay,
    step: i32,
}

/// How much of the first and second moment each step keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decay(pub f32, pub f32);

impl Decay {
    /// As published.
    pub const USUAL: Decay = Decay(0.9, 0.999);
    /// For gradients that turn with every step, as they do under random shifts.
    pub const SHORT: Decay = Decay(0.5, 0.9);
}

impl Adam {
    pub fn new(len: usize, decay: Decay) -> Self {
        Adam { first: vec![0.0; len], second: vec![0.0; len], decay, step: 0 }
    }

    /// Turns `gradient` into directions: every value is to move by −(learning rate) × direction, where |direction| is
    /// about 1.
    pub fn direct(&mut self, gradient: &mut [f32], isa: Isa) {
        self.step += 1;
        let Decay(of_first, of_second) = self.decay;
        let correction = (1.0 / (1.0 - of_first.powi(self.step)), 1.0 / (1.0 - of_second.powi(self.step)).sqrt());
        let (decay, first, second) = (self.decay, &mut self.first, &mut self.second);
        isa.run(
            #[inline(always)]
            || direct(gradient, first, second, decay, correction),
        );
    }
}

#[inline(always)]
fn direct(gradient: &mut [f32], first: &mut [f32], second: &mut [f32], decay: Decay, correction: (f32, f32)) {
    let n = gradient.len();
    let (first, second) = (&mut first[..n], &mut second[..n]);
    for i in 0..n {
        let g = gradient[i];
        first[i] += (1.0 - decay.0) * (g - first[i]);
        second[i] += (1.0 - decay.1) * (g * g - second[i]);
        gradient[i] = first[i] * correction.0 / (second[i].sqrt() * correction.1 + 1e-12);
    }
}

/// Where a run of steps stands.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub step: usize,
    /// Steps in all.
    pub of: usize,
}

impl Moment {
    /// Part of the run that is over.
    pub fn progress(self) -> f32 {
        self.step as f32 / self.of.max(1) as f32
    }

    /// Learning rate factor: short warm-up, then a half cosine down to zero.
    pub fn rate(self) -> f32 {
        let warm = ((self.step + 1) as f32 / (0.05 * self.of as f32).max(1.0)).min(1.0);
        warm * 0.5 * (1.0 + (std::f32::consts::PI * self.progress()).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_a_parabola() {
        let (mut x, mut adam) = (vec![3.0f32, -2.0], Adam::new(2, Decay::USUAL));
        for step in 0..400 {
            let mut gradient: Vec<f32> = x.iter().enumerate().map(|(i, x)| (i as f32 + 1.0) * 1e-4 * (x - 1.0)).collect();
            adam.direct(&mut gradient, Isa::detect());
            x.iter_mut().zip(gradient).for_each(|(x, direction)| *x -= 0.1 * Moment { step, of: 400 }.rate() * direction);
        }
        assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-2), "{x:?}");
    }
}
