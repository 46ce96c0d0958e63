//! Swing convolution as a graph rewrite.

use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, Node, ValueId, check, known_shape};
use crate::ops::{AveragePool, Conv, MaxPool, Slice, Swing};
use crate::tensor::TensorData;

/// Before: `y = Conv(x, w)` with a stride. After: `y = Conv(Swing(x, offset), w)`, which shifts x by −1, 0 or 1 pixels with
/// reflection, differently at every step, so that gradients reach all pixels alike. Pools and strided slices swing too;
/// those that read the same value share one offset, so that a shortcut stays aligned with its block.
/// Volumes swing along all three axes. Returns the offset constants, one for each swung value; ones shift by nothing.
///
/// Paper: Jeon et al. 2023 (GENIE), arXiv:2212.04780, section 3.2, for strided convolutions; pools and slices are ours.
pub fn insert_swing(graph: &mut Graph) -> Result<Vec<ValueId>> {
    let strided: Vec<_> = graph.nodes().filter(|(_, node)| is_strided(graph, node)).map(|(id, node)| (id, node.input(0))).collect();
    let mut swung: Vec<(ValueId, ValueId, ValueId)> = Vec::new();
    for (id, input) in strided {
        let Some(value) = input else { continue };
        let known = swung.iter().find(|(from, _, _)| *from == value).map(|(_, to, _)| *to);
        let shifted = match known {
            Some(shifted) => shifted,
            None => {
                let (shifted, offset) = add_swing(graph, value);
                swung.push((value, shifted, offset));
                shifted
            }
        };
        graph.set_input(id, 0, Some(shifted));
    }
    graph.sort()?;
    check(graph)?;
    Ok(swung.into_iter().map(|(_, _, offset)| offset).collect())
}

fn add_swing(graph: &mut Graph, value: ValueId) -> (ValueId, ValueId) {
    let name = graph.unused_name(&format!("{}_swing", graph.value(value).name));
    let offset_name = graph.unused_name(&format!("{name}_offset"));
    let source = graph.value(value).clone();
    let axes = source.shape.as_ref().map_or(2, |shape| shape.len().saturating_sub(2));
    let offset = graph.add_constant(offset_name, TensorData::vector(vec![1.0f32; axes]));
    let (_, shifted) = graph.add_operation(&format!("{name}_node"), Arc::new(Swing), vec![value, offset], &name);
    graph.set_facts(shifted, source.data_type, source.shape);
    (shifted, offset)
}

fn is_strided(graph: &Graph, node: &Node) -> bool {
    let value = node.input(0).map(|value| graph.value(value));
    let shape = value.and_then(|value| known_shape(value.shape.as_ref()?));
    // A shift by one needs two pixels to reflect.
    let Some(shape) = shape.filter(|shape| matches!(shape.len(), 4 | 5) && shape[2..].iter().all(|size| *size > 1)) else { return false };
    let beyond_one = |strides: &[usize]| strides.iter().any(|stride| *stride > 1);
    if let Some(conv) = node.is::<Conv>() {
        return beyond_one(&conv.strides);
    }
    if let Some(pool) = node.is::<MaxPool>() {
        return beyond_one(&pool.window.strides);
    }
    if let Some(pool) = node.is::<AveragePool>() {
        return beyond_one(&pool.window.strides) && shape[2..] != pool.window.kernel;
    }
    let steps = node.input(4).and_then(|steps| graph.constant(steps)?.to_i64());
    node.is::<Slice>().is_some() && steps.is_some_and(|steps| steps.iter().any(|step| *step > 1))
}
