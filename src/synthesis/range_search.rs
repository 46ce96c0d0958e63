//! Which input range the stored statistics of the first BatchNormalization speak for.

use super::Config;
use super::goal::{Site, found};
use super::input::Input;
use super::input_range::PixelRange;
use super::loss::StatisticsLoss;
use super::losses::ReverseKl;
use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::error::Result;
use crate::execution::observe;
use crate::execution::tape::ChannelSums;
use crate::graph::Graph;
use crate::progress::Progress;
use crate::random::Random;

const PROBES: usize = 24;

/// Gives every input the named range under which procedural images come nearest to the stored statistics of the first
/// BatchNormalization. One range serves all inputs.
pub fn find_ranges(graph: &Graph, sites: &[Site], inputs: &mut [Input], config: &Config, progress: &dyn Progress) -> Result<()> {
    let mut best: Option<(f64, PixelRange)> = None;
    for candidate in candidates(inputs) {
        inputs.iter_mut().for_each(|input| input.range = candidate.clone());
        let distance = distance(graph, &sites[0], inputs, config)?;
        if best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, candidate));
        }
    }
    let Some((distance, range)) = best else { return Ok(()) };
    for input in inputs.iter_mut() {
        input.range = range.clone();
        let (low, high) = range.hull();
        progress.note(&format!(
            "input `{}`: range {} ({low:.3} to {high:.3}) found from the first BatchNormalization, distance {distance:.3}",
            input.name, range.name
        ));
        if input.image_channels().is_none() {
            progress.warn(&format!("input `{}` {:?} is not an image; noise is where its samples start", input.name, input.shape));
        }
    }
    if distance > 1.0 {
        progress.warn("no usual input range explains the statistics of the first BatchNormalization; pass --input-range if you know it");
    }
    Ok(())
}

fn candidates(inputs: &[Input]) -> Vec<PixelRange> {
    let mut candidates = PixelRange::named();
    if inputs.iter().any(|input| input.image_channels() != Some(3)) {
        candidates.pop();
        candidates.push(PixelRange::uniform("standardized", -2.2, 2.7));
    }
    candidates
}

fn distance(graph: &Graph, site: &Site, inputs: &[Input], config: &Config) -> Result<f64> {
    let samples = inputs.iter().enumerate().map(|(stream, input)| {
        let mut random = Random::new(config.seed, 1 << 40 | stream as u64);
        let elements = (0..PROBES).flat_map(|_| input.procedural(&mut random)).collect();
        Samples::new(&input.name, input.shape.clone(), elements)
    });
    let set = CalibrationSet { inputs: samples.collect::<Result<_>>()?, provenance: Provenance::default() };
    let (mut sums, mut scratch) = (ChannelSums::new(site.stored.len()), vec![0.0; 2 * site.stored.len()]);
    let mut add = |_: usize, values: &[&[f32]]| sums.add_sample(values[0], &mut scratch, config.execution.isa);
    observe(graph, &[site.value], &set, &config.execution, &mut add)?;
    let of = |(found, stored)| ReverseKl.distance(&[found], &[stored]).value.min(100.0);
    let distances = found(site, &sums).zip(site.stored.iter().copied()).map(of);
    Ok(distances.sum::<f64>() / site.stored.len() as f64)
}
