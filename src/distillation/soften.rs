//! A student whose weights are rounded softly and whose quantizers are left out at random.

use std::sync::Arc;

use crate::emit::Student;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId, check};
use crate::ops::{DequantizeLinear, QuantizationDrop, QuantizeLinear, SoftRound};
use crate::tensor::TensorData;

/// Before: `q = QuantizeLinear(w, s, z)`. After: `q = SoftRound(⌊w / s⌋, v)`, v such that the soft level is w / s, for the
/// weights whose quantizer reads them alone. Returns `student` with the variables v in place of those weights.
///
/// # Errors
/// If a weight has no quantizer.
pub fn soften(graph: &mut Graph, student: &Student) -> Result<Student> {
    let mut softened = student.clone();
    let consumers = graph.consumers();
    for weight in &mut softened.weights {
        let (quantizer, data_type) = weight.quantizer(graph, &consumers[weight.value.0 as usize])?;
        let (levels, shape) = weight.levels(graph)?;
        let (low, high) = data_type.integer_range().ok_or_else(|| Error::Internal("a weight is not an integer".into()))?;
        let name = graph.value(weight.value).name.clone();
        let base: Vec<f32> = levels.iter().map(|level| level.floor().clamp(low as f32, high as f32 - 1.0)).collect();
        let variable = levels.iter().zip(&base).map(|(level, base)| SoftRound::variable(level - base)).collect();
        let base = graph.add_constant(graph.unused_name(&format!("{name}_base")), TensorData::new(&shape, base));
        let variable = graph.add_constant(graph.unused_name(&format!("{name}_rounding")), TensorData::new(&shape, variable));
        graph.set_operator(quantizer, Arc::new(SoftRound { data_type }));
        graph.set_inputs(quantizer, vec![Some(base), Some(variable)]);
        weight.value = variable;
    }
    check(graph)?;
    Ok(softened)
}

/// Writes the levels that `softened` came to, and all else that was tuned, into `graph`, the student as it was before.
///
/// # Errors
/// If `soft` is not a softened `graph`.
pub fn adopt(graph: &mut Graph, student: &Student, soft: &Graph, softened: &Student) -> Result<()> {
    let consumers = soft.consumers();
    for (weight, soft_weight) in student.weights.iter().zip(&softened.weights) {
        let scale = soft.constant(weight.scale).cloned().ok_or_else(|| Error::Internal("a scale is lost".into()))?;
        let base = consumers[soft_weight.value.0 as usize].first().and_then(|(id, _)| soft.node(*id).input(0));
        let numbers = |value: ValueId| soft.constant(value).and_then(TensorData::to_f32);
        let (Some(base), Some(variable)) = (base.and_then(numbers), numbers(soft_weight.value)) else {
            return Err(Error::Internal("a rounded weight is lost".into()));
        };
        let levels: Vec<f32> = base.iter().zip(&variable).map(|(base, v)| base + if *v >= 0.0 { 1.0 } else { 0.0 }).collect();
        graph.set_constant(weight.scale, scale);
        weight.set_levels(graph, &levels)?;
    }
    let others = student.activations.iter().map(|activation| activation.scale).chain(student.biases.iter().map(|bias| bias.value));
    for value in others {
        if let Some(tensor) = soft.constant(value).cloned() {
            graph.set_constant(value, tensor);
        }
    }
    Ok(())
}

/// Before: readers of `y = DequantizeLinear(QuantizeLinear(x))`. After: readers of `QuantizationDrop(x, y, state)`.
/// Returns the state, which is −1 at first: nothing is left out.
///
/// # Errors
/// If the graph is not sound.
pub fn insert_drops(graph: &mut Graph, student: &Student) -> Result<ValueId> {
    let state = graph.add_constant(graph.unused_name("drop_state"), TensorData::scalar(-1.0f32));
    for activation in &student.activations {
        let quantizers = graph.readers(activation.value).iter().map(|(id, _)| graph.node(*id));
        let quantized = quantizers.filter(|node| node.is::<QuantizeLinear>().is_some()).find_map(|node| node.output(0));
        let Some(quantized) = quantized else { continue };
        let readers = graph.readers(quantized).iter().map(|(id, _)| graph.node(*id));
        let Some(output) = readers.filter(|node| node.is::<DequantizeLinear>().is_some()).find_map(|node| node.output(0)) else { continue };
        if graph.is_output(output) {
            continue;
        }
        let readers = graph.readers(output).to_vec();
        let name = graph.unused_name(&format!("{}_drop", graph.value(activation.value).name));
        let (_, dropped) =
            graph.add_operation(&format!("{name}_node"), Arc::new(QuantizationDrop), vec![activation.value, output, state], &name);
        let facts = graph.value(output).clone();
        graph.set_facts(dropped, facts.data_type, facts.shape);
        readers.into_iter().for_each(|(id, index)| graph.set_input(id, index, Some(dropped)));
    }
    graph.sort()?;
    check(graph)?;
    Ok(state)
}
