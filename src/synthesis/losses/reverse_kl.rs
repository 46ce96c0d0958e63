use crate::synthesis::loss::{Distance, Gaussian, Slope, StatisticsLoss};

/// KL(found ‖ stored) of two Gaussians: ½ (m² + v − ln v − 1), with m and v the found mean and variance after whitening
/// with the stored statistics; mean over channels.
///
/// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.2; the reverse direction, as their code uses it, since the
/// other one explodes as the found variance goes to zero.
#[derive(Debug)]
pub struct ReverseKl;

impl StatisticsLoss for ReverseKl {
    fn name(&self) -> &'static str {
        "reverse-kl"
    }

    fn distance(&self, found: &[Gaussian], stored: &[Gaussian]) -> Distance {
        Distance::mean(found, stored, |found, stored| {
            let mean = found.mean - stored.mean;
            let ratio = found.variance / stored.variance;
            let slope = Slope { by_mean: mean / stored.variance, by_variance: 0.5 * (1.0 / stored.variance - 1.0 / found.variance) };
            (0.5 * (mean * mean / stored.variance + ratio - ratio.ln() - 1.0), slope)
        })
    }
}
