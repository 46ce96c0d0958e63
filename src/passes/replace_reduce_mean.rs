use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Dim, Graph, NodeId, check};
use crate::kernels::reduce::Reduction;
use crate::ops::{GlobalAveragePool, Reduce, Reshape};
use crate::tensor::TensorData;

/// Before: `ReduceMean` over all spatial dimensions. After: `GlobalAveragePool` (and a `Reshape` where the dimensions are
/// dropped), which integer runtimes know.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn replace_reduce_mean(graph: &mut Graph) -> Result<()> {
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in nodes {
        let node = graph.node(id).clone();
        let (Some(reduce), Some(x), Some(y)) =
            (node.is::<Reduce>().filter(|reduce| reduce.reduction == Reduction::Mean), node.input(0), node.output(0))
        else {
            continue;
        };
        let Some(shape) = graph.value(x).shape.clone().filter(|shape| shape.len() == 4) else { continue };
        let axes = node.input(1).and_then(|axes| graph.constant(axes)?.to_i64());
        let listed = reduce.axes.axes.clone().or(axes).unwrap_or_default();
        let mut spatial: Vec<i64> = listed.iter().map(|axis| axis.rem_euclid(4)).collect();
        spatial.sort_unstable();
        if spatial != [2, 3] {
            continue;
        }
        let pool: Arc<dyn crate::ops::Operator> = Arc::new(GlobalAveragePool);
        graph.set_operator(id, pool);
        graph.set_inputs(id, vec![Some(x)]);
        if reduce.axes.keepdims {
            continue;
        }
        let pooled_name = graph.unused_name(&format!("{}_pooled", node.name));
        let mut pooled_shape = shape.clone();
        pooled_shape[2..].fill(Dim::Known(1));
        let pooled = graph.add_value(pooled_name, graph.value(x).data_type, Some(pooled_shape));
        graph.set_output(id, 0, pooled);
        let channels = shape[1].known().map_or(-1, |c| c as i64);
        let target_name = graph.unused_name(&format!("{}_shape", node.name));
        let target = graph.add_constant(target_name, TensorData::vector(vec![0i64, channels]));
        let name = graph.unused_name(&format!("{}_flat", node.name));
        graph.add_node(name, Arc::new(Reshape { allow_zero: false }), vec![Some(pooled), Some(target)], vec![Some(y)]);
    }
    graph.sort()?;
    check(graph)
}
