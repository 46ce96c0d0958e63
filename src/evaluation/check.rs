//! The student held against the original, layer by layer, on samples that nothing was made with.

use ndarray::ArrayD;
use serde::Serialize;

use super::metrics::decibels;
use super::report::{Comparison, Thresholds};
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::{Config, evaluate};
use crate::graph::{Graph, NodeId, ValueId, known_shape};
use crate::passes::single_sample;

/// What the self-check of a quantized model found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Where the samples come from.
    pub source: String,
    pub seed: Option<u64>,
    pub thresholds: Thresholds,
    /// Of the final model; outputs are logits where there is a Softmax.
    pub comparison: Comparison,
    /// In the order of execution.
    pub layers: Vec<LayerCheck>,
    /// What was made more precise, in the order in which that happened.
    pub raised: Vec<Raise>,
    /// One line for each threshold that is missed in the end.
    pub missed: Vec<String>,
    pub passed: bool,
}

/// A matrix product of the quantized model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerCheck {
    pub node: String,
    pub operator: String,
    /// Type of the weights in the file, and of what the product reads.
    pub weights: String,
    pub input: String,
    /// Of its output against that of the original, with all that comes before quantized too.
    pub sqnr_db: f64,
}

/// A layer that got more precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Raise {
    /// The matrix products that changed.
    pub nodes: Vec<String>,
    pub from: String,
    pub to: String,
    pub reason: String,
}

/// Elements that are held at a time, of both graphs together.
const HELD: usize = 1 << 26;

/// SQNR in decibels of the outputs of `products` in `graph`, a copy of `teacher` with QDQ pairs.
///
/// # Errors
/// If either graph cannot be computed.
pub fn examine(teacher: &Graph, graph: &Graph, products: &[NodeId], set: &CalibrationSet, config: &Config) -> Result<Vec<f64>> {
    let outputs = |graph: &Graph| products.iter().filter_map(|id| graph.node(*id).output(0)).collect::<Vec<ValueId>>();
    let (expected, found) = (outputs(teacher), outputs(graph));
    let sample = single_sample(teacher)?;
    let elements = |value: &ValueId| sample.value(*value).shape.as_deref().and_then(known_shape).map_or(0, |shape| shape.iter().product());
    let one: usize = expected.iter().map(elements).sum::<usize>().max(1);
    let mut sums = vec![(0.0, 0.0); products.len()];
    let mut first = 0;
    while first < set.len() {
        let last = (first + (HELD / 2 / one).max(1)).min(set.len());
        let part = set.slice(first..last);
        let (expected, found) = (evaluate(teacher, &expected, &part, config)?, evaluate(graph, &found, &part, config)?);
        sums.iter_mut().zip(expected.iter().zip(&found)).for_each(|(sums, (expected, found))| add_up(sums, expected, found));
        first = last;
    }
    Ok(sums.into_iter().map(|(signal, noise)| decibels(signal, noise)).collect())
}

fn add_up(sums: &mut (f64, f64), expected: &ArrayD<f32>, found: &ArrayD<f32>) {
    for (expected, found) in expected.iter().zip(found) {
        sums.0 += f64::from(*expected).powi(2);
        sums.1 += (f64::from(*expected) - f64::from(*found)).powi(2);
    }
}
