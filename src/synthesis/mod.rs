//! Images without data: pixels whose BatchNorm statistics are those that the model has stored.
//!
//! Paper: Haroush et al. 2020, arXiv:1912.01274 ("The Knowledge Within"); swing convolution from Jeon et al. 2023 (GENIE).

pub mod dead_leaves;
pub mod input;
pub mod input_range;
pub mod loss;
pub mod losses;
mod pixels;
mod range_search;
mod swing;
#[cfg(test)]
mod tests;

use input::Input;
use input_range::{InputRange, PixelRange};
use loss::{Gaussian, StatisticsLoss};
use pixels::{Pixels, Site};

use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::error::{Error, Result};
use crate::execution;
use crate::execution::tape::{Request, Tape};
use crate::graph::{Graph, ValueId, known_shape};
use crate::passes::{BatchNormSite, batch_norm_statistics, single_sample};
use crate::progress::Progress;
use crate::random::Random;

/// [`Provenance::source`] of samples that no statistics were matched on.
pub const DEAD_LEAVES: &str = "dead-leaves";

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
    pub execution: execution::Config,
}

impl Config {
    /// A quarter of the distance that a batch of as many real images has at a layer with one independent number per image,
    /// which is 1 / batch: the batch's mean and its variance each cost half of that. Stopping at 1 / batch itself costs
    /// accuracy (tiny_resnet8 2 dB), below this nothing more is gained.
    pub fn sufficient(batch: usize) -> f64 {
        0.25 / batch as f64
    }
}

/// Images and how they came about.
#[derive(Clone, Debug)]
pub struct Synthesis {
    pub set: CalibrationSet,
    pub inputs: Vec<Input>,
    /// Mean BN distance at the first and the last step, over all batches; `None` where no statistics were matched.
    pub loss: Option<(f64, f64)>,
    pub steps: usize,
    pub seconds: f64,
}

/// Makes `config.samples` samples for `graph`, which still has its BatchNormalizations.
///
/// # Errors
/// If the valid range of an input cannot be told, or something before a BatchNormalization cannot be computed.
pub fn synthesize(graph: &Graph, config: &Config, progress: &dyn Progress) -> Result<Synthesis> {
    let start = std::time::Instant::now();
    let graph = single_sample(graph)?;
    let sites = informative_sites(batch_norm_statistics(&graph)?, progress);
    let inputs = find_inputs(&graph, &sites, config, progress)?;
    let mut samples = procedural_samples(&inputs, config);
    let (mut loss, mut steps) = (None, 0);
    if sites.is_empty() {
        progress.warn(
            "the model has no BatchNormalization to take statistics from (exporters fold it): procedural dead-leaves images are used \
             instead; `zeroq inspect` tells how to export with BatchNorm kept",
        );
    } else {
        let (ends, taken) = match_statistics(&graph, &sites, &inputs, &mut samples, config, progress)?;
        (loss, steps) = (Some(ends), taken);
    }
    let provenance = Provenance {
        source: if sites.is_empty() { DEAD_LEAVES } else { "synthesized" }.to_string(),
        seed: Some(config.seed),
        steps: (!sites.is_empty()).then_some(config.steps),
        version: env!("CARGO_PKG_VERSION").to_string(),
        isa: Some(config.execution.isa.name().to_string()),
        ..Provenance::default()
    };
    let set = CalibrationSet { inputs: stack(&inputs, &samples), provenance };
    Ok(Synthesis { set, inputs, loss, steps, seconds: start.elapsed().as_secs_f64() })
}

/// Sites that say something: statistics that were never trained (mean 0, variance 1) do not.
fn informative_sites(found: Vec<BatchNormSite>, progress: &dyn Progress) -> Vec<Site> {
    let untrained = |site: &BatchNormSite| site.mean.iter().all(|m| *m == 0.0) && site.variance.iter().all(|v| *v == 1.0);
    if !found.is_empty() && found.iter().all(untrained) {
        progress.warn("all BatchNormalization statistics are mean 0 and variance 1: the model looks untrained");
        return Vec::new();
    }
    let site = |site: BatchNormSite| {
        let epsilon = f64::from(site.epsilon).max(1e-8);
        let gaussian = |(mean, variance): (&f32, &f32)| Gaussian { mean: f64::from(*mean), variance: f64::from(*variance) + epsilon };
        Site { value: site.input, stored: site.mean.iter().zip(&site.variance).map(gaussian).collect(), epsilon }
    };
    let mut sites: Vec<Site> = found.into_iter().map(site).collect();
    // A value that two BatchNormalizations read counts once.
    let mut seen = std::collections::HashSet::new();
    sites.retain(|site| seen.insert(site.value));
    sites
}

