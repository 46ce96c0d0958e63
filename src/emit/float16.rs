//! Half precision.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::shields::shield;
use crate::error::Result;
use crate::graph::{Graph, NodeId, ValueId, check};
use crate::ops::{Cast, ConstantOfShape, DequantizeLinear, Foreign, QuantizeLinear, Resize};
use crate::tensor::{DataType, TensorData};

/// What converting did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Float16Report {
    /// Nodes that stay float32, and why.
    pub kept: Vec<(String, String)>,
    /// Numbers beyond ±65504 that were clamped.
    pub clamped: usize,
}

const LARGEST: f32 = 65504.0;
/// Measured magnitudes above this leave no margin.
const SAFE: f32 = 32000.0;

/// Operators that stay float32, and why.
const IN_SINGLE: [(&str, &str); 7] = [
    ("AffineGrid", "coordinates need more digits"),
    ("CumSum", "long sums need more digits"),
    ("DeformConv", "coordinates need more digits"),
    ("GridSample", "coordinates need more digits"),
    ("IsInf", "float16 is not among its types"),
    ("Range", "float16 is not among its types"),
    ("RoiAlign", "coordinates need more digits"),
];

/// Makes constants and values float16. Graph inputs and outputs stay float32 behind Casts if `keep_io`. A node with a
/// value whose measured magnitude (`largest`) nears the limit stays float32.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn to_float16(graph: &mut Graph, keep_io: bool, largest: &HashMap<ValueId, f32>) -> Result<Float16Report> {
    shield(graph);
    graph.sort()?;
    let mut report = Float16Report::default();
    let kept = kept_nodes(graph, largest, &mut report);
    let wide: HashSet<ValueId> = graph.value_ids().filter(|value| graph.value(*value).data_type == Some(DataType::F32)).collect();
    let mut converter = Converter { halves: HashMap::new(), singles: HashMap::new(), constants: HashMap::new(), wide };
    if !keep_io {
        for value in graph.inputs.clone().into_iter().chain(graph.outputs.clone()) {
            if converter.wide.contains(&value) {
                let shape = graph.value(value).shape.clone();
                graph.set_facts(value, Some(DataType::F16), shape);
            }
        }
    }
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in nodes {
        if kept.contains(&id) {
            converter.keep(graph, id);
        } else {
            converter.narrow(graph, id, keep_io, &mut report);
        }
    }
    graph.sort()?;
    graph.remove_dead_nodes(&[]);
    check(graph)?;
    Ok(report)
}

fn kept_nodes(graph: &Graph, largest: &HashMap<ValueId, f32>, report: &mut Float16Report) -> HashSet<NodeId> {
    let mut kept = HashSet::new();
    for (id, node) in graph.nodes() {
        let near = node.inputs.iter().chain(&node.outputs).flatten().find(|value| largest.get(value).is_some_and(|most| *most > SAFE));
        let reason = if node.is::<Foreign>().is_some() {
            "an unknown operator".to_string()
        } else if let Some((_, reason)) = IN_SINGLE.iter().find(|(name, _)| *name == node.operator.name()) {
            reason.to_string()
        } else if node.is::<QuantizeLinear>().is_some() || node.is::<DequantizeLinear>().is_some() {
            "quantized already".to_string()
        } else if let Some(value) = near {
            format!("`{}` reaches {:.0}", graph.value(*value).name, largest[value])
        } else if node.inputs.iter().flatten().any(|value| graph.value(*value).data_type.is_none()) {
            "it reads what an unknown operator makes".to_string()
        } else {
            continue;
        };
        report.kept.push((node.name.clone(), reason));
        kept.insert(id);
    }
    kept
}

struct Converter {
    /// float16 version of a float32 value, and the other way round.
    halves: HashMap<ValueId, ValueId>,
    singles: HashMap<ValueId, ValueId>,
    constants: HashMap<ValueId, ValueId>,
    /// Values that were float32.
    wide: HashSet<ValueId>,
}

impl Converter {
    fn is_half(graph: &Graph, value: ValueId) -> bool {
        graph.value(value).data_type == Some(DataType::F16)
    }

