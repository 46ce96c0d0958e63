//! Channel statistics of a value, summed image by image in a fixed order.

use crate::kernels::Isa;

/// Sums over all positions of one or more samples, per channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelSums {
    pub count: f64,
    pub sum: Vec<f64>,
    pub sum_of_squares: Vec<f64>,
}

impl ChannelSums {
    /// Sums of one sample with channels contiguous in memory.
    pub fn of(values: &[f32], channels: usize, isa: Isa) -> Self {
        let channels = channels.max(1);
        let mut sums =
            ChannelSums { count: (values.len() / channels) as f64, sum: vec![0.0; channels], sum_of_squares: vec![0.0; channels] };
        let mut partial = vec![0.0f32; 2 * channels];
        // 32 positions in f32, then into f64: precise and fast.
        for chunk in values.chunks(32 * channels) {
            isa.run(
                #[inline(always)]
                || add_chunk(chunk, channels, &mut partial),
            );
            for (c, (sum, squares)) in sums.sum.iter_mut().zip(&mut sums.sum_of_squares).enumerate() {
                *sum += f64::from(partial[c]);
                *squares += f64::from(partial[channels + c]);
            }
        }
        sums
    }

    pub fn add(&mut self, other: &ChannelSums) {
        if self.sum.is_empty() {
            *self = other.clone();
            return;
        }
        self.count += other.count;
        for (a, b) in self.sum.iter_mut().zip(&other.sum) {
            *a += b;
        }
        for (a, b) in self.sum_of_squares.iter_mut().zip(&other.sum_of_squares) {
            *a += b;
        }
    }

    /// Mean and biased variance of each channel.
    pub fn moments(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.sum.iter().zip(&self.sum_of_squares).map(|(sum, squares)| {
            let mean = sum / self.count;
            (mean, (squares / self.count - mean * mean).max(0.0))
        })
    }
}

#[inline(always)]
fn add_chunk(chunk: &[f32], channels: usize, partial: &mut [f32]) {
    let (sum, squares) = partial.split_at_mut(channels);
    sum.fill(0.0);
    squares.fill(0.0);
    for row in chunk.chunks_exact(channels) {
        for ((x, s), q) in row.iter().zip(sum.iter_mut()).zip(squares.iter_mut()) {
            *s += x;
            *q += x * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_numbers() {
        let values: Vec<f32> = (0..3 * 100).map(|i| (i % 3) as f32 * 10.0 + (i / 3 % 4) as f32).collect();
        let mut sums = ChannelSums::default();
        for half in values.chunks(150) {
            sums.add(&ChannelSums::of(half, 3, Isa::detect()));
        }
        for (channel, (mean, variance)) in sums.moments().enumerate() {
            assert!((mean - (channel as f64 * 10.0 + 1.5)).abs() < 1e-9);
            assert!((variance - 1.25).abs() < 1e-9);
        }
    }
}