fn find_inputs(graph: &Graph, sites: &[Site], config: &Config, progress: &dyn Progress) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for id in &graph.inputs {
        let value = graph.value(*id);
        let shape = value.shape.as_deref().and_then(known_shape);
        let shape = shape.ok_or_else(|| Error::tensor(&value.name, "its shape is not known; pass --shape"))?;
        let range = match &config.input_range {
            InputRange::Given(range) => range.clone(),
            InputRange::Auto => PixelRange::uniform("unknown", 0.0, 1.0),
        };
        inputs.push(Input { name: value.name.clone(), shape, range });
    }
    if config.input_range == InputRange::Auto {
        match sites.first() {
            Some(_) => range_search::find_ranges(graph, sites, &mut inputs, config, progress)?,
            None => assume_ranges(&mut inputs, progress)?,
        }
    }
    Ok(inputs)
}

/// Without BatchNorm the range cannot be known.
fn assume_ranges(inputs: &mut [Input], progress: &dyn Progress) -> Result<()> {
    for input in inputs {
        if input.image_channels() != Some(3) {
            return Err(Error::Usage(format!(
                "the valid range of input `{}` {:?} cannot be found without BatchNormalization: pass --input-range \
                 (unit, signed, byte, imagenet or LO,HI)",
                input.name, input.shape
            )));
        }
        progress.warn(&format!(
            "the valid range of input `{}` cannot be found without BatchNormalization; it is ASSUMED to be imagenet-normalised. \
             If it is not, pass --input-range",
            input.name
        ));
        input.range = PixelRange::imagenet();
    }
    Ok(())
}

fn procedural_samples(inputs: &[Input], config: &Config) -> Vec<Vec<Vec<f32>>> {
    let sample = |index: usize| {
        let mut random = Random::new(config.seed, index as u64);
        inputs.iter().map(|input| input.procedural(&mut random)).collect()
    };
    use rayon::prelude::*;
    (0..config.samples).into_par_iter().map(sample).collect()
}

fn match_statistics(
    graph: &Graph,
    sites: &[Site],
    inputs: &[Input],
    samples: &mut [Vec<Vec<f32>>],
    config: &Config,
    progress: &dyn Progress,
) -> Result<((f64, f64), usize)> {
    let mut graph = graph.clone();
    let swings = swing::insert_swing(&mut graph)?;
    let seeds: Vec<ValueId> = sites.iter().map(|site| site.value).collect();
    let request = Request { targets: &[], seeds: &seeds, input_gradients: true, parameters: &swings, isa: config.execution.isa };
    let mut tape = Tape::compile(&graph, &request)?;
    // What lies behind the last statistics is not compiled.
    let swings: Vec<ValueId> = swings.into_iter().filter(|value| tape.parameter(*value).is_some()).collect();
    let loss: Box<dyn StatisticsLoss> = losses::all().swap_remove(0);
    let batches = samples.len().div_ceil(config.batch);
    progress.begin("synthesize", config.steps * batches);
    let (mut ends, mut taken) = ((0.0, 0.0), 0);
    for (index, batch) in samples.chunks_mut(config.batch).enumerate() {
        let mut random = Random::new(config.seed, 1 << 32 | index as u64);
        let (loss, isa, sufficient) = (loss.as_ref(), config.execution.isa, config.sufficient);
        let mut pixels = Pixels { tape: &mut tape, sites, swings: &swings, loss, inputs, isa, sufficient };
        let mut on_step = |loss: f64| {
            progress.step(&format!("loss {loss:.4}"));
            progress.check()
        };
        let losses = pixels.optimize(batch, config.steps, &mut random, &mut on_step)?;
        (losses.len()..config.steps).for_each(|_| progress.step("near enough"));
        taken += losses.len();
        ends.0 += losses.first().unwrap_or(&0.0) / batches as f64;
        ends.1 += losses.last().unwrap_or(&0.0) / batches as f64;
    }
    progress.end();
    Ok((ends, taken))
}

fn stack(inputs: &[Input], samples: &[Vec<Vec<f32>>]) -> Vec<Samples> {
    let of = |(index, input): (usize, &Input)| Samples {
        name: input.name.clone(),
        shape: input.shape.clone(),
        elements: samples.iter().flat_map(|sample| sample[index].iter().copied()).collect(),
    };
    inputs.iter().enumerate().map(of).collect()
}
