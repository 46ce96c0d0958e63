//! A batch that an exporter has written down, opened again.

use std::sync::Arc;

use super::{fact_of, fold_constants, infer_shapes};
use crate::error::Result;
use crate::graph::{Dim, Graph, Node, NodeId, ValueId, known_shape};
use crate::ops::operator::{Fact, Facts, Refusal};
use crate::ops::{AspectRatio, Concat, Expand, Foreign, Gather, Reshape, Resize, Shape};
use crate::tensor::{DataType, TensorData};

/// How many samples the first input takes at once: the first of its sizes; `None` where that is one, or open.
pub fn fixed_batch(graph: &Graph) -> Option<usize> {
    let shape = graph.inputs.iter().find_map(|input| graph.value(*input).shape.as_ref().filter(|shape| shape.len() > 1))?;
    shape[0].known().filter(|size| *size > 1)
}

/// Before: inputs `[10, 3, 32, 32]` and a Reshape to `[10, 2048]`. After: inputs `[batch, 3, 32, 32]` and a Reshape to
/// `[-1, 2048]`; constants that have ten equal parts are expanded to the size of the batch. At 10 it is the same function. Whether
/// samples know nothing of each other is for the caller to find out.
///
/// # Errors
/// What of the graph, which is simplified, is not made sample by sample.
pub fn open_batch(graph: &Graph, size: usize) -> Result<Graph, Refusal> {
    let probe = if size == 2 { 3 } else { 2 };
    let mut opening = Opening { known: graph, graph: graph.clone(), size, probe, batch: None, count: None };
    opening.probe_inputs()?;
    for (id, node) in graph.nodes() {
        opening.open_node(id).map_err(|reason| format!("node `{}` ({}): {reason}", node.name, node.operator.name()))?;
    }
    opening.finish().map_err(|error| error.to_string())
}

/// A copy in which the open batch is `size`.
///
/// # Errors
/// If the graph is not sound at that size.
pub fn with_batch(graph: &Graph, size: usize) -> Result<Graph> {
    let mut sized = graph.clone();
    set_batch(&mut sized, &Dim::Known(size));
    fold_constants(&mut sized)?;
    infer_shapes(&mut sized)?;
    Ok(sized)
}

/// The name of the batch, and of the value that holds its size.
const NAME: &str = "zeroq_batch";

fn set_batch(graph: &mut Graph, to: &Dim) {
    let batch = Dim::Symbol(NAME.to_string());
    for input in graph.inputs.clone() {
        let value = graph.value(input);
        let (data_type, shape) = (value.data_type, value.shape.clone());
        let shape = shape.map(|shape| shape.into_iter().map(|dim| if dim == batch { to.clone() } else { dim }).collect());
        graph.set_facts(input, data_type, shape);
    }
}

/// Work on a copy of a graph for `size` samples, which is given facts of `probe` samples in the order of its nodes.
struct Opening<'a> {
    known: &'a Graph,
    graph: Graph,
    size: usize,
    probe: usize,
    /// The first input with a batch, and which dimension that is.
    batch: Option<(ValueId, usize)>,
    /// Holds the size of the batch, where that is needed.
    count: Option<ValueId>,
}

