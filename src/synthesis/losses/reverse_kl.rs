use crate::synthesis::loss::{Distance, Gaussian, StatisticsLoss};

/// KL(batch ‖ stored) of two Gaussians: ½ (m² + v − ln v − 1), with m and v the batch mean and variance after whitening
/// with the stored statistics.
///
/// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.2; the reverse direction, as their code uses it, since the
/// other one explodes as the batch variance goes to zero.
pub struct ReverseKl;

impl StatisticsLoss for ReverseKl {
    fn name(&self) -> &'static str {
        "reverse-kl"
    }

    fn distance(&self, batch: Gaussian, stored: Gaussian) -> Distance {
        let mean = batch.mean - stored.mean;
        let ratio = batch.variance / stored.variance;
        Distance {
            value: 0.5 * (mean * mean / stored.variance + ratio - ratio.ln() - 1.0),
            by_mean: mean / stored.variance,
            by_variance: 0.5 * (1.0 / stored.variance - 1.0 / batch.variance),
        }
    }
}
