use std::sync::Arc;

use super::fold_constants;
use crate::error::Result;
use crate::graph::{Dim, Graph, Node, NodeId, check};
use crate::ops::{Flatten, LogSoftmax, Operator, Reshape, Shape, Softmax, SoftmaxAxis};

/// Before: `y = Softmax(x)` of an operator set below 13, which normalizes all dimensions from `axis` on as one.
/// After: `y = Reshape(Softmax(Flatten(x)), Shape(x))`. Where only one of these dimensions is larger than 1, the first, the
/// node stays.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn flatten_softmax(graph: &mut Graph) -> Result<()> {
    let old: Vec<NodeId> = graph.nodes().filter(|(_, node)| old_axis(node).is_some()).map(|(id, _)| id).collect();
    if old.is_empty() {
        return Ok(());
    }
    let mut shaped = graph.clone();
    // A node that refuses its inputs is judged where it is computed.
    let _ = fold_constants(&mut shaped);
    for id in old {
        let node = graph.node(id).clone();
        let (Some(axis), Some(x), Some(y)) = (old_axis(&node), node.input(0), node.output(0)) else { continue };
        if shaped.value(x).shape.as_ref().is_some_and(|shape| covers_one(shape, axis)) {
            continue;
        }
        let last = SoftmaxAxis { index: -1, flatten: false };
        let operator: Arc<dyn Operator> =
            if node.is::<Softmax>().is_some() { Arc::new(Softmax { axis: last }) } else { Arc::new(LogSoftmax { axis: last }) };
        let name = |graph: &Graph, part: &str| graph.unused_name(&format!("{}_{part}", node.name));
        let (shape_name, flat_name, rows_name) = (name(graph, "shape"), name(graph, "flat"), name(graph, "rows"));
        let (_, shape) =
            graph.add_operation(&shape_name, Arc::new(Shape { start: 0, end: None }), vec![x], &format!("{shape_name}_values"));
        let (_, flat) = graph.add_operation(&flat_name, Arc::new(Flatten { axis: axis.index }), vec![x], &format!("{flat_name}_values"));
        let rows = graph.add_value(format!("{rows_name}_values"), None, None);
        graph.set_operator(id, operator);
        graph.set_inputs(id, vec![Some(flat)]);
        graph.set_output(id, 0, rows);
        graph.add_node(rows_name, Arc::new(Reshape { allow_zero: false }), vec![Some(rows), Some(shape)], vec![Some(y)]);
    }
    graph.sort()?;
    check(graph)
}

/// The axis of a Softmax or LogSoftmax that stands for all dimensions from it on.
fn old_axis(node: &Node) -> Option<SoftmaxAxis> {
    let axis = node.is::<Softmax>().map(|softmax| softmax.axis).or_else(|| node.is::<LogSoftmax>().map(|softmax| softmax.axis));
    axis.filter(|axis| axis.flatten)
}

/// Whether no dimension behind `axis` is larger than 1.
fn covers_one(shape: &[Dim], axis: SoftmaxAxis) -> bool {
    let index = if axis.index < 0 { axis.index + shape.len() as i64 } else { axis.index };
    usize::try_from(index).is_ok_and(|index| shape.iter().skip(index + 1).all(|dim| *dim == Dim::Known(1)))
}
