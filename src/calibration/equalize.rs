//! Channels of like range: what one scale for a whole activation costs least.

use rayon::prelude::*;

use super::{CalibrationSet, Moments};
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Gemm;
use crate::passes::{Seam, channel_of, find_seams, scale_seam};
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
struct Channel {
    /// Largest magnitude of what is made in a sample, averaged over the samples.
    reach: f64,
    /// Of what is read.
    mean_square: f64,
}

/// Exponents that are tried: 0 leaves channels as they are, 1 brings their reach (or their weights) to one size.
const EXPONENTS: usize = 11;
/// Largest factor.
const MOST: f64 = 1e3;

/// Scales the channels of every seam of `graph` so that the error expected of quantizing them on `set`, one scale per
/// activation and one per output channel of weights, is least. The function stays; `moments` follow.
/// Returns how many seams were scaled.
///
/// Where DFQ (Nagel et al. 2019, arXiv:1906.04721) makes ranges of weights alike for one scale per weight tensor, this
/// weighs the activation's error against the weights', as their scale is per channel.
///
/// # Errors
/// If the values at the seams cannot be computed.
pub fn equalize(
    graph: &mut Graph,
    set: &CalibrationSet,
    levels: Levels,
    moments: &mut Moments,
    config: &execution::Config,
) -> Result<usize> {
    let seams = find_seams(graph);
    let channels = observe_channels(graph, &seams, set, config)?;
    let mut count = 0;
    for (seam, channels) in seams.iter().zip(channels) {
        let readers: Vec<Reader> = seam.consumers.iter().filter_map(|id| Reader::of(graph, *id, &channels)).collect();
        if let Some(factors) = best_factors(&channels, &readers, levels) {
            scale_seam(graph, seam, &factors);
            moments.scale(seam.made, &factors);
            count += 1;
        }
    }
    Ok(count)
}

