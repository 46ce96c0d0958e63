use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, NodeId, check};
use crate::ops::{AutoPad, Conv, Pad, PadMode};
use crate::tensor::TensorData;

/// Before: `y = Conv(Pad(x))` with zeros over the spatial dimensions. After: `y = Conv(x)` with larger pads.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn merge_pad(graph: &mut Graph) -> Result<()> {
    let convolutions: Vec<NodeId> = graph.nodes().filter(|(_, node)| node.is::<Conv>().is_some()).map(|(id, _)| id).collect();
    for id in convolutions {
        let node = graph.node(id).clone();
        let Some((_, pad)) = node.input(0).and_then(|value| graph.producer(value)) else { continue };
        let (Some(conv), Some(x)) = (node.is::<Conv>(), pad.input(0)) else { continue };
        let Some(amounts) = zero_pads(graph, pad) else { continue };
        if conv.auto_pad != AutoPad::NotSet {
            continue;
        }
        let rank = amounts.len();
        let mut pads = if conv.pads.is_empty() { vec![0; 2 * rank] } else { conv.pads.clone() };
        if pads.len() != 2 * rank {
            continue;
        }
        for (axis, (before, after)) in amounts.iter().enumerate() {
            pads[axis] += before;
            pads[rank + axis] += after;
        }
        let mut merged = conv.clone();
        merged.pads = pads;
        graph.set_operator(id, Arc::new(merged));
        graph.set_input(id, 0, Some(x));
    }
    graph.remove_dead_nodes(&[]);
    check(graph)
}

/// Zeros before and after each spatial dimension, if that is all that `node` adds.
fn zero_pads(graph: &Graph, node: &crate::graph::Node) -> Option<Vec<(usize, usize)>> {
    let pad = node.is::<Pad>().filter(|pad| pad.mode == PadMode::Constant)?;
    let value = node.input(2).map_or(Some(0.0), |value| graph.constant(value)?.to_f64()?.first().copied())?;
    let rank = graph.value(node.input(0)?).shape.as_ref()?.len();
    let pads = graph.constant(node.input(1)?)?.to_i64()?;
    let axes = node.input(3).map(|axes| graph.constant(axes).and_then(TensorData::to_i64));
    let axes = match axes {
        Some(None) => return None,
        Some(axes) => axes,
        None => None,
    };
    let _ = pad;
    let amounts = Pad::amounts(&pads, axes, rank).ok()?;
    if value != 0.0 || amounts.len() < 3 || amounts[..2] != [(0, 0); 2] {
        return None;
    }
    amounts[2..].iter().map(|(before, after)| Some((usize::try_from(*before).ok()?, usize::try_from(*after).ok()?))).collect()
}
