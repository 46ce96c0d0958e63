//! Ranges where the first BatchNormalization does not follow linearly from an input: the one under which procedural samples come
//! nearest to what is stored, which is a guess.

use super::candidates::candidates;
use super::{Certainty, Finding};
use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::error::Result;
use crate::execution::observe;
use crate::execution::tape::ChannelSums;
use crate::graph::Graph;
use crate::random::Random;
use crate::synthesis::Config;
use crate::synthesis::goal::{Site, found};
use crate::synthesis::input::Input;
use crate::synthesis::input_range::PixelRange;
use crate::synthesis::loss::StatisticsLoss;
use crate::synthesis::losses::ReverseKl;

const PROBES: usize = 24;

/// Gives the inputs `open` the range that comes nearest, the same to all of one kind.
pub fn guess(graph: &Graph, sites: &[Site], inputs: &mut [Input], open: &[usize], config: &Config) -> Result<()> {
    for index in open {
        inputs[*index].range = PixelRange::standardized();
        inputs[*index].finding = Finding::plain(Certainty::Deep);
    }
    let Some(channels) = open.iter().find_map(|index| inputs[*index].image_channels()) else { return Ok(()) };
    let mut tried: Vec<(f64, PixelRange)> = Vec::new();
    for candidate in candidates(Some(channels)) {
        take(inputs, open, &candidate.range);
        tried.push((distance(graph, &sites[0], inputs, config)?, candidate.range));
    }
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, range)) = tried.first() {
        take(inputs, open, range);
    }
    let next = tried.get(1).map(|(_, range)| (range.clone(), 0.0));
    open.iter().for_each(|index| inputs[*index].finding.runner_up.clone_from(&next));
    Ok(())
}

fn take(inputs: &mut [Input], open: &[usize], range: &PixelRange) {
    for index in open {
        if inputs[*index].image_channels().is_some() {
            inputs[*index].range = range.clone();
        }
    }
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
