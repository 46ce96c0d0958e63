//! 4-bit quantizers in a form that ONNX Runtime loads. Its optimizers look into every quantizer behind a Clip and fail where
//! they find 4 bits; and they move quantizers to the other side of operators that do not take such numbers.

use std::sync::Arc;

use super::names::shared_zero_point;
use crate::graph::{Dim, Graph, Node, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::ops::{Clip, MaxPool, QuantizeLinear, Relu, Slice};
use crate::quantization::Width;
use crate::tensor::TensorData;

/// Rounding of a scale to float32, as a part of a bound.
const ROUNDING: f64 = 1e-6;

/// Takes away every Clip that a 4-bit quantizer behind it makes superfluous, since it holds nothing outside the bounds. One
/// that still cuts off what is below 0 becomes a Relu.
pub fn absorb_clips(graph: &mut Graph) {
    let consumers = graph.consumers();
    let clips: Vec<(NodeId, Node)> =
        graph.nodes().filter(|(_, node)| node.is::<Clip>().is_some()).map(|(id, node)| (id, node.clone())).collect();
    for (id, clip) in clips {
        let (Some(x), Some(y)) = (clip.input(0), clip.output(0)) else { continue };
        let [(quantizer, 0)] = consumers[y.0 as usize][..] else { continue };
        let (Some((least, most)), Some((low, high))) = (represented(graph, graph.node(quantizer)), bounds(graph, &clip)) else { continue };
        if graph.is_output(y) || most > high + ROUNDING * high.abs() {
            continue;
        }
        if low - ROUNDING * low.abs() <= least {
            graph.set_input(quantizer, 0, Some(x));
            graph.remove_node(id);
        } else if low == 0.0 {
            graph.set_operator(id, Arc::new(Relu));
            graph.set_inputs(id, vec![Some(x)]);
        }
    }
}

/// Writes a quantizer beside a MaxPool or Slice per channel, all channels alike: only quantizers with one scale are moved
/// to its other side, so that it would have to take 4-bit numbers.
pub fn spread_scales(graph: &mut Graph) {
    let consumers = graph.consumers();
    let reached = |node: &Node| readers(graph, &consumers, node).any(|dequantizer| reaches_selection(graph, &consumers, dequantizer));
    let stuck = |node: &Node| represented(graph, node).is_some() && (is_moved(graph, node) || reached(node));
    let quantizers: Vec<NodeId> = graph.nodes().filter(|(_, node)| stuck(node)).map(|(id, _)| id).collect();
    for id in quantizers {
        let node = graph.node(id).clone();
        let (Some(x), Some(q), Some(scale), Some(zero_point)) = (node.input(0), node.output(0), node.input(1), node.input(2)) else {
            continue;
        };
        let Some(Dim::Known(channels)) = graph.value(x).shape.as_ref().and_then(|shape| shape.get(1)).cloned() else { continue };
        let spread = |graph: &Graph, value: ValueId| {
            let tensor = graph.constant(value)?;
            TensorData::from_f64(&[channels], vec![number(graph, value)?; channels], tensor.data_type())
        };
        let (Some(scales), Some(zeros)) = (spread(graph, scale), spread(graph, zero_point)) else { continue };
        let name = graph.unused_name(&format!("{}_per_channel", graph.value(scale).name));
        let (scales, zeros) = (graph.add_constant(name, scales), shared_zero_point(graph, zeros));
        let pair: Vec<NodeId> = graph.readers(q).iter().map(|(reader, _)| *reader).chain([id]).collect();
        for id in pair {
            graph.set_input(id, 1, Some(scales));
            graph.set_input(id, 2, Some(zeros));
        }
    }
}

fn readers<'a>(graph: &'a Graph, consumers: &'a [Vec<(NodeId, usize)>], node: &Node) -> impl Iterator<Item = &'a Node> {
    let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
    outputs.into_iter().flat_map(|output| &consumers[output.0 as usize]).map(|(id, _)| graph.node(*id))
}

/// Whether the numbers of `node` come to an operator that selects some of them, by way of others that move them.
fn reaches_selection(graph: &Graph, consumers: &[Vec<(NodeId, usize)>], node: &Node) -> bool {
    let moves = |reader: &&Node| reader.operator.quantization_role() == QuantizationRole::PassThrough;
    readers(graph, consumers, node).filter(moves).any(|reader| selects(reader) || reaches_selection(graph, consumers, reader))
}

fn selects(node: &Node) -> bool {
    node.is::<MaxPool>().is_some() || node.is::<Slice>().is_some()
}

/// Whether between `quantizer` and what computes its numbers there stands an operator that moves or selects them and takes
/// no 4 bits.
fn is_moved(graph: &Graph, quantizer: &Node) -> bool {
    let (mut node, mut found, mut moved) = (quantizer, false, false);
    while let Some((_, before)) = node.input(0).and_then(|value| graph.producer(value)) {
        if before.operator.quantization_role() != QuantizationRole::PassThrough {
            return found || moved && before.is::<Clip>().is_some();
        }
        found |= selects(before);
        (node, moved) = (before, true);
    }
    found
}

fn number(graph: &Graph, value: ValueId) -> Option<f64> {
    graph.constant(value)?.to_f64()?.first().copied()
}

/// The lowest and highest number of a 4-bit quantizer with one scale.
fn represented(graph: &Graph, quantizer: &Node) -> Option<(f64, f64)> {
    let zero_point = graph.constant(quantizer.input(2)?)?;
    numbers(graph, quantizer).filter(|_| Width::of(zero_point.data_type()) == Some(Width::Four))
}

/// Whether nothing that `quantizer` represents lies outside the bounds of `activation`, a Relu or Clip before it.
pub(super) fn is_superfluous(graph: &Graph, activation: &Node, quantizer: &Node) -> bool {
    let bounds = if activation.is::<Relu>().is_some() { Some((0.0, f64::INFINITY)) } else { bounds(graph, activation) };
    let (Some((least, most)), Some((low, high))) = (numbers(graph, quantizer), bounds) else { return false };
    low - ROUNDING * low.abs() <= least && most <= high + ROUNDING * high.abs()
}

/// The lowest and highest number of a quantizer with one scale.
fn numbers(graph: &Graph, quantizer: &Node) -> Option<(f64, f64)> {
    quantizer.is::<QuantizeLinear>()?;
    let (scale, zero_point) = (quantizer.input(1)?, quantizer.input(2)?);
    let (least, most) = graph.constant(zero_point)?.data_type().integer_range()?;
    let (scale, zero) = (number(graph, scale)?, number(graph, zero_point)?);
    Some(((least - zero) * scale, (most - zero) * scale))
}

fn bounds(graph: &Graph, clip: &Node) -> Option<(f64, f64)> {
    let bound = |index: usize, missing: f64| clip.input(index).map_or(Some(missing), |value| number(graph, value));
    Some((bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, assert_same_function};
    use crate::ops::Attributes;
    use crate::passes::infer_shapes;
    use crate::tensor::DataType;

    fn network(scale: f32, zero_point: f64, data_type: DataType) -> Graph {
        let zero = TensorData::from_f64(&[], vec![zero_point], data_type).unwrap();
        let sketch = Sketch::new(&[2, 50]).scalar("low", 0.0).scalar("high", 1.5).plain("c", "Clip", "x low high");
        let sketch = sketch.scalar("s", scale).constant("z", zero).plain("q", "QuantizeLinear", "c s z");
        sketch.plain("y", "DequantizeLinear", "q s z").outputs("y")
    }

    #[test]
    fn a_quantizer_that_would_be_moved_across_a_max_pool_gets_one_scale_per_channel() {
        let window = || Attributes::default().ints("kernel_shape", &[2, 2]);
        let network = |data_type| {
            let zero = TensorData::from_f64(&[], vec![3.0], data_type).unwrap();
            let sketch = Sketch::new(&[0, 5, 4, 4]).plain("r", "Neg", "x").scalar("s", 0.2).constant("z", zero);
            let sketch = sketch.plain("a", "QuantizeLinear", "r s z").plain("b", "DequantizeLinear", "a s z");
            let sketch = sketch.node("m", "MaxPool", "r", window()).plain("q", "QuantizeLinear", "m s z");
            let sketch = sketch.plain("d", "DequantizeLinear", "q s z").plain("n", "Neg", "d").plain("e", "QuantizeLinear", "n s z");
            let sketch = sketch.plain("f", "DequantizeLinear", "e s z").node(
                "t",
                "Transpose",
                "f",
                Attributes::default().ints("perm", &[0, 1, 3, 2]),
            );
            sketch.node("g", "MaxPool", "t", window()).plain("y", "Add", "x b").outputs("y d g")
        };
        for (data_type, scales) in [(DataType::U4, [1, 1, 5, 5, 5, 5]), (DataType::U8, [1; 6])] {
            let graph = network(data_type);
            let mut after = graph.clone();
            spread_scales(&mut after);
            infer_shapes(&mut after).unwrap();
            let quantizers = after.nodes().filter(|(_, node)| node.operator.name().ends_with("Linear"));
            let lengths = quantizers.map(|(_, node)| [1, 2].map(|index| after.constant(node.input(index).unwrap()).unwrap().len()));
            assert_eq!(lengths.collect::<Vec<_>>(), scales.map(|length| [length; 2]));
            assert_same_function(&graph, &after);
        }
    }

    #[test]
    fn a_clip_goes_where_the_four_bits_hold_nothing_outside_of_it() {
        let cases = [
            (network(0.1, 0.0, DataType::U4), ""),
            (network(0.08, 0.0, DataType::U4), ""),
            (network(0.12, 0.0, DataType::U4), "Clip"),
            (network(0.2, 0.0, DataType::I4), "Relu"),
            (network(0.05, 3.0, DataType::U4), "Relu"),
            (network(0.004, 0.0, DataType::U8), "Clip"),
        ];
        for (graph, wanted) in cases {
            let mut after = graph.clone();
            absorb_clips(&mut after);
            infer_shapes(&mut after).unwrap();
            let left: Vec<&str> = after.nodes().map(|(_, node)| node.operator.name()).filter(|name| !name.ends_with("Linear")).collect();
            assert_eq!(left.concat(), wanted);
            assert_same_function(&graph, &after);
        }
    }
}
