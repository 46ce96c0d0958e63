//! The ways to choose a range.

mod entropy;
mod min_max;
mod mse;
mod percentile;

use super::observer::Observer;

/// All observers; the first is the default.
pub fn all() -> [Box<dyn Observer>; 4] {
    [Box::new(mse::Mse), Box::new(min_max::MinMax), Box::new(percentile::Percentile), Box::new(entropy::Entropy)]
}

/// The observer called `name`.
pub fn find(name: &str) -> Option<Box<dyn Observer>> {
    all().into_iter().find(|observer| observer.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::histogram::Histogram;
    use crate::random::Random;

    #[test]
    fn observers_have_unique_kebab_case_names() {
        for observer in all() {
            assert!(observer.name().chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            assert!(find(observer.name()).is_some());
        }
        assert!(find("max").is_none());
    }

    #[test]
    fn ranges_lie_within_the_values_and_clip_a_lone_outlier() {
        let mut random = Random::new(0, 0);
        let mut values: Vec<f32> = (0..200_000).map(|_| random.normal()).collect();
        values.push(20.0);
        let mut seen = Histogram::default();
        seen.add(&values);
        for observer in all() {
            let (low, high) = observer.range(&seen, 255.0, 1.0);
            assert!(low >= seen.range().0 && high <= 20.0 && low < -2.0 && high > 2.0, "{} {low} {high}", observer.name());
            assert_eq!(observer.name() == "min-max", high == 20.0, "{} {low} {high}", observer.name());
        }
    }

    #[test]
    fn errors_that_a_leaky_activation_shrinks_cost_less() {
        let mut random = Random::new(1, 0);
        let values: Vec<f32> = (0..100_000).map(|_| random.normal()).collect();
        let mut seen = Histogram::default();
        seen.add(&values);
        let range = |weight| mse::Mse.range(&seen, 15.0, weight);
        assert!(range(0.01).0 > range(1.0).0);
    }
}
