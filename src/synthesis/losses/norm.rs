use crate::synthesis::loss::{Distance, Gaussian, Slope, StatisticsLoss};

/// ‖m − m̂‖ + ‖v − v̂‖, Euclidean norms over the channels of a layer, of found and stored means and variances.
///
/// Paper: Yin et al. 2020 (DeepInversion), arXiv:1912.08795, equation 4.
#[derive(Debug)]
pub struct Norm;

impl StatisticsLoss for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn distance(&self, found: &[Gaussian], stored: &[Gaussian]) -> Distance {
        let pairs = || found.iter().zip(stored);
        let length = |of: fn(&Gaussian) -> f64| pairs().map(|(a, b)| (of(a) - of(b)).powi(2)).sum::<f64>().sqrt();
        let (means, variances) = (length(|gaussian| gaussian.mean), length(|gaussian| gaussian.variance));
        let slope = |(found, stored): (&Gaussian, &Gaussian)| Slope {
            by_mean: (found.mean - stored.mean) / means.max(f64::MIN_POSITIVE),
            by_variance: (found.variance - stored.variance) / variances.max(f64::MIN_POSITIVE),
        };
        Distance { value: means + variances, slopes: pairs().map(slope).collect() }
    }
}
