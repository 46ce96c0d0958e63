//! How large the numbers of a network get.

use std::collections::HashMap;

use super::set::CalibrationSet;
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, ValueId, known_shape};
use crate::passes::single_sample;
use crate::progress::Progress;
use crate::tensor::DataType;

/// Largest magnitude of every float value that can be computed.
///
/// # Errors
/// If the shapes of `graph` contradict each other.
pub fn magnitudes(
    graph: &Graph,
    set: &CalibrationSet,
    config: &execution::Config,
    progress: &dyn Progress,
) -> Result<HashMap<ValueId, f32>> {
    let sample = single_sample(graph)?;
    let made = sample.nodes().flat_map(|(_, node)| node.outputs.iter().flatten().copied().collect::<Vec<_>>());
    let float = |value: &ValueId| {
        graph.value(*value).data_type == Some(DataType::F32)
            && known_shape(sample.value(*value).shape.as_deref().unwrap_or_default()).is_some()
    };
    let values: Vec<ValueId> = made.filter(float).collect();
    let mut largest = vec![0.0f32; values.len()];
    let found = observe(graph, &values, set, config, &mut |_, elements| {
        for (largest, elements) in largest.iter_mut().zip(elements) {
            *largest = elements.iter().fold(*largest, |most, x| most.max(x.abs()));
        }
    });
    if let Err(error) = found {
        progress.warn(&format!("magnitudes could not be measured, so no node is kept from overflow: {error}"));
        return Ok(HashMap::new());
    }
    Ok(values.into_iter().zip(largest).collect())
}
