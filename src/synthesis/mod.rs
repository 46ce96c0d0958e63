//! Images without data: pixels whose BatchNorm statistics are those that the model has stored.
//!
//! Paper: Haroush et al. 2020, arXiv:1912.01274 ("The Knowledge Within"); swing convolution from Jeon et al. 2023 (GENIE).

pub mod active;
mod assessment;
mod blur;
mod canvas;
mod correlation;
pub mod dead_leaves;
mod frame;
mod goal;
pub mod input;
pub mod input_range;
pub mod loss;
pub mod losses;
mod matching;
pub mod method;
pub mod moments;
mod passes;
pub mod ranges;
#[cfg(feature = "candle")]
mod screen;
pub mod sibling;
pub mod similarity;
mod sites;
pub mod source;
pub mod sources;
mod stages;
mod swing;
#[cfg(feature = "candle")]
mod tensor_passes;
#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

pub use assessment::{Assessment, Diversity, assess, distance};
use goal::{Goal, Site};
use input::Input;
use input_range::{InputRange, PixelRange};
use matching::{Course, Extent, Image, Matched, Matching};
use method::{Method, Pool, Start};
use passes::Setup;
use ranges::{Certainty, Finding};
use source::Setting;
use stages::Stage;

use crate::calibration::{CalibrationSet, Elements, Provenance, Samples};
use crate::error::{Error, Result};
use crate::execution;
use crate::execution::tape::ChannelSums;
use crate::graph::{Graph, Node, ValueId, known_shape};
use crate::memory;
use crate::ops::BatchNormalization;
use crate::passes::single_sample;
use crate::progress::Progress;
use crate::random::Random;
use crate::tensor::DataType;

/// [`Provenance::source`] of samples that no statistics were matched on.
pub const DEAD_LEAVES: &str = "dead-leaves";
/// [`Provenance::source`] of samples that are noise and were matched to nothing.
pub const GAUSSIAN: &str = "gaussian";
/// [`Provenance::source`] of samples that were brought nearer to a goal.
pub const SYNTHESIZED: &str = "synthesized";

/// [`Provenance::source`] of samples that were brought nearer to what no file holds: assumed statistics, or random classes.
pub const ASSUMED: &str = "assumed";

/// Starting samples that are in memory at a time.
const DRAWN: usize = 32;

/// How to synthesize.
#[derive(Clone, Debug)]
pub struct Config {
    /// Number of samples.
    pub samples: usize,
    /// Samples whose statistics are matched together.
    pub batch: usize,
    /// Gradient steps for each batch, at most.
    pub steps: usize,
    /// Distance at which a batch needs no more of them.
    pub sufficient: Option<f64>,
    pub seed: u64,
    pub input_range: InputRange,
    pub method: Method,
    pub execution: execution::Config,
}

impl Config {
    /// A quarter of the distance that a batch of as many real images has at a layer with one independent number per image,
    /// which is 1 / batch: the batch's mean and its variance each cost half of that. Measured: stopping at 1 / batch itself
    /// cost tiny_resnet8 2 dB. Less than a quarter was not measured.
    pub fn sufficient(batch: usize) -> f64 {
        0.25 / batch as f64
    }
}

/// Images and how they came about.
#[derive(Clone, Debug)]
pub struct Synthesis {
    pub set: CalibrationSet,
    pub inputs: Vec<Input>,
    /// Mean loss at the first and the last step, over all batches; `None` where nothing was optimized.
    pub loss: Option<(f64, f64)>,
    pub steps: usize,
    pub seconds: f64,
}

/// What is done in place of matching statistics, and why.
fn without_statistics(graph: &Graph, goal: &Goal, method: &Method) -> String {
    let instead = match (goal.is_empty(), method.statistics) {
        (true, _) => "procedural images are used",
        (false, None) => "pictures of random classes are used",
        (false, Some(_)) => "images are matched to what is ASSUMED of its layers (--assume)",
    };
    if graph.nodes().any(|(_, node)| node.is::<BatchNormalization>().is_some()) {
        return format!("the statistics of the model's BatchNormalization say nothing: {instead} instead");
    }
    format!(
        "the model has no BatchNormalization to take statistics from (exporters fold it): {instead} instead; `zeroq inspect` tells how to \
         export with BatchNorm kept, and --stats-from takes the statistics of such an export"
    )
}

