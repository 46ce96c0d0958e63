//! Models that a flag is needed for, or that a flag keeps out.

use super::quantize::QuantizeRequest;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::onnx::Model;
use crate::ops::BatchNormalization;

/// # Errors
/// If nodes are quantized already, and nobody said that this is known.
pub fn refuse_quantized(model: &Model, request: &QuantizeRequest) -> Result<()> {
    let nodes = model.quantized_nodes();
    if nodes.is_empty() || request.requantize {
        return Ok(());
    }
    let shown = nodes.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    Err(Error::Usage(format!(
        "the model is already quantized: {} nodes such as {shown}; start from the float model, or pass --requantize to quantize the rest",
        nodes.len()
    )))
}

/// # Errors
/// If there is no BatchNormalization.
pub fn require_batch_normalization(graph: &Graph) -> Result<()> {
    if graph.nodes().any(|(_, node)| node.is::<BatchNormalization>().is_some()) {
        return Ok(());
    }
    Err(Error::Usage("--require-bn: the model has no BatchNormalization; `zeroq inspect` tells how to export with it kept".to_string()))
}
