//! A histogram that grows with its data and never holds more than a fixed number of bins.

/// Bins of equal width around 0, `BINS` on each side; the width doubles whenever a value falls outside.
#[derive(Clone, Debug)]
pub struct Histogram {
    width: f32,
    counts: Vec<u64>,
    low: f32,
    high: f32,
}

const BINS: usize = 2048;

impl Default for Histogram {
    fn default() -> Self {
        Histogram { width: f32::MIN_POSITIVE, counts: vec![0; 2 * BINS], low: f32::INFINITY, high: f32::NEG_INFINITY }
    }
}

impl Histogram {
    /// Adds finite values; others are left out.
    pub fn add(&mut self, values: &[f32]) {
        let (mut low, mut high) = (self.low, self.high);
        for value in values.iter().filter(|value| value.is_finite()) {
            low = low.min(*value);
            high = high.max(*value);
        }
        (self.low, self.high) = (low, high);
        self.grow(low.abs().max(high.abs()));
        let scale = 1.0 / self.width;
        for value in values.iter().filter(|value| value.is_finite()) {
            let bin = (value * scale + BINS as f32) as usize;
            self.counts[bin.min(2 * BINS - 1)] += 1;
        }
    }

    /// Adds a finite value `count` times.
    pub fn add_often(&mut self, value: f32, count: u64) {
        (self.low, self.high) = (self.low.min(value), self.high.max(value));
        self.grow(self.low.abs().max(self.high.abs()));
        let bin = (value / self.width + BINS as f32) as usize;
        self.counts[bin.min(2 * BINS - 1)] += count;
    }

    fn grow(&mut self, reach: f32) {
        if !reach.is_finite() || reach == 0.0 {
            return;
        }
        if self.counts.iter().all(|count| *count == 0) || self.width == f32::MIN_POSITIVE {
            // Zeros alone so far stay in the middle whatever the width.
            self.width = (reach / BINS as f32).log2().ceil().exp2().max(1e-30);
        }
        while reach >= self.width * BINS as f32 {
            let mut merged = vec![0; 2 * BINS];
            for (bin, count) in self.counts.iter().enumerate() {
                merged[BINS / 2 + bin / 2] += count;
            }
            self.counts = merged;
            self.width *= 2.0;
        }
    }

    /// Smallest and largest value seen; (0, 0) where there was none.
    pub fn range(&self) -> (f32, f32) {
        if self.low <= self.high { (self.low, self.high) } else { (0.0, 0.0) }
    }

    /// Middle and count of every bin that is not empty, in rising order.
    pub fn bins(&self) -> Vec<(f64, f64)> {
        let middle = |bin: usize| (bin as f64 - BINS as f64 + 0.5) * f64::from(self.width);
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, count)| (middle(bin), *count as f64)).collect()
    }

    pub fn width(&self) -> f64 {
        f64::from(self.width)
    }

    /// The same values in few bins of equal width between the smallest and the largest.
    pub fn condense(&self) -> Distribution {
        let (low, high) = self.range();
        let width = (f64::from(high) - f64::from(low)).max(f64::MIN_POSITIVE) / CONDENSED as f64;
        let mut counts = vec![0.0; CONDENSED];
        for (x, count) in self.bins() {
            counts[((x - f64::from(low)) / width).clamp(0.0, (CONDENSED - 1) as f64) as usize] += count;
        }
        Distribution { low, high, counts }
    }
}

/// Bins of a [`Distribution`].
const CONDENSED: usize = 64;

/// A histogram to look at: counts in bins of equal width from `low` to `high`.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    pub low: f32,
    pub high: f32,
    pub counts: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_count_and_place_while_growing() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.0, 0.5, -0.25]);
        histogram.add(&[100.0, f32::NAN]);
        let bins = histogram.bins();
        assert_eq!(bins.iter().map(|(_, count)| count).sum::<f64>(), 4.0);
        assert_eq!(histogram.range(), (-0.25, 100.0));
        assert!((bins.last().unwrap().0 - 100.0).abs() <= histogram.width());
    }

    #[test]
    fn condensing_keeps_every_count_and_both_ends() {
        for values in [&[][..], &[0.0], &[3.0, 3.0], &[-1.0, 0.0, 0.5, 7.0], &[f32::MAX, -f32::MAX], &[1e-38, 2e-38]] {
            let mut histogram = Histogram::default();
            histogram.add(values);
            let Distribution { low, high, counts } = histogram.condense();
            assert_eq!(((low, high), counts.iter().sum::<f64>()), (histogram.range(), values.len() as f64), "{values:?}");
        }
    }
}