/// Makes `config.samples` samples for `graph`, which still has its BatchNormalizations.
///
/// # Errors
/// If the valid range of an input cannot be told, or something before a BatchNormalization cannot be computed.
pub fn synthesize(graph: &Graph, config: &Config, progress: &dyn Progress) -> Result<Synthesis> {
    let start = std::time::Instant::now();
    let graph = single_sample(graph)?;
    check_memory(&graph, config.batch.min(config.samples))?;
    let sites = sites::informative(&graph, progress)?;
    let inputs = find_inputs(&graph, &sites, config, progress)?;
    let lacking = sites.is_empty() && config.method.statistics.is_some();
    let method = if lacking { config.method.without_statistics(&graph, &inputs) } else { config.method.clone() };
    let config = &Config { method, ..config.clone() };
    let method = &config.method;
    let sites = if lacking { sites::assumed(&graph, &inputs, method.assumption) } else { sites };
    let goal = Goal::new(&graph, &sites, &inputs, method)?;
    if lacking {
        progress.warn(&without_statistics(&graph, &goal, method));
    }
    let mut samples = first_samples(&inputs, method.start, config.seed, config.samples)?;
    let found = if goal.is_empty() { None } else { Some(in_stages(&graph, &goal, &inputs, &mut samples, config, progress)?) };
    settle(&inputs, &mut samples)?;
    let source = match (found, method.start) {
        (Some(_), _) if lacking => ASSUMED,
        (Some(_), _) => SYNTHESIZED,
        (None, Start::DeadLeaves) => DEAD_LEAVES,
        (None, Start::Gaussian) => GAUSSIAN,
    };
    let provenance = Provenance {
        source: source.to_string(),
        seed: Some(config.seed),
        steps: found.map(|_| config.steps),
        version: env!("CARGO_PKG_VERSION").to_string(),
        recipe: Some(method.recipe.clone()),
        isa: Some(config.execution.engine_name()),
        ..Provenance::default()
    };
    let set = CalibrationSet { inputs: samples, provenance };
    let (loss, steps) = found.map_or((None, 0), |(loss, steps)| (Some(loss), steps));
    Ok(Synthesis { set, inputs, loss, steps, seconds: start.elapsed().as_secs_f64() })
}

/// Counts what cannot be done without: a batch of samples, and what the largest node reads and makes for one of them.
fn check_memory(graph: &Graph, samples: usize) -> Result<()> {
    let bytes = |value: ValueId| {
        let shape = graph.value(value).shape.as_deref().and_then(known_shape);
        shape.map_or(0, |shape| shape.iter().fold(4u64, |bytes, size| bytes.saturating_mul(*size as u64)))
    };
    let of_node = |node: &Node| node.inputs.iter().chain(&node.outputs).flatten().map(|value| bytes(*value)).sum();
    let largest: u64 = graph.nodes().map(|(_, node)| of_node(node)).max().unwrap_or(0);
    let sample: u64 = graph.inputs.iter().map(|input| bytes(*input)).sum();
    let names: Vec<String> = graph.inputs.iter().map(|input| format!("`{}`", graph.value(*input).name)).collect();
    memory::require(
        sample.saturating_mul(samples as u64).saturating_add(largest),
        &format!("making {samples} samples of {}", names.join(", ")),
    )
}