fn observe_channels(graph: &Graph, seams: &[Seam], set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Vec<Channel>>> {
    let values: Vec<ValueId> = seams.iter().flat_map(|seam| [seam.made, seam.value]).collect();
    let mut found: Vec<Vec<Channel>> = seams.iter().map(|seam| vec![Channel::default(); seam.channels]).collect();
    let samples = set.len() as f64;
    observe(graph, &values, set, config, &mut |_, elements| {
        found.par_iter_mut().zip(elements.par_chunks(2)).for_each(|(channels, elements)| {
            let positions = (elements[1].len() / channels.len()) as f64;
            let mut reach = vec![0.0f32; channels.len()];
            for row in elements[0].chunks_exact(channels.len()) {
                reach.iter_mut().zip(row).for_each(|(reach, x)| *reach = reach.max(x.abs()));
            }
            for row in elements[1].chunks_exact(channels.len()) {
                channels.iter_mut().zip(row).for_each(|(channel, x)| channel.mean_square += f64::from(x * x) / (positions * samples));
            }
            channels.iter_mut().zip(reach).for_each(|(channel, reach)| channel.reach += f64::from(reach) / samples);
        });
    })?;
    Ok(found)
}

/// The weights of one consumer.
struct Reader {
    outputs: Vec<Output>,
    positions: f64,
}

/// What one output reads.
#[derive(Clone, Default)]
struct Output {
    taps: Vec<Tap>,
    /// Mean square of the sum, were its parts independent.
    energy: f64,
}

/// The weights of one input channel over all positions: Σ w² and the largest |w|.
#[derive(Clone, Copy)]
struct Tap {
    channel: usize,
    squares: f64,
    most: f64,
}

impl Reader {
    fn of(graph: &Graph, id: NodeId, channels: &[Channel]) -> Option<Reader> {
        let node = graph.node(id);
        let tensor = graph.constant(node.input(1)?)?;
        let (shape, elements) = (tensor.shape(), tensor.to_f32()?);
        let channel_of = channel_of(node);
        let inner: usize = shape[2..].iter().product();
        let by_column = node.is::<Gemm>().is_some_and(|gemm| !gemm.transpose_b);
        let mut outputs = vec![Output::default(); shape[usize::from(by_column)]];
        for (index, w) in elements.iter().enumerate() {
            let output = &mut outputs[if by_column { index % shape[1] } else { index / (shape[1] * inner) }];
            let (channel, w) = (channel_of(shape, index), f64::from(w.abs()));
            output.energy += w * w * channels[channel].mean_square;
            match output.taps.last_mut().filter(|last| last.channel == channel) {
                Some(last) => (last.squares, last.most) = (last.squares + w * w, last.most.max(w)),
                None => output.taps.push(Tap { channel, squares: w * w, most: w }),
            }
        }
        outputs.retain(|output| output.energy > 0.0);
        Some(Reader { outputs, positions: inner as f64 })
    }

    /// Noise-to-signal ratio summed over the outputs, with the activation's `step` and channels scaled by `factors`.
    fn noise(&self, channels: &[Channel], factors: &[f64], step: f64, levels: Levels) -> f64 {
        let of = |output: &Output| {
            let (mut activation, mut largest, mut scaled) = (0.0, 0.0f64, 0.0);
            for tap in &output.taps {
                let factor = factors[tap.channel];
                activation += tap.squares / (factor * factor);
                largest = largest.max(tap.most / factor);
                scaled += channels[tap.channel].mean_square * factor * factor * self.positions;
            }
            (activation * step * step + scaled * (largest / levels.weight).powi(2)) / (12.0 * output.energy)
        };
        self.outputs.iter().map(of).sum()
    }

    /// Largest |w| of each channel, as a part of its output's largest.
    fn widths(&self, widths: &mut [f64]) {
        for Output { taps, .. } in &self.outputs {
            let largest = taps.iter().fold(0.0f64, |most, tap| most.max(tap.most));
            taps.iter().for_each(|tap| widths[tap.channel] = widths[tap.channel].max(tap.most / largest.max(1e-30)));
        }
    }
}

/// Factors reach^−a · width^b with the exponents of least noise; `None` where leaving the channels alone is as good.
fn best_factors(channels: &[Channel], readers: &[Reader], levels: Levels) -> Option<Vec<f32>> {
    let mut widths = vec![0.0f64; channels.len()];
    readers.iter().for_each(|reader| reader.widths(&mut widths));
    let noise = |factors: &[f64]| {
        let reach = channels.iter().zip(factors).fold(0.0f64, |most, (channel, factor)| most.max(channel.reach * factor));
        readers.iter().map(|reader| reader.noise(channels, factors, reach / levels.activation, levels)).sum::<f64>()
    };
    let exponent = |index: usize| index as f64 / (EXPONENTS - 1) as f64;
    let tries: Vec<(f64, f64)> = (0..EXPONENTS).flat_map(|a| (0..EXPONENTS).map(move |b| (exponent(a), exponent(b)))).collect();
    let scored = tries.par_iter().map(|(a, b)| {
        let factors = factors(channels, &widths, *a, *b);
        (noise(&factors), factors)
    });
    let scored: Vec<(f64, Vec<f64>)> = scored.collect();
    let (_, best) = scored.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let worth = noise(best) < 0.99 * noise(&vec![1.0; channels.len()]);
    worth.then(|| best.iter().map(|factor| *factor as f32).collect())
}

fn factors(channels: &[Channel], widths: &[f64], a: f64, b: f64) -> Vec<f64> {
    let largest = channels.iter().fold(0.0f64, |most, channel| most.max(channel.reach));
    let factor = |(channel, width): (&Channel, &f64)| {
        let live = channel.reach > 1e-6 * largest && *width > 0.0;
        if live { ((channel.reach / largest).powf(-a) * width.powf(b)).clamp(1.0 / MOST, MOST) } else { 1.0 }
    };
    channels.iter().zip(widths).map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Normal;
    use crate::graph::sketch::{Sketch, assert_same_function, noise};
    use crate::ops::Attributes;

    #[test]
    fn channels_come_to_like_reach_and_the_function_stays() {
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).node("r", "LeakyRelu", "a", Attributes::default());
        let sketch = sketch.weights("w", &[8, 1, 3, 3], 0.4).node("d", "Conv", "r w", Attributes::default().int("group", 8));
        let mut graph = sketch.plain("s", "Relu", "d").conv("y", "s", (8, 4), 1, 1).outputs("y");
        let seams = find_seams(&graph);
        // Spoiled: channels differ by up to 2⁷.
        scale_seam(&mut graph, &seams[0], &[1.0, 128.0, 0.5, 32.0, 4.0, 1.0, 64.0, 2.0]);
        let (before, set, config) = (graph.clone(), noise(&graph, 16), execution::Config::default());
        let spread = |graph: &Graph, seam: usize| {
            let channels = &observe_channels(graph, &seams, &set, &config).unwrap()[seam];
            let reach = channels.iter().map(|channel| channel.reach);
            reach.clone().fold(0.0, f64::max) / reach.fold(f64::INFINITY, f64::min)
        };
        let levels = Levels { activation: 255.0, weight: 127.0 };
        let mut moments = Moments::default();
        moments.set(seams[0].made, vec![Normal { mean: 1.0, deviation: 2.0 }; 8]);
        assert_eq!(equalize(&mut graph, &set, levels, &mut moments, &config).unwrap(), 2);
        assert_same_function(&before, &graph);
        let of = |graph: &Graph| observe_channels(graph, &seams, &set, &config).unwrap()[0].clone();
        for (normal, (after, before)) in moments.of(seams[0].made).unwrap().iter().zip(of(&graph).iter().zip(&of(&before))) {
            assert!((normal.mean * before.reach / after.reach - 1.0).abs() < 1e-4 && normal.deviation == 2.0 * normal.mean);
        }
        // The depthwise convolution has a scale per channel: nothing stands against full equality.
        assert!(spread(&before, 0) > 100.0 && spread(&graph, 0) < 1.01, "{} {}", spread(&before, 0), spread(&graph, 0));
        assert_eq!(equalize(&mut graph.clone(), &set, levels, &mut Moments::default(), &config).unwrap(), 0);
    }
}
