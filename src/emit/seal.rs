//! Constants become integers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::four_bits::{absorb_clips, spread_scales};
use super::insert::{Student, TunedBias};
use super::names::{shared_zero_point, shorten_names};
use super::shields::shield;
use super::store::store_weights;
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, ValueId, check};
use crate::ops::{DequantizeLinear, Sharing};
use crate::passes::seal_constants;
use crate::quantization::{QuantPlan, WeightPoint, Width};
use crate::tensor::{DataType, TensorData};

/// Largest int32 bias that leaves room for the accumulator.
const LARGEST_BIAS: f64 = 1_073_741_824.0;

/// Turns weights into integer initializers and, where the target wants it, biases into int32 ones whose scale is the input
/// scale times the weight scale; behind 16-bit inputs, whose scales are small, biases too large for that stay float. What was trained is what is saved.
///
/// # Errors
/// If a bias has no scale to follow.
pub fn seal(graph: &mut Graph, plan: &QuantPlan, student: &Student) -> Result<()> {
    if plan.target.integer_bias {
        let products: HashMap<NodeId, &WeightPoint> = plan.weights.iter().map(|point| (point.node, point)).collect();
        for bias in &student.biases {
            if let Some(point) = products.get(&bias.node).filter(|point| point.integer) {
                seal_bias(graph, bias, point.kept)?;
            }
        }
        graph.sort()?;
    }
    for weight in &student.weights {
        let name = graph.value(weight.value).name.clone();
        let quantized = graph.readers(weight.value).iter().find_map(|(id, _)| graph.node(*id).output(0));
        if let Some(quantized) = quantized {
            let name = graph.unused_name(&format!("{name}_quantized"));
            graph.rename_value(quantized, name);
        }
    }
    cut_weights(graph, plan, student);
    seal_constants(graph)?;
    absorb_clips(graph);
    spread_scales(graph);
    store_weights(graph, plan)?;
    shield(graph);
    graph.sort()?;
    shorten_names(graph);
    check(graph)
}

/// Tuning may have moved weights beyond the largest that the target takes.
fn cut_weights(graph: &mut Graph, plan: &QuantPlan, student: &Student) {
    let largest = f32::from(plan.target.largest_weight);
    let eight: HashSet<ValueId> = plan.weights.iter().filter(|point| point.data_type == DataType::I8).map(|point| point.value).collect();
    if largest >= 127.0 {
        return;
    }
    for weight in student.weights.iter().filter(|weight| eight.contains(&weight.value)) {
        let list = |value: ValueId| graph.constant(value).and_then(TensorData::to_f32);
        let Some((tensor, (mut elements, scales))) = graph.constant(weight.value).zip(list(weight.value).zip(list(weight.scale))) else {
            continue;
        };
        let shape = tensor.shape().to_vec();
        let inner: usize = weight.axis.map_or(elements.len(), |axis| shape[axis + 1..].iter().product());
        for (index, element) in elements.iter_mut().enumerate() {
            let most = largest * scales[index / inner.max(1) % scales.len()];
            *element = element.clamp(-most, most);
        }
        graph.set_constant(weight.value, TensorData::new(&shape, elements));
    }
}

/// The scale constant behind input `index` of `node`, and the width of the integers that it scales.
fn scale_of(graph: &Graph, bias: &TunedBias, index: usize) -> Result<(ValueId, Option<Width>)> {
    let node = graph.node(bias.node);
    let dequantizer = node.input(index).and_then(|value| graph.producer(value)).filter(|(_, node)| node.is::<DequantizeLinear>().is_some());
    let found = dequantizer.and_then(|(_, node)| {
        let data_type = node.input(0).and_then(|value| graph.value(value).data_type);
        Some((node.input(1)?, data_type.and_then(Width::of)))
    });
    found.ok_or_else(|| Error::node(&node.name, node.operator.name(), format!("input {index} is not quantized")))
}

fn seal_bias(graph: &mut Graph, bias: &TunedBias, kept: bool) -> Result<()> {
    let ((input_scale, input_width), (weight_scale, _)) = (scale_of(graph, bias, 0)?, scale_of(graph, bias, 1)?);
    let list = |value: ValueId| graph.constant(value).and_then(TensorData::to_f32).unwrap_or_default();
    let (x, mut weights, elements) = (list(input_scale), list(weight_scale), list(bias.value));
    let Some(x) = x.first().copied() else { return Err(Error::Internal("an input has no scale".to_string())) };
    // A bias beyond int32 gets a coarser weight scale for its channel, unless that would change weights that are kept.
    let mut enlarged = false;
    for (channel, b) in elements.iter().enumerate() {
        let index = channel.min(weights.len().saturating_sub(1));
        let least = (f64::from(b.abs()) / LARGEST_BIAS / f64::from(x)) as f32;
        if weights[index] < least {
            weights[index] = least * 1.0001;
            enlarged = true;
        }
    }
    if enlarged && (input_width == Some(Width::Sixteen) || kept) {
        return Ok(());
    }
    if enlarged {
        let shape = graph.constant(weight_scale).map_or(vec![weights.len()], |scale| scale.shape().to_vec());
        graph.set_constant(weight_scale, TensorData::new(&shape, weights.clone()));
    }
    let scale: Vec<f32> = (0..elements.len()).map(|channel| x * weights[channel.min(weights.len() - 1)]).collect();
    let integers = elements.iter().zip(&scale).map(|(b, scale)| (f64::from(*b) / f64::from(*scale)).round_ties_even() as i32).collect();
    let name = graph.value(bias.value).name.clone();
    let mut add = |suffix: &str, tensor: TensorData| {
        let name = graph.unused_name(&format!("{name}_{suffix}"));
        graph.add_constant(name, tensor)
    };
    let quantized = add("quantized", TensorData::vector(integers));
    let scale = add("quantized_scale", TensorData::vector(scale));
    let zero_point = shared_zero_point(graph, TensorData::vector(vec![0i32; elements.len()]));
    let node_name = graph.unused_name(&format!("{name}_DequantizeLinear"));
    let value_name = graph.unused_name(&format!("{name}_DequantizeLinear_Output"));
    let dequantizer = Arc::new(DequantizeLinear { sharing: Sharing::along(0) });
    let (_, dequantized) = graph.add_operation(&node_name, dequantizer, vec![quantized, scale, zero_point], &value_name);
    let facts = graph.value(bias.value).clone();
    graph.set_facts(dequantized, facts.data_type, facts.shape);
    graph.set_input(bias.node, 2, Some(dequantized));
    Ok(())
}
