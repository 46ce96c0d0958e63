//! What quantizing the values and the weights at a seam costs.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::graph::{Graph, NodeId};
use crate::kernels::Isa;
use crate::ops::{Conv, Gemm};
use crate::quantization::{Width, Widths};

/// Numbers of levels of activations and of weights that the errors are weighed for.
#[derive(Clone, Copy, Debug)]
pub struct Levels {
    pub activation: f64,
    /// On one side of zero.
    pub weight: f64,
}

impl Levels {
    pub fn of(widths: &Widths) -> Levels {
        let levels = |width: Width, signed: bool| width.data_type(signed).integer_range().unwrap_or((0.0, 255.0));
        let ((low, high), (_, most)) = (levels(widths.activations, false), levels(widths.weights, true));
        Levels { activation: high - low, weight: most }
    }
}

/// What one channel of a value holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Channel {
    /// Largest magnitude of what is made in a sample, averaged over the samples.
    pub reach: f64,
    /// Of what is read.
    pub mean_square: f64,
    /// Largest magnitude of what is read in any sample.
    pub peak: f64,
}

/// Parts that the outputs are looked at in, at most, and outputs of a part, at least.
const PARTS: usize = 256;
const LEAST_PART: usize = 16;
/// Products that are compared at a time.
const LANES: usize = 16;

/// The weights of one consumer, as what each output reads: `per_output` channels at `positions` places each.
pub(super) struct Reader<'a> {
    elements: Cow<'a, [f32]>,
    outputs: usize,
    per_output: usize,
    positions: usize,
    /// Outputs that read the same channels.
    per_group: usize,
    /// Whether weights stand as `[channels, outputs]`.
    by_column: bool,
    /// Mean square of the sum of each output, were its parts independent.
    energies: Vec<f64>,
}

/// Factors that channels may be multiplied with.
pub(super) struct Candidate {
    pub factors: Vec<f64>,
    /// Of the activation when so multiplied.
    step: f64,
    /// 1 / factor.
    inverse: Vec<f32>,
}

impl Candidate {
    pub fn new(factors: Vec<f64>, channels: &[Channel], levels: Levels) -> Self {
        let reach = channels.iter().zip(&factors).fold(0.0f64, |most, (channel, factor)| most.max(channel.reach * factor));
        Candidate { step: reach / levels.activation, inverse: factors.iter().map(|factor| (1.0 / factor) as f32).collect(), factors }
    }
}

/// What some outputs add.
struct PartNoise {
    /// Per candidate.
    weights: Vec<f64>,
    /// Per channel.
    pull: Vec<f64>,
}

