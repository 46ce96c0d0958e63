use std::collections::HashMap;

use crate::graph::{Dim, Graph, Node, NodeId, ValueId, known_shape};
use crate::ops::{Cast, Concat, Gather, Identity, Reshape, Shape, Slice, Squeeze, Unsqueeze};
use crate::tensor::{DataType, TensorData};

/// Small integer tensors whose entries are sizes, known or not: what becomes of a Shape whose batch is open.
#[derive(Default)]
pub struct Sizes(HashMap<ValueId, Vec<Dim>>);

impl Sizes {
    /// Notes what is known of the first output of `node`, and returns it where every entry is known.
    pub fn follow(&mut self, graph: &Graph, node: &Node) -> Option<TensorData> {
        let (output, found) = (node.output(0)?, propagate(graph, node, &self.0)?);
        let value = graph.value(output);
        let (shape, numbers) = (known_shape(value.shape.as_ref()?), known_shape(&found));
        self.0.insert(output, found);
        let data_type = value.data_type.filter(|known| matches!(known, DataType::I64 | DataType::I32))?;
        let numbers: Vec<f64> = numbers?.into_iter().map(|n| n as f64).collect();
        let fits = shape.as_ref().is_some_and(|shape| shape.iter().product::<usize>() == numbers.len());
        fits.then(|| TensorData::from_f64(&shape?, numbers, data_type))?
    }

    /// Before: `Reshape(x, Concat(Gather(Shape(x), 0), -1))` with a batch that the file leaves open.
    /// After: `Reshape(x, [0, -1])`, where the numbers allow it; the chain that made them dies.
    pub fn settle_reshape(&self, graph: &mut Graph, id: NodeId) {
        let node = graph.node(id);
        if node.is::<Reshape>().is_some_and(|reshape| !reshape.allow_zero)
            && let (Some(x), Some(shape)) = (node.input(0), node.input(1))
            && graph.constant(shape).is_none()
            && let (Some(target), Some(from)) = (self.0.get(&shape), &graph.value(x).shape)
            && let Some(numbers) = numbers(target, from)
        {
            let name = graph.unused_name(&format!("{}_shape", node.name));
            let constant = graph.add_constant(name, TensorData::vector(numbers));
            graph.set_input(id, 1, Some(constant));
        }
    }
}

fn entries(graph: &Graph, value: ValueId, sizes: &HashMap<ValueId, Vec<Dim>>) -> Option<Vec<Dim>> {
    match graph.constant(value) {
        Some(tensor) => {
            Some(tensor.to_i64()?.into_iter().map(|n| usize::try_from(n).map_or(Dim::Symbol("-1".to_string()), Dim::Known)).collect())
        }
        None => sizes.get(&value).cloned(),
    }
}

fn propagate(graph: &Graph, node: &Node, sizes: &HashMap<ValueId, Vec<Dim>>) -> Option<Vec<Dim>> {
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
