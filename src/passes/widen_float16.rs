use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::fold_constants;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::operator::QuantizationRole;
use crate::ops::{Cast, ConstantOfShape, DequantizeLinear, Foreign, QuantizeLinear};
use crate::tensor::{DataType, TensorData};

/// Makes a graph that computes in float16 compute in float32. Graph inputs and outputs keep their type behind Casts, and
/// nodes that zeroq does not know read what they read before. Returns whether there was anything to do: a graph that only
/// stores constants as float16, behind Casts, stays.
///
/// # Errors
/// If layers have weights of yet another type, or a node that zeroq does not know makes values whose type nobody tells and
/// other nodes read.
pub fn widen_float16(graph: &mut Graph) -> Result<bool> {
    refuse_other_floats(graph)?;
    if !computes_in_float16(graph) {
        return Ok(false);
    }
    let halves = float16_values(graph);
    refuse_untold(graph)?;
    let mut widener = Widener { halves, wide: HashMap::new(), narrow: HashMap::new() };
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    widener.widen_inputs(graph);
    for id in nodes {
        if graph.node(id).is::<Foreign>().is_some() {
            widener.narrow_foreign(graph, id);
        } else {
            widener.widen_node(graph, id);
        }
    }
    graph.sort()?;
    graph.remove_dead_nodes(&[]);
    check(graph)?;
    Ok(true)
}

fn refuse_other_floats(graph: &Graph) -> Result<()> {
    let other = |node: &Node| {
        let weights = node.inputs.iter().flatten().filter_map(|value| graph.constant(*value)).map(TensorData::data_type);
        weights.into_iter().find(|data_type| matches!(data_type, DataType::F64 | DataType::BF16))
    };
    let layers = graph.nodes().map(|(_, node)| node).filter(|node| node.operator.quantization_role() == QuantizationRole::Weighted);
    let refused = layers.filter_map(|node| {
        let (name, data_type) = (node.operator.name(), other(node)?);
        Some(format!("node `{}` ({name}): weights of type {data_type}; export the model in float32", node.name))
    });
    let refused: Vec<String> = refused.collect();
    if refused.is_empty() { Ok(()) } else { Err(Error::Unsupported(refused)) }
}

fn is_half(tensor: &TensorData) -> bool {
    tensor.data_type() == DataType::F16
}

fn computes_in_float16(graph: &Graph) -> bool {
    let converts = |node: &Node| {
        node.is::<Cast>().is_some()
            || node.is::<DequantizeLinear>().is_some()
            || node.is::<QuantizeLinear>().is_some()
            || node.is::<Foreign>().is_some()
    };
    let mut computing = graph.nodes().map(|(_, node)| node).filter(|node| !converts(node));
    computing.any(|node| node.inputs.iter().flatten().any(|value| graph.constant(*value).is_some_and(is_half)))
}

/// Computed values of type float16, as far as that can be told.
fn float16_values(graph: &Graph) -> HashSet<ValueId> {
    let mut told = graph.clone();
    // A node that refuses its inputs is judged where it is computed.
    let _ = fold_constants(&mut told);
    let half = |value: &ValueId| [graph, &told].iter().any(|graph| graph.value(*value).data_type == Some(DataType::F16));
    graph.value_ids().filter(|value| graph.constant(*value).is_none() && half(value)).collect()
}

fn refuse_untold(graph: &Graph) -> Result<()> {
    let consumers = graph.consumers();
    let read = |value: &ValueId| consumers[value.0 as usize].iter().any(|(id, _)| graph.node(*id).is::<Foreign>().is_none());
    let untold = |node: &Node| node.outputs.iter().flatten().any(|value| graph.value(*value).data_type.is_none() && read(value));
    let foreign = graph.nodes().map(|(_, node)| node).filter(|node| node.is::<Foreign>().is_some() && untold(node));
    let refused: Vec<String> = foreign
        .map(|node| format!("node `{}` ({}) in a float16 model; convert the model to float32 first", node.name, node.operator.name()))
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(Error::Unsupported(refused)) }
}

