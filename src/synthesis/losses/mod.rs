//! The statistics losses.

mod reverse_kl;

use super::loss::StatisticsLoss;
pub use reverse_kl::ReverseKl;

/// All losses; the first is the default.
pub fn all() -> Vec<Box<dyn StatisticsLoss>> {
    vec![Box::new(ReverseKl)]
}

#[cfg(test)]
mod tests {
    use super::super::loss::Gaussian;

    #[test]
    fn every_loss_is_zero_at_its_goal_and_its_derivatives_are_right() {
        for loss in super::all() {
            let stored = Gaussian { mean: 0.3, variance: 2.0 };
            assert!(loss.distance(stored, stored).value.abs() < 1e-12, "{}", loss.name());
            let batch = Gaussian { mean: -0.4, variance: 0.7 };
            let at = |mean, variance| loss.distance(Gaussian { mean, variance }, stored).value;
            let found = loss.distance(batch, stored);
            let h = 1e-6;
            let by_mean = (at(batch.mean + h, batch.variance) - at(batch.mean - h, batch.variance)) / (2.0 * h);
            let by_variance = (at(batch.mean, batch.variance + h) - at(batch.mean, batch.variance - h)) / (2.0 * h);
            assert!((by_mean - found.by_mean).abs() < 1e-6 && (by_variance - found.by_variance).abs() < 1e-6, "{}", loss.name());
        }
    }
}