impl<'a> Reader<'a> {
    pub fn of(graph: &'a Graph, id: NodeId, channels: &[Channel]) -> Option<Self> {
        let node = graph.node(id);
        let tensor = graph.constant(node.input(1)?)?;
        let (shape, elements) = (tensor.shape(), tensor.as_f32()?);
        let by_column = node.is::<Gemm>().is_some_and(|gemm| !gemm.transpose_b);
        let (outputs, per_output) = if by_column { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
        let groups = node.is::<Conv>().map_or(1, |conv| conv.group);
        let per_group = (outputs / groups.max(1)).max(1);
        let positions = shape[2..].iter().product();
        let reader = Reader { elements, outputs, per_output, positions, per_group, by_column, energies: Vec::new() };
        let energy = |output: usize| {
            let read = &channels[reader.first_channel(output)..][..per_output];
            read.iter().enumerate().map(|(channel, read)| reader.squares(output, channel) * read.mean_square).sum::<f64>()
        };
        let energies = (0..outputs).into_par_iter().map(energy).collect();
        Some(Reader { energies, ..reader })
    }

    fn first_channel(&self, output: usize) -> usize {
        output / self.per_group * self.per_output
    }

    /// The weights of one channel over all positions.
    fn weights(&self, output: usize, channel: usize) -> &[f32] {
        match self.by_column {
            true => &self.elements[channel * self.outputs + output..][..1],
            false => &self.elements[(output * self.per_output + channel) * self.positions..][..self.positions],
        }
    }

    fn squares(&self, output: usize, channel: usize) -> f64 {
        self.weights(output, channel).iter().map(|w| f64::from(*w) * f64::from(*w)).sum()
    }

    /// The largest |w| of each channel that `output` reads.
    fn largest(&self, output: usize) -> impl Iterator<Item = f32> {
        (0..self.per_output).map(move |channel| self.weights(output, channel).iter().fold(0.0f32, |most, w| most.max(w.abs())))
    }

    /// Outputs that do anything, some at a time.
    fn parts(&self) -> Vec<Vec<usize>> {
        let live: Vec<usize> = (0..self.outputs).filter(|output| self.energies[*output] > 0.0).collect();
        live.chunks(live.len().div_ceil(PARTS).max(LEAST_PART)).map(<[usize]>::to_vec).collect()
    }

    /// Largest |w| of each channel, as a part of its output's largest.
    pub fn widths(&self, widths: &mut [f64]) {
        let of_part = |outputs: &Vec<usize>| {
            let mut widest = vec![0.0f32; widths.len()];
            for output in outputs {
                let most = self.largest(*output).fold(0.0f32, f32::max).max(1e-30);
                let read = &mut widest[self.first_channel(*output)..];
                read.iter_mut().zip(self.largest(*output)).for_each(|(widest, w)| *widest = widest.max(w / most));
            }
            widest
        };
        let parts: Vec<Vec<f32>> = self.parts().par_iter().map(of_part).collect();
        parts.iter().for_each(|part| widths.iter_mut().zip(part).for_each(|(width, part)| *width = width.max(f64::from(*part))));
    }

    /// Noise-to-signal ratio summed over the outputs, for each of `candidates`.
    pub fn noises(&self, channels: &[Channel], candidates: &[Candidate], levels: Levels, isa: Isa) -> Vec<f64> {
        let scaled: Vec<Vec<f64>> = candidates.iter().map(|candidate| self.energies_of_groups(channels, &candidate.factors)).collect();
        let of_part = |outputs: &Vec<usize>| PartNoise {
            weights: self.weight_noises(outputs, candidates, &scaled, levels, isa),
            pull: self.pull(outputs, channels.len()),
        };
        let parts: Vec<PartNoise> = self.parts().par_iter().map(of_part).collect();
        let (mut weights, mut pull) = (vec![0.0; candidates.len()], vec![0.0; channels.len()]);
        for part in &parts {
            weights.iter_mut().zip(&part.weights).for_each(|(sum, part)| *sum += part);
            pull.iter_mut().zip(&part.pull).for_each(|(sum, part)| *sum += part);
        }
        let of_activation = |Candidate { factors, step, .. }: &Candidate| {
            pull.iter().zip(factors).map(|(pull, factor)| pull / (factor * factor)).sum::<f64>() * step * step / 12.0
        };
        candidates.iter().zip(weights).map(|(candidate, weights)| weights + of_activation(candidate)).collect()
    }

    /// What rounding the weights of `outputs` adds, for each of `candidates`; `scaled` are mean squares per candidate and group.
    fn weight_noises(&self, outputs: &[usize], candidates: &[Candidate], scaled: &[Vec<f64>], levels: Levels, isa: Isa) -> Vec<f64> {
        let rows: Vec<Vec<f32>> = outputs.iter().map(|output| self.largest(*output).collect()).collect();
        let of_candidate = |(candidate, scaled): (&Candidate, &Vec<f64>)| {
            let noise = |(output, row): (&usize, &Vec<f32>)| {
                let inverse = &candidate.inverse[self.first_channel(*output)..][..row.len()];
                let largest = isa.run(
                    #[inline(always)]
                    || largest_product(row, inverse),
                );
                scaled[output / self.per_group] * (f64::from(largest) / levels.weight).powi(2) / (12.0 * self.energies[*output])
            };
            outputs.iter().zip(&rows).map(noise).sum::<f64>()
        };
        candidates.iter().zip(scaled).map(of_candidate).collect()
    }

    /// Σ w² / energy of each of `count` channels over `outputs`: how much noise in it they hear.
    fn pull(&self, outputs: &[usize], count: usize) -> Vec<f64> {
        let mut pull = vec![0.0f64; count];
        for output in outputs {
            let (first, energy) = (self.first_channel(*output), self.energies[*output]);
            (0..self.per_output).for_each(|channel| pull[first + channel] += self.squares(*output, channel) / energy);
        }
        pull
    }

    /// Σ of the mean squares that each group of outputs reads, with channels multiplied by `factors`.
    fn energies_of_groups(&self, channels: &[Channel], factors: &[f64]) -> Vec<f64> {
        let square = |(channel, factor): (&Channel, &f64)| channel.mean_square * factor * factor * self.positions as f64;
        let squares: Vec<f64> = channels.iter().zip(factors).map(square).collect();
        squares.chunks(self.per_output).map(|group| group.iter().sum()).collect()
    }
}

/// The largest of the products of two rows of numbers that are not negative.
#[inline(always)]
fn largest_product(a: &[f32], b: &[f32]) -> f32 {
    let mut most = [0.0f32; LANES];
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let product = a[lane] * b[lane];
            most[lane] = if product > most[lane] { product } else { most[lane] };
        }
    }
    let rest = last_a.iter().zip(last_b).map(|(a, b)| a * b);
    most.into_iter().chain(rest).fold(0.0, f32::max)
}