    fn cast(graph: &mut Graph, value: ValueId, to: DataType) -> ValueId {
        let name = graph.value(value).name.clone();
        let node = graph.unused_name(&format!("{name}_cast_{to}"));
        let output = graph.unused_name(&format!("{name}_{to}"));
        let (_, output) = graph.add_operation(&node, Arc::new(Cast { to }), vec![value], &output);
        let shape = graph.value(value).shape.clone();
        graph.set_facts(output, Some(to), shape);
        output
    }

    /// Inputs as float32.
    fn keep(&mut self, graph: &mut Graph, id: NodeId) {
        let inputs = graph.node(id).inputs.clone();
        for (index, value) in inputs.iter().enumerate() {
            let Some(value) = value.filter(|value| self.wide.contains(value) && Self::is_half(graph, *value)) else { continue };
            let single = *self.singles.entry(value).or_insert_with(|| Self::cast(graph, value, DataType::F32));
            graph.set_input(id, index, Some(single));
        }
    }

    /// Inputs and outputs as float16.
    fn narrow(&mut self, graph: &mut Graph, id: NodeId, keep_io: bool, report: &mut Float16Report) {
        let node = graph.node(id).clone();
        let resize = node.is::<Resize>().is_some();
        for (index, value) in node.inputs.iter().enumerate() {
            let Some(value) = value.filter(|value| self.wide.contains(value)) else { continue };
            if (resize && index > 0)
                || node.is::<Cast>().is_some() && graph.constant(value).is_none() && !Self::is_half(graph, value) && !graph.is_input(value)
            {
                continue;
            }
            let half = match graph.constant(value).cloned() {
                Some(tensor) => *self.constants.entry(value).or_insert_with(|| half_constant(graph, value, &tensor, report)),
                None if Self::is_half(graph, value) => value,
                None => *self.halves.entry(value).or_insert_with(|| Self::cast(graph, value, DataType::F16)),
            };
            graph.set_input(id, index, Some(half));
            graph.forget_unread(value);
        }
        if node.is::<Cast>().is_some_and(|cast| cast.to == DataType::F32) {
            graph.set_operator(id, Arc::new(Cast { to: DataType::F16 }));
        }
        if let Some(constant) = node.is::<ConstantOfShape>()
            && let Some(value) = constant.value.cast(DataType::F16).filter(|_| constant.value.data_type() == DataType::F32)
        {
            graph.set_operator(id, Arc::new(ConstantOfShape { value }));
        }
        for (index, value) in node.outputs.iter().enumerate() {
            let Some(value) = value.filter(|value| self.wide.contains(value)) else { continue };
            let shape = graph.value(value).shape.clone();
            if keep_io && graph.is_output(value) {
                self.split_output(graph, id, index, value);
            } else {
                graph.set_facts(value, Some(DataType::F16), shape);
            }
        }
    }

    /// The node writes a float16 value; a Cast makes the float32 graph output of it. Other readers take the float16 one.
    fn split_output(&mut self, graph: &mut Graph, id: NodeId, index: usize, output: ValueId) {
        let before = graph.value(output).clone();
        let name = graph.unused_name(&format!("{}_f16", before.name));
        let half = graph.add_value(name, Some(DataType::F16), before.shape);
        graph.set_output(id, index, half);
        let name = graph.unused_name(&format!("{}_cast_f32", before.name));
        graph.add_node(name, Arc::new(Cast { to: DataType::F32 }), vec![Some(half)], vec![Some(output)]);
        self.halves.insert(output, half);
    }
}

fn half_constant(graph: &mut Graph, value: ValueId, tensor: &TensorData, report: &mut Float16Report) -> ValueId {
    report.clamped += tensor.as_f32().unwrap_or_default().iter().filter(|x| x.abs() > LARGEST).count();
    let halves = tensor.map_f32(|_, x| half::f16::from_f32(x.clamp(-LARGEST, LARGEST)));
    let name = graph.unused_name(&format!("{}_f16", graph.value(value).name));
    graph.add_constant(name, halves.unwrap_or_else(|| tensor.clone()))
}
