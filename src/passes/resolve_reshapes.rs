use std::collections::HashMap;

use crate::error::Result;
use crate::graph::{Dim, Graph, Node, NodeId, ValueId, check};
use crate::ops::{Cast, Concat, Gather, Identity, Reshape, Shape, Slice, Squeeze, Unsqueeze};
use crate::tensor::TensorData;

/// Small integer tensors whose entries are sizes, known or not.
type Sizes = HashMap<ValueId, Vec<Dim>>;

/// Before: `Reshape(x, Concat(Gather(Shape(x), 0), -1))` with a batch that the file leaves open.
/// After: `Reshape(x, [0, -1])`, where the numbers allow it; the chain that made them dies.
pub fn resolve_reshapes(graph: &mut Graph) -> Result<()> {
    let mut sizes = Sizes::new();
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in nodes {
        let node = graph.node(id).clone();
        if let (Some(output), Some(found)) = (node.output(0), propagate(graph, &node, &sizes)) {
            sizes.insert(output, found);
        }
        if node.is::<Reshape>().is_some_and(|reshape| !reshape.allow_zero)
            && let (Some(x), Some(shape)) = (node.input(0), node.input(1))
            && graph.constant(shape).is_none()
            && let (Some(target), Some(from)) = (sizes.get(&shape), graph.value(x).shape.clone())
            && let Some(numbers) = numbers(target, &from)
        {
            let name = graph.unused_name(&format!("{}_shape", node.name));
            let constant = graph.add_constant(name, TensorData::vector(numbers));
            graph.set_input(id, 1, Some(constant));
        }
    }
    graph.remove_dead_nodes(&[]);
    check(graph)
}

fn entries(graph: &Graph, value: ValueId, sizes: &Sizes) -> Option<Vec<Dim>> {
    match graph.constant(value) {
        Some(tensor) => {
            Some(tensor.to_i64()?.into_iter().map(|n| usize::try_from(n).map_or(Dim::Symbol("-1".to_string()), Dim::Known)).collect())
        }
        None => sizes.get(&value).cloned(),
    }
}

fn propagate(graph: &Graph, node: &Node, sizes: &Sizes) -> Option<Vec<Dim>> {
    let first = node.input(0)?;
    let integers = |index: usize| graph.constant(node.input(index)?)?.to_i64();
    if let Some(shape) = node.is::<Shape>() {
        let dims = graph.value(first).shape.clone()?;
        return Some(dims[shape.listed(dims.len())].to_vec());
    }
    if node.is::<Concat>().is_some() {
        let parts: Option<Vec<Vec<Dim>>> = node.inputs.iter().map(|input| entries(graph, (*input)?, sizes)).collect();
        return Some(parts?.concat());
    }
    let list = sizes.get(&first)?;
    if node.is::<Gather>().is_some() {
        let wrap = |index: i64| list.get(if index < 0 { (index + list.len() as i64) as usize } else { index as usize }).cloned();
        return integers(1)?.into_iter().map(wrap).collect();
    }
    if node.is::<Slice>().is_some() && integers(4).is_none_or(|steps| steps == [1]) {
        let wrap = |at: i64| (if at < 0 { at.saturating_add(list.len() as i64) } else { at }).clamp(0, list.len() as i64) as usize;
        let (start, end) = (wrap(*integers(1)?.first()?), wrap(*integers(2)?.first()?));
        return Some(list.get(start..end)?.to_vec());
    }
    let keeps = node.is::<Unsqueeze>().is_some()
        || node.is::<Squeeze>().is_some()
        || node.is::<Cast>().is_some()
        || node.is::<Identity>().is_some();
    keeps.then(|| list.clone())
}

/// The target as constants: known sizes, 0 where a size is that of the same dimension of the input, at most one −1.
fn numbers(target: &[Dim], from: &[Dim]) -> Option<Vec<i64>> {
    let mut numbers = Vec::new();
    for (index, dim) in target.iter().enumerate() {
        numbers.push(match dim {
            Dim::Known(0) => return None,
            Dim::Known(n) => *n as i64,
            Dim::Symbol(rest) if rest == "-1" => -1,
            Dim::Symbol(_) if from.get(index) == Some(dim) => 0,
            Dim::Unknown if index == 0 && from.first() == Some(&Dim::Unknown) => 0,
            _ => -1,
        });
    }
    (numbers.iter().filter(|n| **n == -1).count() <= 1).then_some(numbers)
}