struct Widener {
    /// Values of type float16.
    halves: HashSet<ValueId>,
    /// float32 versions of values that stay float16, and the other way round.
    wide: HashMap<ValueId, ValueId>,
    narrow: HashMap<ValueId, ValueId>,
}

impl Widener {
    fn widen_inputs(&mut self, graph: &mut Graph) {
        for input in graph.inputs.clone() {
            if self.halves.contains(&input) {
                let wide = cast(graph, input, DataType::F32);
                self.wide.insert(input, wide);
            }
        }
    }

    /// Inputs, outputs and constants of `id` as float32.
    fn widen_node(&mut self, graph: &mut Graph, id: NodeId) {
        for (index, value) in graph.node(id).inputs.clone().into_iter().enumerate() {
            let Some(value) = value else { continue };
            let known = self.wide.get(&value).copied();
            let constant = graph.constant(value).filter(|tensor| is_half(tensor)).and_then(|tensor| tensor.cast(DataType::F32));
            let wide = match (known, constant) {
                (Some(wide), _) => wide,
                (None, Some(tensor)) => {
                    let name = graph.unused_name(&format!("{}_f32", graph.value(value).name));
                    graph.add_constant(name, tensor)
                }
                (None, None) => continue,
            };
            self.wide.insert(value, wide);
            graph.set_input(id, index, Some(wide));
        }
        let node = graph.node(id).clone();
        if node.is::<Cast>().is_some_and(|cast| cast.to == DataType::F16) {
            graph.set_operator(id, Arc::new(Cast { to: DataType::F32 }));
        }
        if let Some(value) = node.is::<ConstantOfShape>().filter(|c| is_half(&c.value)).and_then(|c| c.value.cast(DataType::F32)) {
            graph.set_operator(id, Arc::new(ConstantOfShape { value }));
        }
        for (index, value) in node.outputs.iter().enumerate() {
            let Some(value) = value.filter(|value| self.halves.contains(value)) else { continue };
            let shape = graph.value(value).shape.clone();
            if !graph.is_output(value) {
                graph.set_facts(value, None, shape);
                continue;
            }
            let name = graph.unused_name(&format!("{}_f32", graph.value(value).name));
            let wide = graph.add_value(name, None, shape);
            graph.set_output(id, index, wide);
            let name = graph.unused_name(&format!("{}_cast_f16", graph.value(value).name));
            graph.add_node(name, Arc::new(Cast { to: DataType::F16 }), vec![Some(wide)], vec![Some(value)]);
            self.wide.insert(value, wide);
        }
    }

    /// Computed inputs of `id` as float16 again, its outputs widened for whoever else reads them.
    fn narrow_foreign(&mut self, graph: &mut Graph, id: NodeId) {
        for (index, value) in graph.node(id).inputs.clone().into_iter().enumerate() {
            let Some(value) = value.filter(|value| self.halves.contains(value) && !self.wide.contains_key(value)) else { continue };
            let narrow = *self.narrow.entry(value).or_insert_with(|| cast(graph, value, DataType::F16));
            graph.set_input(id, index, Some(narrow));
        }
        for value in graph.node(id).outputs.clone().into_iter().flatten() {
            if self.halves.contains(&value) {
                let wide = cast(graph, value, DataType::F32);
                self.wide.insert(value, wide);
            }
        }
    }
}

fn cast(graph: &mut Graph, value: ValueId, to: DataType) -> ValueId {
    let (name, shape) = (graph.value(value).name.clone(), graph.value(value).shape.clone());
    let node = graph.unused_name(&format!("{name}_cast_{to}"));
    let output = graph.unused_name(&format!("{name}_{to}"));
    let (_, output) = graph.add_operation(&node, Arc::new(Cast { to }), vec![value], &output);
    graph.set_facts(output, Some(to), shape);
    output
}
