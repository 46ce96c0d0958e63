use crate::synthesis::loss::{Distance, Gaussian, Slope, StatisticsLoss};

/// (m − m̂)² + (s − ŝ)² with found and stored means and standard deviations; mean over channels.
///
/// Paper: Jeon et al. 2023 (GENIE), arXiv:2212.04780, equation 3, and Cai et al. 2020 (ZeroQ), arXiv:2001.00281, equation 3;
/// with the biased variance.
#[derive(Debug)]
pub struct Squared;

impl StatisticsLoss for Squared {
    fn name(&self) -> &'static str {
        "squared"
    }

    fn distance(&self, found: &[Gaussian], stored: &[Gaussian]) -> Distance {
        Distance::mean(found, stored, |found, stored| {
            let mean = found.mean - stored.mean;
            let deviation = found.variance.sqrt() - stored.variance.sqrt();
            (mean * mean + deviation * deviation, Slope { by_mean: 2.0 * mean, by_variance: deviation / found.variance.sqrt() })
        })
    }
}
