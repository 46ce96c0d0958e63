//! Channel statistics of a value, summed image by image in a fixed order.

use serde::{Deserialize, Serialize};

use crate::kernels::Isa;

/// Sums over all positions of one or more samples, per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelSums {
    pub count: f64,
    pub sum: Vec<f64>,
    pub sum_of_squares: Vec<f64>,
}

impl ChannelSums {
    pub fn new(channels: usize) -> Self {
        ChannelSums { count: 0.0, sum: vec![0.0; channels], sum_of_squares: vec![0.0; channels] }
    }

    pub fn clear(&mut self) {
        if self.count == 0.0 {
            return;
        }
        self.count = 0.0;
        self.sum.fill(0.0);
        self.sum_of_squares.fill(0.0);
    }

    /// Adds one sample with channels contiguous in memory; `scratch` holds two numbers per channel.
    pub fn add_sample(&mut self, values: &[f32], scratch: &mut [f32], isa: Isa) {
        let channels = self.sum.len();
        let partial = &mut scratch[..2 * channels];
        self.count += (values.len() / channels.max(1)) as f64;
        // 32 positions in f32, then into f64: precise and fast.
        for chunk in values.chunks(32 * channels.max(1)) {
            isa.run(
                #[inline(always)]
                || add_chunk(chunk, channels, partial),
            );
            for (c, (sum, squares)) in self.sum.iter_mut().zip(&mut self.sum_of_squares).enumerate() {
                *sum += f64::from(partial[c]);
                *squares += f64::from(partial[channels + c]);
            }
        }
    }

    pub fn add(&mut self, other: &ChannelSums) {
        if other.count == 0.0 {
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
        let (mut sums, mut scratch) = (ChannelSums::new(3), [0.0; 6]);
        for half in values.chunks(150) {
            let mut part = ChannelSums::new(3);
            part.add_sample(half, &mut scratch, Isa::detect());
            sums.add(&part);
        }
        for (channel, (mean, variance)) in sums.moments().enumerate() {
            assert!((mean - (channel as f64 * 10.0 + 1.5)).abs() < 1e-9);
            assert!((variance - 1.25).abs() < 1e-9);
        }
    }
}
