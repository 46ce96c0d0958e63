//! The optimizer of pixels and parameters.

use serde::{Deserialize, Serialize};

use super::motion::Motion;
use crate::kernels::Isa;

/// Adam on a slice of numbers.
///
/// Paper: Kingma, Ba 2015, arXiv:1412.6980.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Adam {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    pub pace: Pace,
}

/// Gradients from here on, and those that are no numbers, say nothing of the direction: their squares overflow.
const LOST: f32 = 1e18;

/// How much of the first and second moment each step keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decay(pub f32, pub f32);

impl Decay {
    /// As published.
    pub const USUAL: Decay = Decay(0.9, 0.999);
    /// For gradients that turn with every step, as they do under random shifts.
    pub const SHORT: Decay = Decay(0.5, 0.9);
}

/// What all numbers of an optimizer have in common.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    decay: Decay,
    /// Steps that were taken.
    step: i32,
}

impl Pace {
    pub fn new(decay: Decay) -> Self {
        Pace { decay, step: 0 }
    }

    /// The next step.
    pub fn next(&mut self, rate: f32) -> Step {
        self.step += 1;
        let Decay(first, second) = self.decay;
        let correction = (1.0 / (1.0 - first.powi(self.step)), 1.0 / (1.0 - second.powi(self.step)).sqrt());
        Step { decay: self.decay, correction, rate }
    }
}

impl Adam {
    pub fn new(len: usize, decay: Decay) -> Self {
        Adam { first: vec![0.0; len], second: vec![0.0; len], pace: Pace::new(decay) }
    }

    /// Moves `x` against `gradient`.
    pub fn step(&mut self, x: &mut [f32], gradient: &[f32], motion: &Motion<&[f32]>, rate: f32, isa: Isa) {
        let step = self.pace.next(rate);
        step.advance([x, &mut self.first, &mut self.second], gradient, motion, isa);
    }
}

/// One step of numbers whose direction is first moment / √second moment, both corrected for their start at 0: about 1 in size.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub decay: Decay,
    /// Factors of first moment and root of the second.
    pub correction: (f32, f32),
    pub rate: f32,
}

impl Step {
    /// Moves numbers, with their first and second moments. What `motion` holds repeats where it is shorter.
    pub fn advance(&self, [x, first, second]: [&mut [f32]; 3], gradient: &[f32], motion: &Motion<&[f32]>, isa: Isa) {
        let period = match motion {
            Motion::InUnits(unit) => unit.len(),
            Motion::Within { low, .. } => low.len(),
            _ => x.len(),
        };
        let period = period.max(1);
        let moments = first.chunks_mut(period).zip(second.chunks_mut(period));
        for ((x, (first, second)), gradient) in x.chunks_mut(period).zip(moments).zip(gradient.chunks(period)) {
            isa.run(
                #[inline(always)]
                || self.advance_sample([x, first, second], gradient, motion),
            );
        }
    }

    #[inline(always)]
    fn advance_sample(&self, state: [&mut [f32]; 3], gradient: &[f32], motion: &Motion<&[f32]>) {
        let (n, rate) = (gradient.len(), self.rate);
        match motion {
            Motion::Free => self.each(state, gradient, |_, x, direction| x - rate * direction),
            Motion::InUnits(unit) => {
                let unit = &unit[..n];
                self.each(state, gradient, |i, x, direction| x - rate * unit[i] * direction)
            }
            Motion::Within { low, high } => {
                let (low, high) = (&low[..n], &high[..n]);
                self.each(state, gradient, |i, x, direction| {
                    let moved = x - rate * (high[i] - low[i]) * direction;
                    let raised = if moved < low[i] { low[i] } else { moved };
                    if raised > high[i] { high[i] } else { raised }
                })
            }
            Motion::Multiply { most } => {
                self.each(state, gradient, |_, x, direction| (x * (1.0 - rate * direction).clamp(0.5, 2.0)).min(*most))
            }
            Motion::Round(push) => self.each(state, gradient, |_, v, direction| v + rate * (push.of(v) - direction)),
        }
    }

    #[inline(always)]
    fn each(&self, [x, first, second]: [&mut [f32]; 3], gradient: &[f32], moved: impl Fn(usize, f32, f32) -> f32) {
        let n = gradient.len();
        let (x, first, second) = (&mut x[..n], &mut first[..n], &mut second[..n]);
        for i in 0..n {
            let g = if gradient[i].abs() < LOST { gradient[i] } else { 0.0 };
            first[i] += (1.0 - self.decay.0) * (g - first[i]);
            second[i] += (1.0 - self.decay.1) * (g * g - second[i]);
            let direction = first[i] * self.correction.0 / (second[i].sqrt() * self.correction.1 + 1e-12);
            x[i] = moved(i, x[i], direction);
        }
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
    fn what_overflows_moves_nothing() {
        let (mut x, mut adam) = (vec![3.0f32; 4], Adam::new(4, Decay::USUAL));
        for _ in 0..3 {
            adam.step(&mut x, &[f32::NAN, f32::INFINITY, -1e30, 1.0], &Motion::Free, 0.1, Isa::detect());
        }
        assert!(x[..3].iter().all(|x| *x == 3.0) && x[3] < 2.8, "{x:?}");
    }

    #[test]
    fn finds_the_minimum_of_a_parabola() {
        let (mut x, mut adam) = (vec![3.0f32, -2.0], Adam::new(2, Decay::USUAL));
        for step in 0..400 {
            let gradient: Vec<f32> = x.iter().enumerate().map(|(i, x)| (i as f32 + 1.0) * 1e-4 * (x - 1.0)).collect();
            adam.step(&mut x, &gradient, &Motion::Free, 0.1 * Moment { step, of: 400 }.rate(), Isa::detect());
        }
        assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-2), "{x:?}");
    }
}
