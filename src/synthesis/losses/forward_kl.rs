use crate::synthesis::loss::{Distance, Gaussian, Slope, StatisticsLoss};

/// KL(stored ‖ found) of two Gaussians: ½ (ln(v / v̂) + (v̂ + (m − m̂)²) / v − 1), with m, v the found and m̂, v̂ the stored
/// mean and variance; mean over channels.
///
/// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.2, as printed.
#[derive(Debug)]
pub struct ForwardKl;

impl StatisticsLoss for ForwardKl {
    fn name(&self) -> &'static str {
        "forward-kl"
    }

    fn distance(&self, found: &[Gaussian], stored: &[Gaussian]) -> Distance {
        Distance::mean(found, stored, |found, stored| {
            let mean = found.mean - stored.mean;
            let spread = stored.variance + mean * mean;
            let value = 0.5 * ((found.variance / stored.variance).ln() + spread / found.variance - 1.0);
            let by_variance = 0.5 * (1.0 / found.variance - spread / (found.variance * found.variance));
            (value, Slope { by_mean: mean / found.variance, by_variance })
        })
    }
}