fn find_inputs(graph: &Graph, sites: &[Site], config: &Config, progress: &dyn Progress) -> Result<Vec<Input>> {
    let (mut inputs, mut open) = (Vec::new(), Vec::new());
    for (index, id) in graph.inputs.iter().enumerate() {
        let value = graph.value(*id);
        let shape = value.shape.as_deref().and_then(known_shape);
        let shape = shape.ok_or_else(|| Error::tensor(&value.name, "its shape is not known; pass --shape"))?;
        if value.data_type == Some(DataType::Bool) {
            inputs.push(Input::of_flags(&value.name, shape));
            continue;
        }
        let given = config.input_range.of(&value.name);
        if given.is_none() {
            open.push(index);
        }
        inputs.push(Input::new(&value.name, shape, given.cloned().unwrap_or_else(|| PixelRange::uniform("unknown", 0.0, 1.0))));
    }
    check_names(&config.input_range, graph)?;
    match sites {
        _ if open.is_empty() => {}
        [] => assume_ranges(&mut inputs, &open, progress)?,
        _ => ranges::find_ranges(graph, sites, &mut inputs, &open, config, progress)?,
    }
    if config.input_range.required {
        refuse_guesses(&inputs)?;
    }
    Ok(inputs)
}

/// Ranges of inputs that the model does not have.
fn check_names(ranges: &InputRange, graph: &Graph) -> Result<()> {
    let names: Vec<&str> = graph.inputs.iter().map(|input| graph.value(*input).name.as_str()).collect();
    match ranges.names().find(|name| !names.contains(name)) {
        Some(name) => Err(Error::Usage(format!("--input-range {name}: the model has no such input; it has `{}`", names.join("`, `")))),
        None => Ok(()),
    }
}

/// All ranges that are not certain, where only certain ones will do.
fn refuse_guesses(inputs: &[Input]) -> Result<()> {
    let doubts: Vec<String> = inputs.iter().filter_map(ranges::doubt).collect();
    if doubts.is_empty() { Ok(()) } else { Err(Error::Usage(format!("--require-range: {}", doubts.join("; ")))) }
}

/// Without BatchNorm the range cannot be known.
fn assume_ranges(inputs: &mut [Input], open: &[usize], progress: &dyn Progress) -> Result<()> {
    for index in open {
        let input = &mut inputs[*index];
        if input.image_channels() != Some(3) {
            return Err(Error::Usage(format!(
                "the valid range of input `{}` {:?} cannot be found without BatchNormalization: {}",
                input.name,
                input.shape,
                ranges::advice(input)
            )));
        }
        (input.range, input.finding) = (PixelRange::imagenet(), Finding::plain(Certainty::Assumed));
        ranges::doubt(input).iter().for_each(|doubt| progress.warn(doubt));
    }
    Ok(())
}

/// What `count` samples of each input start from, some of them in memory.
///
/// # Errors
/// If they cannot be stored.
pub fn first_samples(inputs: &[Input], start: Start, seed: u64, count: usize) -> Result<Vec<Samples>> {
    let blank = |input: &Input| {
        let elements = Elements::zeros(input.len(), count)?;
        Ok(Samples { name: input.name.clone(), shape: input.shape.clone(), elements })
    };
    let mut samples = inputs.iter().map(blank).collect::<Result<Vec<Samples>>>()?;
    let draw = |index: usize| -> Image {
        let mut random = Random::new(seed, index as u64);
        inputs.iter().map(|input| input.start(start, &mut random)).collect()
    };
    for first in (0..count).step_by(DRAWN) {
        let range = first..(first + DRAWN).min(count);
        let drawn: Vec<Image> = range.clone().into_par_iter().map(draw).collect();
        write_batch(&mut samples, range, &drawn)?;
    }
    Ok(samples)
}

/// What moved among inputs that are true or false is one of these again.
fn settle(inputs: &[Input], samples: &mut [Samples]) -> Result<()> {
    for (input, samples) in inputs.iter().zip(samples).filter(|(input, _)| input.is_flags()) {
        for index in 0..samples.elements.len() {
            let settled = input.settled(samples.sample(index)?.into_owned());
            samples.elements.write(index, &settled)?;
        }
    }
    Ok(())
}

/// Which samples make up each batch.
fn batches(config: &Config) -> impl ExactSizeIterator<Item = Range<usize>> {
    let (batch, samples) = (config.batch.max(1), config.samples);
    (0..samples.div_ceil(batch)).map(move |index| index * batch..((index + 1) * batch).min(samples))
}

