//! The losses.

mod cross_entropy;
mod forward_kl;
mod norm;
mod reverse_kl;
mod smoothness;
mod squared;
mod stretch;
mod total_variation;

use super::loss::{ImageLoss, OutputLoss, StatisticsLoss};
pub use forward_kl::ForwardKl;
pub use reverse_kl::ReverseKl;

/// Losses on channel statistics; the first is the default.
pub fn of_statistics() -> [&'static dyn StatisticsLoss; 4] {
    [&ReverseKl, &ForwardKl, &squared::Squared, &norm::Norm]
}

/// Losses on pixels.
pub fn of_images() -> [&'static dyn ImageLoss; 2] {
    [&smoothness::Smoothness, &total_variation::TotalVariation]
}

/// Losses on the first output.
pub fn of_outputs() -> [&'static dyn OutputLoss; 2] {
    [&cross_entropy::CrossEntropy, &stretch::Stretch]
}

#[cfg(test)]
mod tests {
    use super::super::loss::{Gaussian, Plane};
    use super::*;
    use crate::random::Random;

    #[test]
    fn names_are_unique_kebab_case() {
        let mut names: Vec<&str> = of_statistics().iter().map(|loss| loss.name()).collect();
        names.extend(of_images().iter().map(|loss| loss.name()));
        names.extend(of_outputs().iter().map(|loss| loss.name()));
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn statistics_losses_are_zero_at_their_goal_and_their_derivatives_are_right() {
        let gaussians = |pairs: [(f64, f64); 2]| pairs.map(|(mean, variance)| Gaussian { mean, variance });
        let (stored, found) = (gaussians([(0.3, 2.0), (-1.0, 0.4)]), gaussians([(-0.4, 0.7), (0.1, 0.9)]));
        for loss in of_statistics() {
            assert!(loss.distance(&stored, &stored).value.abs() < 1e-12, "{}", loss.name());
            let slopes = loss.distance(&found, &stored).slopes;
            for channel in 0..2 {
                let moved = |mean: f64, variance: f64| {
                    let mut found = found;
                    found[channel].mean += mean;
                    found[channel].variance += variance;
                    loss.distance(&found, &stored).value
                };
                let h = 1e-6;
                let by_mean = (moved(h, 0.0) - moved(-h, 0.0)) / (2.0 * h);
                let by_variance = (moved(0.0, h) - moved(0.0, -h)) / (2.0 * h);
                assert!((by_mean - slopes[channel].by_mean).abs() < 1e-6, "{} {channel}", loss.name());
                assert!((by_variance - slopes[channel].by_variance).abs() < 1e-6, "{} {channel}", loss.name());
            }
        }
    }

    fn assert_gradient(name: &str, at: &[f32], of: impl Fn(&[f32], &mut [f32]) -> f64) {
        let mut gradient = vec![f32::NAN; at.len()];
        of(at, &mut gradient);
        for index in 0..at.len() {
            let moved = |by: f32| {
                let mut at = at.to_vec();
                at[index] += by;
                of(&at, &mut vec![0.0; at.len()])
            };
            let slope = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            assert!((slope - f64::from(gradient[index])).abs() < 2e-3, "{name} at {index}: {slope}, not {}", gradient[index]);
        }
    }

    #[test]
    fn image_losses_vanish_on_flat_pictures_and_their_derivatives_are_right() {
        let mut random = Random::new(5, 0);
        let pixels: Vec<f32> = (0..35).map(|_| random.uniform()).collect();
        for loss in of_images() {
            assert!(loss.distance(Plane { pixels: &[0.5; 35], width: 7 }, &mut [0.0; 35]) < 1e-5, "{}", loss.name());
            assert_gradient(loss.name(), &pixels, |pixels, gradient| loss.distance(Plane { pixels, width: 7 }, gradient));
            assert_gradient(loss.name(), &pixels[..3], |pixels, gradient| loss.distance(Plane { pixels, width: 1 }, gradient));
        }
    }

    #[cfg(feature = "candle")]
    #[test]
    fn image_losses_of_many_planes_are_those_of_each() {
        use candle_core::{Device, Tensor};
        let mut random = Random::new(6, 0);
        for (height, width) in [(5, 7), (1, 6), (4, 1)] {
            let area = height * width;
            let pixels: Vec<f32> = (0..3 * area).map(|_| random.uniform()).collect();
            let planes = Tensor::from_slice(&pixels, (3, height, width), &Device::Cpu).unwrap();
            for loss in of_images() {
                let mut wanted = vec![0.0; 3 * area];
                let of_one = |(pixels, gradient): (&[f32], &mut [f32])| loss.distance(Plane { pixels, width }, gradient);
                let sum: f64 = pixels.chunks(area).zip(wanted.chunks_mut(area)).map(of_one).sum();
                let (value, found) = loss.distances(&planes).unwrap();
                assert!((f64::from(value.to_scalar::<f32>().unwrap()) - sum).abs() < 1e-4 * sum.max(1.0), "{}", loss.name());
                let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{}: {found:?}, {wanted:?}", loss.name());
            }
        }
    }

    #[test]
    fn output_losses_have_right_derivatives() {
        for loss in of_outputs() {
            assert_gradient(loss.name(), &[0.3, -1.2, 2.0, 0.9], |scores, gradient| loss.distance(scores, 1, gradient));
        }
    }
}
