use std::sync::Arc;

use crate::graph::{Graph, ValueId};
use crate::ops::{DequantizeLinear, Sharing};
use crate::tensor::{DataType, TensorData};

/// Before: `w = DequantizeLinear(q, s, z)`, q constant. After: `w = DequantizeLinear(±q, s · |factor|, z)`: integers change their
/// sign at most, or are 0 where the factor is. Returns the name of the integers; `None` where `w` has other readers or its form
/// does not allow it.
pub(super) fn scale_quantized(graph: &mut Graph, weight: ValueId, (axis, groups): (usize, usize), affine: &[(f64, f64)]) -> Option<String> {
    let (id, node) = graph.producer(weight).map(|(id, node)| (id, node.clone()))?;
    let sharing = node.is::<DequantizeLinear>()?.sharing;
    let integers = graph.constant(node.input(0)?)?.clone();
    let (scales, shape) = (graph.constant(node.input(1)?)?.to_f32()?, integers.shape().to_vec());
    let zeros = node.input(2).map_or(Some(vec![0]), |zeros| graph.constant(zeros)?.to_i64())?;
    let along = if sharing.axis < 0 { sharing.axis + shape.len() as i64 } else { sharing.axis };
    let fits = scales.len() == 1 || scales.len() == affine.len() && usize::try_from(along).ok() == Some(axis);
    let symmetric = integers.data_type() == DataType::I8 && zeros.iter().all(|zero| *zero == 0);
    let sole = graph.readers(weight).len() == 1 && !graph.is_output(weight);
    if !fits || !symmetric || !sole || groups != 1 || sharing.block_size > 0 || shape.get(axis) != Some(&affine.len()) {
        return None;
    }
    let signed = change_signs(&integers, axis, affine)?;
    let scale = |channel: usize| f64::from(scales[channel % scales.len()]);
    let scaled = affine.iter().enumerate().map(|(channel, (factor, _))| match *factor == 0.0 {
        true => scale(channel) as f32,
        false => (scale(channel) * factor.abs()) as f32,
    });
    let scaled: Vec<f32> = scaled.collect();
    if !scaled.iter().all(|scale| scale.is_normal()) {
        return None;
    }
    let name = graph.value(node.input(0)?).name.clone();
    let inputs = [signed, TensorData::vector(scaled), TensorData::vector(vec![0i8; affine.len()])];
    let inputs = inputs.into_iter().zip(["", "_scale", "_zero_point"]).map(|(tensor, part)| {
        let name = graph.unused_name(&format!("{name}_folded{part}"));
        Some(graph.add_constant(name, tensor))
    });
    let inputs = inputs.collect();
    graph.set_inputs(id, inputs);
    graph.set_operator(id, Arc::new(DequantizeLinear { sharing: Sharing::along(axis as i64) }));
    node.inputs.iter().flatten().for_each(|former| graph.forget_unread(*former));
    Some(name)
}

/// `None` where a number has no opposite among the integers.
fn change_signs(integers: &TensorData, axis: usize, affine: &[(f64, f64)]) -> Option<TensorData> {
    let shape = integers.shape();
    let inner: usize = shape[axis + 1..].iter().product();
    let sign = |index: usize| affine[index / inner.max(1) % affine.len()].0.partial_cmp(&0.0).map_or(0, |order| order as i64);
    let signed = integers.to_i64()?.into_iter().enumerate().map(|(index, q)| i8::try_from(q * sign(index)).ok());
    Some(TensorData::new(shape, signed.collect::<Option<Vec<i8>>>()?))
}