impl Opening<'_> {
    /// The first size of each input is that of the batch, or the only one that is as large.
    fn probe_inputs(&mut self) -> Result<(), Refusal> {
        for input in self.known.inputs.clone() {
            let Some(axis) = self.batch_of_input(input)? else { continue };
            self.batch = self.batch.or(Some((input, axis)));
            self.set_size(input, axis, Dim::Known(self.probe));
        }
        Ok(())
    }

    fn batch_of_input(&self, input: ValueId) -> Result<Option<usize>, Refusal> {
        let value = self.known.value(input);
        let sizes = value.shape.clone().unwrap_or_default();
        let same: Vec<usize> = (0..sizes.len()).filter(|axis| sizes[*axis] == Dim::Known(self.size)).collect();
        match same[..] {
            [0, ..] => Ok(Some(0)),
            [axis] => Ok(Some(axis)),
            [] => Ok(None),
            _ => Err(format!("input `{}` has more than one dimension of size {}", value.name, self.size)),
        }
    }

    fn set_size(&mut self, value: ValueId, axis: usize, size: Dim) {
        let (data_type, shape) = (self.graph.value(value).data_type, self.graph.value(value).shape.clone());
        let mut shape = shape.unwrap_or_default();
        shape[axis] = size;
        self.graph.set_facts(value, data_type, Some(shape));
    }

    /// Gives the outputs of a node the facts of `probe` samples, after changing what holds the batch in its inputs.
    fn open_node(&mut self, id: NodeId) -> Result<(), Refusal> {
        let node = self.graph.node(id).clone();
        if node.is::<Foreign>().is_some() || node.inputs.iter().flatten().any(|value| fact_of(&self.graph, *value).is_none()) {
            node.outputs.iter().flatten().for_each(|output| self.graph.set_facts(*output, None, None));
            return Ok(());
        }
        if self.carries_batch(&node) {
            if node.is::<Reshape>().is_some() {
                self.open_reshape(id)?;
            } else if let Some(resize) = node.is::<Resize>() {
                self.open_resize(id, resize)?;
            }
            let state = if RECURRENT.contains(&node.operator.name()) { STATE } else { 0..0 };
            for index in state {
                self.expand_constant(id, index)?;
            }
        }
        let outputs = match self.infer(id) {
            Ok(outputs) if self.fits(&node, &outputs) => outputs,
            _ => self.open_constants(id)?,
        };
        for (output, fact) in node.outputs.iter().zip(outputs) {
            if let Some(output) = output {
                self.graph.set_facts(*output, Some(fact.data_type), Some(fact.shape));
            }
        }
        Ok(())
    }

    fn carries_batch(&self, node: &Node) -> bool {
        node.inputs.iter().flatten().any(|value| self.graph.value(*value).shape != self.known.value(*value).shape)
    }

    fn infer(&self, id: NodeId) -> Result<Vec<Fact>, Refusal> {
        let node = self.graph.node(id);
        let facts: Vec<Option<Fact>> = node.inputs.iter().map(|value| value.and_then(|value| fact_of(&self.graph, value))).collect();
        super::infer_shapes::infer(node, &Facts(&facts))
    }

    /// Whether outputs are those of the original but for the batch.
    fn fits(&self, node: &Node, outputs: &[Fact]) -> bool {
        let carries = self.carries_batch(node);
        node.outputs.iter().zip(outputs).filter_map(|(value, fact)| Some(((*value)?, fact))).all(|(value, fact)| {
            let (Some(known), Some(found)) = (known_shape_of(self.known, value), known_shape(&fact.shape)) else { return true };
            known == found || carries && self.batch_axis(&known, &found).is_some()
        })
    }

    /// The only dimension whose size differs, if it does as the batch.
    fn batch_axis(&self, known: &[usize], found: &[usize]) -> Option<usize> {
        let differ: Vec<usize> = (0..known.len()).filter(|axis| known.len() == found.len() && known[*axis] != found[*axis]).collect();
        let [axis] = differ[..] else { return None };
        (known[axis] * self.probe == found[axis] * self.size).then_some(axis)
    }

    /// Sizes of input 0 in the original, and which of them holds the batch.
    fn batch_of_data(&self, node: &Node) -> Option<(Vec<usize>, usize)> {
        let value = node.input(0)?;
        let known = known_shape_of(self.known, value)?;
        let axis = self.batch_axis(&known, &known_shape_of(&self.graph, value)?)?;
        Some((known, axis))
    }

    /// The size in a target of Reshape that holds the batch becomes −1.
    fn open_reshape(&mut self, id: NodeId) -> Result<(), Refusal> {
        let node = self.graph.node(id).clone();
        let Some((from, axis)) = self.batch_of_data(&node) else { return Ok(()) };
        let to = node.output(0).and_then(|value| known_shape_of(self.known, value)).ok_or("its result has open sizes")?;
        let target = node.input(1).and_then(|target| self.graph.constant(target)?.to_i64());
        let target = target.ok_or("its target is not constant")?;
        let place = self.place_in(&to, from[..axis].iter().product()).ok_or("it mixes samples")?;
        if target[place] == 0 || target[place] == -1 {
            return Ok(());
        }
        let mut sizes: Vec<i64> = to.iter().map(|size| *size as i64).collect();
        sizes[place] = -1;
        let name = self.graph.unused_name(&format!("{}_shape", node.name));
        let constant = self.graph.add_constant(name, TensorData::vector(sizes));
        self.graph.set_input(id, 1, Some(constant));
        Ok(())
    }

    /// Which of the sizes `to` holds the batch, if `outer` elements stand before it.
    fn place_in(&self, to: &[usize], outer: usize) -> Option<usize> {
        let mut before = 1;
        for (place, size) in to.iter().enumerate() {
            if outer.is_multiple_of(before) && size.is_multiple_of(outer / before * self.size) {
                return Some(place);
            }
            before *= size;
        }
        None
    }

    /// Sizes become scales, where they mean the same.
    fn open_resize(&mut self, id: NodeId, resize: &Resize) -> Result<(), Refusal> {
        let node = self.graph.node(id).clone();
        let sizes = node.input(3).and_then(|sizes| self.graph.constant(sizes)?.to_i64()).filter(|sizes| !sizes.is_empty());
        let (Some(sizes), Some((from, axis))) = (sizes, self.batch_of_data(&node)) else { return Ok(()) };
        let axes = resize.listed(from.len())?;
        let Some(place) = axes.iter().position(|listed| *listed == axis) else { return Ok(()) };
        let scales: Vec<f32> = sizes.iter().zip(&axes).map(|(size, axis)| *size as f32 / from[*axis] as f32).collect();
        let exact = scales.iter().zip(&sizes).zip(&axes).all(|((scale, size), axis)| (from[*axis] as f32 * scale).floor() as i64 == *size);
        if !exact || scales[place] != 1.0 || resize.aspect_ratio != AspectRatio::Stretch {
            return Err("its sizes hold the batch, and no scales mean the same".to_string());
        }
        let name = self.graph.unused_name(&format!("{}_scales", node.name));
        let scales = self.graph.add_constant(name, TensorData::vector(scales));
        self.graph.set_inputs(id, vec![node.input(0), node.input(1), Some(scales)]);
        Ok(())
    }

    /// Changes the constants of a node until its outputs are those of `probe` samples: as broadcasting has it, else with as many
    /// parts as the batch has.
    fn open_constants(&mut self, id: NodeId) -> Result<Vec<Fact>, Refusal> {
        let node = self.graph.node(id).clone();
        let constants: Vec<usize> = (0..node.inputs.len()).filter(|index| self.repeats(&node, *index).is_some()).collect();
        for change in [Self::shrink_constant, Self::expand_constant] {
            constants.iter().try_for_each(|index| change(self, id, *index))?;
            if let Some(outputs) = self.infer(id).ok().filter(|outputs| self.fits(&node, outputs)) {
                return Ok(outputs);
            }
            self.graph.set_inputs(id, node.inputs.clone());
        }
        Err(self.infer(id).err().unwrap_or_else(|| "it mixes samples".to_string()))
    }

    /// The axis along which a constant input has `size` equal parts.
    fn repeats(&self, node: &Node, index: usize) -> Option<usize> {
        let tensor = self.graph.constant(node.input(index)?)?;
        if node.is::<Expand>().is_some() && index == 1 {
            return tensor.to_i64()?.iter().position(|size| *size == self.size as i64);
        }
        let axis = tensor.shape().iter().position(|size| *size == self.size)?;
        let (numbers, inner) = (tensor.to_f64()?, tensor.shape()[axis + 1..].iter().product::<usize>());
        let first = |at: usize| at - at / inner % self.size * inner;
        (0..numbers.len()).all(|at| numbers[at].to_bits() == numbers[first(at)].to_bits()).then_some(axis)
    }

    /// One part of a constant that has one for each sample; in a target of Expand, 1 in place of the batch.
    fn shrink_constant(&mut self, id: NodeId, index: usize) -> Result<(), Refusal> {
        let node = self.graph.node(id).clone();
        let (Some(axis), Some(value)) = (self.repeats(&node, index), node.input(index)) else { return Ok(()) };
        let Some(tensor) = self.graph.constant(value) else { return Ok(()) };
        let part = if node.is::<Expand>().is_some() && index == 1 {
            let mut sizes = tensor.to_i64().unwrap_or_default();
            sizes[axis] = 1;
            TensorData::vector(sizes)
        } else {
            part_of(tensor, axis).ok_or("a constant cannot be cut")?
        };
        let name = self.graph.unused_name(&format!("{}_of_a_sample", self.graph.value(value).name));
        let constant = self.graph.add_constant(name, part);
        self.graph.set_input(id, index, Some(constant));
        Ok(())
    }

    /// As [`Self::shrink_constant`], expanded to the size of the batch.
    fn expand_constant(&mut self, id: NodeId, index: usize) -> Result<(), Refusal> {
        let node = self.graph.node(id).clone();
        let (Some(axis), Some(value)) = (self.repeats(&node, index), node.input(index)) else {
            let whole = node.input(index).and_then(|value| self.graph.constant(value));
            let holds = whole.is_some_and(|tensor| tensor.shape().contains(&self.size));
            return if holds { Err(format!("constant input {index} has other numbers for each sample")) } else { Ok(()) };
        };
        let fact = fact_of(&self.graph, value).ok_or("a constant has no shape")?;
        self.shrink_constant(id, index)?;
        let Some(part) = self.graph.node(id).input(index) else { return Ok(()) };
        let name = format!("{}_of_all_samples", self.graph.value(value).name);
        let target = self.sizes_with_batch(&name, &fact.shape, axis)?;
        let name = self.graph.unused_name(&name);
        let (_, expanded) = self.graph.add_operation(&name, Arc::new(Expand), vec![part, target], &format!("{name}_value"));
        let mut shape = fact.shape;
        shape[axis] = Dim::Known(self.probe);
        self.graph.set_facts(expanded, Some(fact.data_type), Some(shape));
        self.graph.set_input(id, index, Some(expanded));
        Ok(())
    }

    /// A vector of sizes, that of the batch at `axis`.
    fn sizes_with_batch(&mut self, name: &str, sizes: &[Dim], axis: usize) -> Result<ValueId, Refusal> {
        let count = self.count()?;
        let listed = |sizes: &[Dim]| sizes.iter().map(|dim| dim.known().unwrap_or(1) as i64).collect::<Vec<i64>>();
        let mut parts = Vec::new();
        for (suffix, sizes) in [("before", listed(&sizes[..axis])), ("after", listed(&sizes[axis + 1..]))] {
            if suffix == "after" {
                parts.push(count);
            }
            if !sizes.is_empty() {
                let name = self.graph.unused_name(&format!("{name}_{suffix}"));
                parts.push(self.graph.add_constant(name, TensorData::vector(sizes)));
            }
        }
        let name = self.graph.unused_name(&format!("{name}_shape"));
        let (_, vector) = self.graph.add_operation(&name, Arc::new(Concat { axis: 0 }), parts, &format!("{name}_value"));
        self.graph.set_facts(vector, Some(DataType::I64), Some(vec![Dim::Known(sizes.len())]));
        Ok(vector)
    }

    fn count(&mut self) -> Result<ValueId, Refusal> {
        if let Some(count) = self.count {
            return Ok(count);
        }
        let (input, axis) = self.batch.ok_or("no input has a batch")?;
        let rank = self.graph.value(input).shape.as_ref().map_or(0, Vec::len);
        let (name, index) = (self.graph.unused_name(NAME), self.graph.unused_name(&format!("{NAME}_index")));
        let index = self.graph.add_constant(index, TensorData::vector(vec![axis as i64]));
        let shape = Arc::new(Shape { start: 0, end: None });
        let (_, sizes) = self.graph.add_operation(&format!("{name}_shape"), shape, vec![input], &format!("{name}_sizes"));
        let (_, count) = self.graph.add_operation(&name, Arc::new(Gather { axis: 0 }), vec![sizes, index], &format!("{name}_size"));
        for (value, len) in [(sizes, rank), (count, 1)] {
            self.graph.set_facts(value, Some(DataType::I64), Some(vec![Dim::Known(len)]));
        }
        self.count = Some(count);
        Ok(count)
    }

    /// The graph with an open batch.
    fn finish(self) -> Result<Graph> {
        let mut opening = self;
        for input in opening.known.inputs.clone() {
            if let Ok(Some(axis)) = opening.batch_of_input(input) {
                opening.set_size(input, axis, Dim::Symbol(NAME.to_string()));
            }
        }
        let mut graph = opening.graph;
        graph.sort()?;
        graph.remove_dead_nodes(&[]);
        fold_constants(&mut graph)?;
        infer_shapes(&mut graph)?;
        Ok(graph)
    }
}

/// Operators whose first states have a part for each sample, and which inputs these are: lengths and both states.
const RECURRENT: [&str; 3] = ["RNN", "GRU", "LSTM"];
const STATE: std::ops::Range<usize> = 4..7;

fn known_shape_of(graph: &Graph, value: ValueId) -> Option<Vec<usize>> {
    graph.value(value).shape.as_deref().and_then(known_shape)
}

/// The first part of `tensor` along `axis`.
fn part_of(tensor: &TensorData, axis: usize) -> Option<TensorData> {
    let mut shape = tensor.shape().to_vec();
    let row = shape[axis..].iter().product::<usize>();
    shape[axis] = 1;
    let inner = shape[axis..].iter().product::<usize>();
    let numbers = tensor.to_f64()?;
    let part = numbers.chunks(row.max(1)).flat_map(|row| row[..inner].iter().copied()).collect();
    TensorData::from_f64(&shape, part, tensor.data_type())
}