fn read_batch(samples: &[Samples], range: Range<usize>) -> Result<Vec<Image>> {
    range.map(|index| samples.iter().map(|input| Ok(input.sample(index)?.into_owned())).collect()).collect()
}

fn write_batch(samples: &mut [Samples], range: Range<usize>, images: &[Image]) -> Result<()> {
    for (index, image) in range.zip(images) {
        samples.iter_mut().zip(image).try_for_each(|(input, elements)| input.elements.write(index, elements))?;
    }
    Ok(())
}

/// Brings the samples nearer to the goal, coarse stages first. Returns the mean loss at both ends and the steps taken.
fn in_stages(
    graph: &Graph,
    goal: &Goal<'_>,
    inputs: &[Input],
    samples: &mut [Samples],
    config: &Config,
    progress: &dyn Progress,
) -> Result<((f64, f64), usize)> {
    let (mut ends, mut taken) = (None, 0);
    let stages = Stage::plan(graph, inputs, config);
    if stages.len() < config.method.stages {
        let (found, wanted) = (stages.len(), config.method.stages);
        progress
            .note(&format!("{found} of {wanted} stages: the network takes no smaller pictures, or they would be too small to be of use"));
    }
    for stage in stages {
        let (stage_ends, steps) = optimize(&stage, goal, inputs, samples, config, progress)?;
        ends = Some((ends.map_or(stage_ends.0, |(first, _)| first), stage_ends.1));
        taken += steps;
    }
    Ok((ends.unwrap_or_default(), taken))
}

/// Takes the steps of one stage, batch by batch. Returns the mean loss at both ends and the steps taken.
fn optimize(
    stage: &Stage,
    goal: &Goal<'_>,
    full: &[Input],
    samples: &mut [Samples],
    config: &Config,
    progress: &dyn Progress,
) -> Result<((f64, f64), usize)> {
    let Stage { inputs, steps: most, factor, .. } = stage;
    let mut graph = stage.graph.clone();
    let swings = swing::insert_swing(&mut graph)?;
    let (execution, count) = (config.execution, batches(config).len());
    let setup = Setup { graph: &graph, goal, swings: &swings, inputs, samples: config.batch.min(config.samples), execution };
    let mut matching = Matching { passes: setup.open(progress)?, goal, inputs };
    let mut earlier: Vec<ChannelSums> = goal.sites.iter().map(|site| ChannelSums::new(site.stored.len())).collect();
    progress.begin("synthesize", most * count);
    let (mut ends, mut taken) = ((0.0, 0.0), 0);
    for (index, range) in batches(config).enumerate() {
        let stream = |purpose: u32| Random::new(config.seed, 1 << purpose | (*factor as u64 - 1) << 48 | index as u64);
        let setting =
            Setting { inputs, samples: range.len(), rate: config.method.rate, seed: config.seed, batch: index as u64, isa: execution.isa };
        let extent = Extent { steps: *most, sufficient: sufficient(config, index) };
        let course = Course { setting, earlier: &earlier, extent, random: stream(32), of_labels: stream(33), progress };
        let seen = stage.shrink_all(read_batch(samples, range.clone())?, full);
        let Matched { images, sums, losses } = matching.optimize(seen, course)?;
        earlier = sums;
        let grown = stage.grow_all(|| read_batch(samples, range.clone()), images, full)?;
        write_batch(samples, range, &grown)?;
        (losses.len()..*most).for_each(|_| progress.step("near enough"));
        taken += losses.len();
        ends.0 += losses.first().unwrap_or(&0.0) / count as f64;
        ends.1 += losses.last().unwrap_or(&0.0) / count as f64;
    }
    progress.end();
    Ok((ends, taken))
}

/// Distance at which batch `index` is near enough: the more images are pooled, the less of it is chance.
fn sufficient(config: &Config, index: usize) -> Option<f64> {
    let pooled = if config.method.pool == Pool::Set { index + 1 } else { 1 };
    let sufficient = config.sufficient.filter(|_| config.method.is_judged_by_distance())?;
    Some(sufficient / pooled as f64)
}
