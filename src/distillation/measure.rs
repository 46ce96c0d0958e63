//! How far a student's value is from the teacher's.

use super::pairs::Pair;

/// What is counted at a pair, per sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// Σ (student − teacher)², as a part of `energy`: the mean over the samples of Σ (teacher − its mean)², which makes
    /// errors of different values comparable.
    Noise { energy: f64 },
    /// KL(softmax(teacher) ‖ softmax(student)) in nats, where the value holds one score for each class.
    Divergence,
}

impl Pair {
    /// What the pair adds to the loss of one sample.
    pub fn loss(&self, found: &[f32], wanted: &[f32]) -> f64 {
        self.share
            * match self.measure {
                Measure::Noise { energy } => squared_error(found, wanted) / energy,
                Measure::Divergence => {
                    let (p, q) = (log_softmax(wanted), log_softmax(found));
                    p.iter().zip(&q).map(|(p, q)| f64::from(p.exp() * (p - q))).sum()
                }
            }
    }

    /// Adds `weight` times the gradient of [`Pair::loss`] by `found` to `gradient`.
    pub fn add_gradient(&self, weight: f64, found: &[f32], wanted: &[f32], gradient: &mut [f32]) {
        match self.measure {
            Measure::Noise { energy } => {
                let factor = (2.0 * weight * self.share / energy) as f32;
                for ((target, found), wanted) in gradient.iter_mut().zip(found).zip(wanted) {
                    *target += factor * (found - wanted);
                }
            }
            Measure::Divergence => {
                let factor = (weight * self.share) as f32;
                for ((target, found), wanted) in gradient.iter_mut().zip(log_softmax(found)).zip(log_softmax(wanted)) {
                    *target += factor * (found.exp() - wanted.exp());
                }
            }
        }
    }
}

fn log_softmax(scores: &[f32]) -> Vec<f32> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    scores.iter().map(|score| score - most - sum.ln()).collect()
}

fn squared_error(found: &[f32], wanted: &[f32]) -> f64 {
    let chunks = found.chunks(256).zip(wanted.chunks(256));
    chunks.map(|(found, wanted)| f64::from(found.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b)).sum::<f32>())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ValueId;

    #[test]
    fn gradients_are_those_of_the_losses() {
        let (found, wanted) = ([0.3f32, -1.0, 2.0, 0.5], [0.1f32, -0.4, 1.0, 1.5]);
        for measure in [Measure::Noise { energy: 3.0 }, Measure::Divergence] {
            let pair = Pair { student: ValueId(0), teacher: ValueId(0), share: 0.7, measure };
            let mut gradient = [1.0f32; 4];
            pair.add_gradient(0.5, &found, &wanted, &mut gradient);
            for index in 0..found.len() {
                let moved = |by: f32| {
                    let mut found = found;
                    found[index] += by;
                    pair.loss(&found, &wanted)
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((f64::from(gradient[index]) - 1.0 - 0.5 * slope).abs() < 1e-4, "{measure:?} {index}");
            }
            assert!(pair.loss(&wanted, &wanted).abs() < 1e-6);
        }
    }
}
