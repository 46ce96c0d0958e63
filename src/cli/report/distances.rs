//! How near images are to what each BatchNormalization has stored, before and after they were matched to it.

use serde::Serialize;

use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::execution;
use crate::graph::Graph;
use crate::passes::simplify;
use crate::pipeline::{Config, Quantized};
use crate::progress::Silent;
use crate::synthesis::similarity::{Similarity, Yardstick};
use crate::synthesis::{SYNTHESIZED, first_samples, sources};

#[derive(Serialize)]
pub struct Distances {
    /// In execution order; empty where there is nothing to hold images against.
    pub layers: Vec<LayerDistances>,
    /// Means over all layers.
    pub before: Option<f64>,
    pub after: Option<f64>,
    /// Why something is missing.
    pub note: String,
}

#[derive(Serialize)]
pub struct LayerDistances {
    pub node: String,
    pub before: Option<f64>,
    pub after: f64,
}

impl Distances {
    /// Holds the images of `work` against `graph` or the sibling that they were matched to.
    ///
    /// # Errors
    /// If the work was interrupted.
    pub fn measure(graph: &Graph, work: &Quantized, given: bool, config: &Config) -> Result<Self> {
        let found = judge(graph, config).and_then(|yardstick| {
            let after = yardstick.measure(std::slice::from_ref(&work.samples), &Silent)?;
            let start = if given { Err("the images were given, not made") } else { start_of(work, config) };
            let before = start.map(|start| yardstick.measure(&[start?], &Silent));
            Ok((before, after))
        });
        match found {
            Ok((Ok(before), after)) => Ok(Distances::new(Some(before?), after, String::new())),
            Ok((Err(reason), after)) => Ok(Distances::new(None, after, reason.to_string())),
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => Ok(Distances { layers: Vec::new(), before: None, after: None, note: error.to_string() }),
        }
    }

    fn new(before: Option<Similarity>, after: Similarity, note: String) -> Self {
        let of = |index: usize| before.as_ref().and_then(|before| before.layers.get(index)).map(|layer| layer.distance);
        let layers = after.layers.into_iter().enumerate();
        let layers = layers.map(|(index, layer)| LayerDistances { node: layer.node, before: of(index), after: layer.distance });
        Distances { layers: layers.collect(), before: before.as_ref().map(|before| before.distance), after: Some(after.distance), note }
    }
}

fn judge(graph: &Graph, config: &Config) -> Result<Yardstick> {
    let execution: execution::Config = config.execution;
    if let Some(sibling) = &config.statistics_from {
        return Yardstick::new(&sibling.graph, execution, &Silent);
    }
    let mut graph = graph.clone();
    simplify(&mut graph)?;
    Yardstick::new(&graph, execution, &Silent)
}

/// The images that those of `work` were made from, or why there are none.
fn start_of(work: &Quantized, config: &Config) -> Result<Result<CalibrationSet>, &'static str> {
    let method = &config.method;
    if work.samples.provenance.source != SYNTHESIZED {
        return Err("the images were not matched to statistics");
    }
    if method.source.name != sources::all()[0].name {
        return Err("a generator made the images, which has none to begin with");
    }
    let samples = first_samples(&work.inputs, method.start, config.seed, work.samples.len());
    Ok(samples.map(|inputs| CalibrationSet { inputs, provenance: work.samples.provenance.clone() }))
}
