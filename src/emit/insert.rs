//! QDQ pairs in the graph, weights still float.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::shared_zero_point;
use crate::calibration::Ranges;
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, ValueId, check};
use crate::ops::{Conv, ConvTranspose, DequantizeLinear, Gemm, QuantizeLinear, Sharing};
use crate::passes::outputs_of;
use crate::quantization::{Conversion, QuantParams, QuantPlan, Standing, WeightPoint, scheme};
use crate::tensor::{DataType, TensorData};

/// A float weight in front of its pair.
#[derive(Clone, Debug)]
pub struct TunedWeight {
    /// The product that reads it, the first one if there are several.
    pub node: NodeId,
    pub value: ValueId,
    pub scale: ValueId,
    pub axis: Option<usize>,
    /// Whether the scale holds weights on channels that samples may not show at work, and so is none of theirs to tune.
    pub has_headroom: bool,
}

/// A quantized activation: the float value, what it was before (another value where it is a graph output), and its group's scale.
#[derive(Clone, Debug)]
pub struct TunedActivation {
    pub value: ValueId,
    pub original: ValueId,
    pub scale: ValueId,
    /// Beyond this the pair would hold values that the Clip before it cuts off, and runtimes would keep that Clip, in float.
    pub largest_scale: f32,
    /// Whether the scale leaves room for what samples do not show, and so is none of theirs to tune.
    pub has_headroom: bool,
}

/// A float bias that [`super::seal`] turns into int32 where the target wants it.
#[derive(Clone, Debug)]
pub struct TunedBias {
    pub node: NodeId,
    pub value: ValueId,
}

/// What can be tuned in a graph with QDQ pairs.
#[derive(Clone, Debug, Default)]
pub struct Student {
    pub weights: Vec<TunedWeight>,
    pub activations: Vec<TunedActivation>,
    pub biases: Vec<TunedBias>,
}

/// Puts a QuantizeLinear–DequantizeLinear pair on every planned activation and weight.
///
/// # Errors
/// If plan and ranges do not fit the graph.
pub fn insert(graph: &mut Graph, plan: &QuantPlan, ranges: &Ranges) -> Result<Student> {
    let mut student = Student::default();
    let mut constants: HashMap<usize, (ValueId, ValueId)> = HashMap::new();
    for point in &plan.activations {
        let params = ranges.0.get(point.group).ok_or_else(|| Error::Internal("a group has no range".to_string()))?;
        let name = graph.value(point.value).name.clone();
        let (scale, zero_point) = *constants.entry(point.group).or_insert_with(|| {
            let zero = TensorData::from_f64(&[], vec![f64::from(params.zero_point[0])], params.data_type);
            let scale = add_constant(graph, &format!("{name}_scale"), TensorData::scalar(params.scale[0]));
            (scale, shared_zero_point(graph, zero.unwrap_or_else(|| TensorData::scalar(0u8))))
        });
        // An input that is an output as well stays as it is; only its readers get it through the pair.
        let is_output = graph.is_output(point.value) && graph.producer(point.value).is_some();
        let readers = point.readers.clone().unwrap_or_else(|| graph.readers(point.value).to_vec());
        let value = if is_output { free_output(graph, point.value) } else { point.value };
        let dequantized = add_pair(graph, &name, value, scale, zero_point, None, is_output.then_some(point.value));
        for (node, index) in readers {
            graph.set_input(node, index, Some(dequantized));
        }
        let bounds = plan.groups.get(point.group).map_or((f32::NEG_INFINITY, f32::INFINITY), |group| group.bounds);
        let largest_scale = scheme::largest_scale(bounds, params);
        let has_headroom = plan.groups.get(point.group).is_some_and(|group| group.standing == Standing::Leaving);
        student.activations.push(TunedActivation { value, original: point.value, scale, largest_scale, has_headroom });
    }
    for conversion in &plan.conversions {
        let params = ranges.0.get(conversion.group).ok_or_else(|| Error::Internal("a group has no range".to_string()))?;
        let original = plan.groups[conversion.group].value;
        convert(graph, conversion, original, params, &mut student);
    }
    for point in &plan.weights {
        if !point.kept {
            add_weight(graph, point, plan.target.largest_weight, &mut student)?;
        }
        if let Some(bias) = graph.node(point.node).input(2).filter(|bias| is_tunable_bias(graph, point, *bias)) {
            let bias = own_constant(graph, point.node, 2, bias);
            student.biases.push(TunedBias { node: point.node, value: bias });
        }
    }
    graph.sort()?;
    check(graph)?;
    Ok(student)
}

/// Puts a pair of other integers over the same range behind the pair of a value, for some readers of it.
fn convert(graph: &mut Graph, conversion: &Conversion, original: ValueId, params: &QuantParams, student: &mut Student) {
    let Conversion { data_type, readers, .. } = conversion;
    let (low, high) = params.span(params.scale[0]);
    let params = scheme::activation(low as f32, high as f32, *data_type, false);
    let mut made: HashMap<ValueId, ValueId> = HashMap::new();
    for (node, index) in readers {
        let Some(value) = graph.node(*node).input(*index) else { continue };
        let converted = *made.entry(value).or_insert_with(|| {
            let name = format!("{}_{data_type}", graph.value(value).name);
            let zero = TensorData::from_f64(&[], vec![f64::from(params.zero_point[0])], *data_type);
            let scale = add_constant(graph, &format!("{name}_scale"), TensorData::scalar(params.scale[0]));
            let zero_point = shared_zero_point(graph, zero.unwrap_or_else(|| TensorData::scalar(0u8)));
            student.activations.push(TunedActivation { value, original, scale, largest_scale: f32::INFINITY, has_headroom: false });
            add_pair(graph, &name, value, scale, zero_point, None, None)
        });
        graph.set_input(*node, *index, Some(converted));
    }
}

