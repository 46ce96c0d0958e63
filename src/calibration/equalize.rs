//! Channels of like range: what one scale for a whole activation costs least.

use rayon::prelude::*;

use super::seam_noise::{Candidate, Channel, Levels, Reader};
use super::{CalibrationSet, Moments};
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::passes::{Seam, find_seams, scale_seam};

/// Exponents that are tried: 0 leaves channels as they are, 1 brings their reach (or their weights) to one size.
const EXPONENTS: usize = 11;
/// Largest factor.
const MOST: f64 = 1e3;
/// Times that one sample reaches farther than the mean of all where a channel looks for something rare.
const RARE: f64 = 4.0;
/// Part of the farthest reach below which a channel hides what it looks for, if it is hardly ever at work.
const HIDDEN: f64 = 0.02;
/// Peak over the root of the mean square of a channel that is hardly ever at work.
const IDLE: f64 = 50.0;

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
        if let Some(factors) = best_factors(&channels, &readers, levels, config.isa) {
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
                for (channel, x) in channels.iter_mut().zip(row) {
                    channel.mean_square += f64::from(x * x) / (positions * samples);
                    channel.peak = channel.peak.max(f64::from(x.abs()));
                }
            }
            channels.iter_mut().zip(reach).for_each(|(channel, reach)| channel.reach += f64::from(reach) / samples);
        });
    })?;
    Ok(found)
}

/// Factors reach^−a · width^b with the exponents of least noise; `None` where leaving the channels alone is as good.
fn best_factors(channels: &[Channel], readers: &[Reader<'_>], levels: Levels, isa: Isa) -> Option<Vec<f32>> {
    let mut widths = vec![0.0f64; channels.len()];
    readers.iter().for_each(|reader| reader.widths(&mut widths));
    let exponent = |index: usize| index as f64 / (EXPONENTS - 1) as f64;
    let tries = (0..EXPONENTS).flat_map(|a| (0..EXPONENTS).map(move |b| (exponent(a), exponent(b))));
    let candidate = |(a, b): (f64, f64)| Candidate::new(factors(channels, &widths, a, b), channels, levels);
    // The first one leaves the channels as they are.
    let candidates: Vec<Candidate> = tries.map(candidate).collect();
    let mut noises = vec![0.0; candidates.len()];
    for reader in readers {
        noises.iter_mut().zip(reader.noises(channels, &candidates, levels, isa)).for_each(|(sum, noise)| *sum += noise);
    }
    let (noise, best) = noises.iter().zip(&candidates).min_by(|a, b| a.0.total_cmp(b.0))?;
    (*noise < 0.99 * noises[0]).then(|| best.factors.iter().map(|factor| *factor as f32).collect())
}

impl Channel {
    /// Whether samples do not show how far it reaches, where others reach `largest`: it may reach as far.
    fn hides(&self, largest: f64) -> bool {
        self.reach < HIDDEN * largest && self.peak * self.peak > IDLE * IDLE * self.mean_square
    }
}

fn factors(channels: &[Channel], widths: &[f64], a: f64, b: f64) -> Vec<f64> {
    let largest = channels.iter().fold(0.0f64, |most, channel| most.max(channel.reach));
    let factor = |(channel, width): (&Channel, &f64)| {
        let live = channel.reach > 1e-6 * largest && *width > 0.0;
        let part = if channel.hides(largest) { 1.0 } else { channel.reach.max(channel.peak / RARE) / largest };
        if live { (part.powf(-a) * width.powf(b)).clamp(1.0 / MOST, MOST) } else { 1.0 }
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
