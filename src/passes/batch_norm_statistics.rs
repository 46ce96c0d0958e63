use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::BatchNormalization;

/// A BatchNormalization and what it has stored of its input.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormSite {
    pub node: NodeId,
    pub name: String,
    /// The value that it normalizes.
    pub input: ValueId,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub epsilon: f32,
}

/// Stored statistics of every BatchNormalization, in execution order.
///
/// # Errors
/// If statistics are not constant, negative or not finite.
pub fn batch_norm_statistics(graph: &Graph) -> Result<Vec<BatchNormSite>> {
    let mut sites = Vec::new();
    for (id, node) in graph.nodes() {
        let (Some(norm), Some(input)) = (node.is::<BatchNormalization>(), node.input(0)) else { continue };
        let list = |index: usize| {
            let values = node.input(index).and_then(|value| graph.constant(value)?.to_f32());
            values.ok_or_else(|| Error::node(&node.name, node.operator.name(), format!("input {index} must be constant")))
        };
        let (mean, variance) = (list(3)?, list(4)?);
        if mean.iter().chain(&variance).any(|x| !x.is_finite()) || variance.iter().any(|v| *v < 0.0) {
            return Err(Error::node(&node.name, node.operator.name(), "its stored statistics are negative or not finite"));
        }
        sites.push(BatchNormSite { node: id, name: node.name.clone(), input, mean, variance, epsilon: norm.epsilon });
    }
    Ok(sites)
}