fn add_constant(graph: &mut Graph, name: &str, tensor: TensorData) -> ValueId {
    let name = graph.unused_name(name);
    graph.add_constant(name, tensor)
}

/// Gives the producer of graph output `output` a new value to write, so that a pair can stand before the output.
fn free_output(graph: &mut Graph, output: ValueId) -> ValueId {
    let before = graph.value(output).clone();
    let name = graph.unused_name(&format!("{}_float", before.name));
    let value = graph.add_value(name, before.data_type, before.shape);
    if let Some((id, node)) = graph.producer(output) {
        let index = node.outputs.iter().position(|other| *other == Some(output)).unwrap_or(0);
        graph.set_output(id, index, value);
    }
    value
}

/// Adds the two nodes behind `value`; returns the dequantized value, which is `output` if given.
fn add_pair(
    graph: &mut Graph,
    name: &str,
    value: ValueId,
    scale: ValueId,
    zero_point: ValueId,
    axis: Option<usize>,
    output: Option<ValueId>,
) -> ValueId {
    let axis = axis.unwrap_or(1) as i64;
    let shape = graph.value(value).shape.clone();
    let node_name = graph.unused_name(&format!("{name}_QuantizeLinear"));
    let value_name = graph.unused_name(&format!("{name}_QuantizeLinear_Output"));
    let quantizer = Arc::new(QuantizeLinear { sharing: Sharing::along(axis), output_type: DataType::Other(0) });
    let (_, quantized) = graph.add_operation(&node_name, quantizer, vec![value, scale, zero_point], &value_name);
    let data_type = graph.value(zero_point).data_type;
    graph.set_facts(quantized, data_type, shape.clone());
    let node_name = graph.unused_name(&format!("{name}_DequantizeLinear"));
    let value_name = graph.unused_name(&format!("{name}_DequantizeLinear_Output"));
    let dequantizer = Arc::new(DequantizeLinear { sharing: Sharing::along(axis) });
    let dequantized = output.unwrap_or_else(|| graph.add_value(value_name, None, None));
    graph.set_facts(dequantized, Some(DataType::F32), shape);
    graph.add_node(node_name, dequantizer, vec![Some(quantized), Some(scale), Some(zero_point)], vec![Some(dequantized)]);
    dequantized
}

fn add_weight(graph: &mut Graph, point: &WeightPoint, largest: u8, student: &mut Student) -> Result<()> {
    let WeightPoint { node, input, value, axis, data_type, seeks_rare, .. } = *point;
    if let Some(known) = student.weights.iter().find(|weight| weight.value == value) {
        // The pair of the first reader serves the others too.
        let pair = graph.readers(known.value).iter().find_map(|(id, _)| {
            graph.node(*id).is::<QuantizeLinear>()?;
            let quantized = graph.node(*id).output(0)?;
            let (reader, _) = *graph.readers(quantized).first()?;
            graph.node(reader).output(0)
        });
        graph.set_input(node, input, pair.or(Some(value)));
        return Ok(());
    }
    let name = graph.value(value).name.clone();
    let tensor = graph.constant(value).cloned().ok_or_else(|| Error::tensor(&name, "is not constant"))?;
    let elements = tensor.as_f32().ok_or_else(|| Error::tensor(&name, "has no numbers"))?;
    if elements.iter().any(|x| !x.is_finite()) {
        return Err(Error::tensor(&name, "holds numbers that are not finite"));
    }
    let mut params = scheme::weight(&elements, tensor.shape(), axis, data_type);
    scheme::limit_weights(&mut params, largest);
    let shape: &[usize] = if axis.is_some() { &[params.scale.len()] } else { &[] };
    let zeros = TensorData::from_f64(shape, vec![0.0; params.scale.len()], data_type);
    let zeros = zeros.ok_or_else(|| Error::Internal(format!("weights cannot become {data_type}")))?;
    let scale = add_constant(graph, &format!("{name}_scale"), TensorData::new(shape, params.scale));
    let zero_point = shared_zero_point(graph, zeros);
    let dequantized = add_pair(graph, &name, value, scale, zero_point, axis, None);
    graph.set_input(node, input, Some(dequantized));
    let has_headroom = seeks_rare && data_type != DataType::I4;
    student.weights.push(TunedWeight { node, value, scale, axis, has_headroom });
    Ok(())
}

fn is_tunable_bias(graph: &Graph, point: &WeightPoint, bias: ValueId) -> bool {
    let (Some(tensor), Some(weight)) = (graph.constant(bias), graph.constant(point.value)) else { return false };
    let node = graph.node(point.node);
    let gemm = node.is::<Gemm>().is_some_and(|gemm| gemm.beta == 1.0);
    let one_each = outputs_of(node, weight.shape()).is_some_and(|outputs| tensor.shape() == [outputs]);
    let convolves = node.is::<Conv>().is_some() || node.is::<ConvTranspose>().is_some();
    tensor.data_type() == DataType::F32 && one_each && (gemm || convolves)
}

/// A constant that only this node reads, so that tuning it touches nothing else.
fn own_constant(graph: &mut Graph, node: NodeId, index: usize, value: ValueId) -> ValueId {
    if graph.readers(value).len() == 1 {
        return value;
    }
    let Some(tensor) = graph.constant(value).cloned() else { return value };
    let name = format!("{}_own", graph.value(value).name);
    let own = add_constant(graph, &name, tensor);
    graph.set_input(node, index, Some(own));
    own
}
