//! Whether and how the weights of one matrix product become integers.

use super::plan::{KernelForecast, WeightPoint};
use super::target::{Format, PerChannel, Placement, Target};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::{Conv, ConvTranspose, DequantizeLinear, Foreign, Gemm, MatMul};
use crate::tensor::{DataType, TensorData};

/// Why a product of constants from the left is stored alone.
const LEFT: &str = "its weights stand on the left, where integer kernels take none";
/// Why a ConvTranspose is stored alone.
pub const NO_TRANSPOSED_CONVOLUTION: &str = "this runtime has no integer kernel for the operator";

/// The weights of a product, and why it runs in float with them stored as integers; `None` where it runs on integers.
pub struct Verdict {
    pub point: WeightPoint,
    pub reason: Option<String>,
}

/// Whether `node` is a product whose weights may become integers.
pub fn is_product(node: &Node) -> bool {
    matches!(node.operator.name(), "Conv" | "Gemm" | "MatMul" | "ConvTranspose")
}

/// Which products of a float graph will run on integers, and why not.
pub fn forecast(graph: &Graph, target: &Target) -> Vec<KernelForecast> {
    let products = graph.nodes().filter(|(_, node)| is_product(node));
    let told = products.map(|(id, node)| {
        let reason = judge(graph, target, id, node).map_or_else(Some, |verdict| verdict.reason);
        KernelForecast { node: node.name.clone(), operator: node.operator.name().to_string(), integer: reason.is_none(), reason }
    });
    told.collect()
}

/// # Errors
/// Why the weights of `node` cannot be integers.
pub fn judge(graph: &Graph, target: &Target, id: NodeId, node: &Node) -> Result<Verdict, String> {
    if let Some(foreign) = node.is::<Foreign>() {
        return Err(foreign.reason.clone());
    }
    let input = weights_input(graph, node);
    let (Some(x), Some(weights)) = (node.input(1 - input), node.input(input)) else { return Err("an input is missing".to_string()) };
    let integers = integers_behind(graph, weights);
    let value = integers.as_ref().map_or(weights, |integers| integers.value);
    let Some(tensor) = graph.constant(value) else { return Err("its weights are not constant".to_string()) };
    let is_single = |value: ValueId| graph.value(value).data_type == Some(DataType::F32);
    if graph.constant(x).is_some() || !is_single(weights) || !is_single(x) {
        return Err("its data is not float32".to_string());
    }
    let reason = obstacle(target, node, input)?;
    let axis = output_axis(node, input, tensor.shape(), reason.is_none())?.filter(|_| has_scales_of_channels(target, node));
    let (axis, data_type) = match &integers {
        Some(integers) => (integers.fitting(target, axis, tensor)?, tensor.data_type()),
        None => (axis, DataType::I8),
    };
    let point =
        WeightPoint { node: id, input, value, axis, data_type, integer: reason.is_none(), kept: integers.is_some(), seeks_rare: false };
    Ok(Verdict { point, reason })
}

/// The input that holds the weights: the second, but for a matrix product of constants with data.
fn weights_input(graph: &Graph, node: &Node) -> usize {
    let is_constant = |index: usize| node.input(index).is_some_and(|value| graph.constant(value).is_some());
    let matrices = node.is::<MatMul>().is_some() || node.is::<Gemm>().is_some();
    usize::from(!matrices || !is_constant(0) || is_constant(1))
}

fn obstacle(target: &Target, node: &Node, input: usize) -> Result<Option<String>, String> {
    let gemm = node.is::<Gemm>();
    if input == 0 {
        return Ok(Some(LEFT.to_string()));
    }
    if gemm.is_some_and(|gemm| gemm.alpha != 1.0 || gemm.transpose_a) {
        return Err("alpha is not 1, or A is transposed".to_string());
    }
    Ok((node.is::<ConvTranspose>().is_some() && !target.transposed_convolutions).then(|| NO_TRANSPOSED_CONVOLUTION.to_string()))
}

/// The dimension of the weights that outputs lie along. Groups of a ConvTranspose share their places along it: then there is one
/// scale for all where kernels ask for it, else one for each input.
fn output_axis(node: &Node, input: usize, shape: &[usize], integer: bool) -> Result<Option<usize>, String> {
    let rank = shape.len();
    if node.is::<Conv>().is_some() {
        return Ok(Some(0));
    }
    if let Some(conv) = node.is::<ConvTranspose>() {
        return Ok(if conv.conv.group == 1 { Some(1) } else { Some(0).filter(|_| !integer) });
    }
    if let Some(gemm) = node.is::<Gemm>() {
        return Ok(Some(usize::from(if input == 0 { gemm.transpose_a } else { !gemm.transpose_b })));
    }
    match (input, rank) {
        (0, 2..) => Ok(Some(rank - 2)),
        (1, 2) => Ok(Some(1)),
        _ => Err("its weights are not a matrix".to_string()),
    }
}

fn has_scales_of_channels(target: &Target, node: &Node) -> bool {
    let convolves = node.is::<Conv>().is_some() || node.is::<ConvTranspose>().is_some();
    target.per_channel == PerChannel::AllProducts || convolves
}

/// Constant integers in front of a DequantizeLinear.
pub(super) struct Integers {
    value: ValueId,
    axis: Option<usize>,
    /// Whether all zero points are 0.
    symmetric: bool,
}

pub(super) fn integers_behind(graph: &Graph, weights: ValueId) -> Option<Integers> {
    let (_, node) = graph.producer(weights)?;
    let sharing = node.is::<DequantizeLinear>()?.sharing;
    let value = node.input(0)?;
    let (tensor, scale) = (graph.constant(value)?, graph.constant(node.input(1)?)?);
    let zeros = node.input(2).map_or(Some(Vec::new()), |zeros| graph.constant(zeros)?.to_i64())?;
    let rank = tensor.shape().len() as i64;
    let axis = if sharing.axis < 0 { sharing.axis + rank } else { sharing.axis };
    let axis = if scale.len() > 1 { Some(usize::try_from(axis).ok()?) } else { None };
    (sharing.block_size == 0).then(|| Integers { value, axis, symmetric: zeros.iter().all(|zero| *zero == 0) })
}

impl Integers {
    /// Their own axis.
    ///
    /// # Errors
    /// If kernels of `target` would not take them so; `axis` is where outputs lie that may have scales of their own.
    fn fitting(&self, target: &Target, axis: Option<usize>, tensor: &TensorData) -> Result<Option<usize>, String> {
        let unsigned = target.activation_type == DataType::U8 && (target.placement, target.format) == (Placement::Everywhere, Format::Qdq);
        match tensor.data_type() {
            DataType::U8 if unsigned && self.axis.is_none() => {}
            known if target.weight_types.contains(&known) && self.symmetric => {}
            other => return Err(format!("its weights are quantized already, to {other} that the target does not take so")),
        }
        if self.axis.is_some() && self.axis != axis {
            return Err("its weights are quantized already, along a dimension that kernels do not take".to_string());
        }
        Ok(self.axis)
    }
}

/// Whether integers stand in front of `value`, or a quantizer reads it: no other pair is needed.
pub fn is_paired(graph: &Graph, value: ValueId) -> bool {
    let dequantized = graph.producer(value).is_some_and(|(_, node)| node.is::<DequantizeLinear>().is_some());
    dequantized || graph.readers(value).iter().any(|(id, _)| graph.node(*id).operator.name() == "QuantizeLinear")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::quantization::{plan, targets};

    fn target(name: &str) -> Target {
        targets::find(name).unwrap()
    }

    /// What becomes of the only product of `graph`.
    fn verdict(graph: &Graph, name: &str) -> Result<Verdict, String> {
        let (id, node) = graph.nodes().find(|(_, node)| is_product(node)).unwrap();
        judge(graph, &target(name), id, node)
    }

    fn up_sampling(group: usize) -> Graph {
        let sketch = Sketch::new(&[0, 6, 4, 4]).weights("w", &[6, 4 / group, 2, 2], 0.3);
        let stride = Attributes::default().sizes("strides", &[2, 2]).int("group", group as i64);
        sketch.node("y", "ConvTranspose", "x w", stride).outputs("y")
    }

    #[test]
    fn a_transposed_convolution_is_integer_where_the_target_has_it_and_stored_elsewhere() {
        for (name, group, integer, axis) in [
            ("qnn", 1, true, Some(1)),
            ("tensorrt", 1, true, Some(1)),
            ("qnn", 2, true, None),
            ("ort-cpu", 1, false, Some(1)),
            ("ort-cpu", 2, false, Some(0)),
            ("tract", 1, false, Some(1)),
        ] {
            let Verdict { point, reason } = verdict(&up_sampling(group), name).unwrap();
            assert_eq!((point.integer, point.axis, reason.is_none()), (integer, axis, integer), "{name}, {group} groups");
            let forecast = &forecast(&up_sampling(group), &target(name))[0];
            assert_eq!((forecast.integer, &forecast.reason), (integer, &reason));
            let planned = plan(&up_sampling(group), &target(name), &[]).unwrap();
            assert_eq!((&planned.kernels[0], planned.activations.is_empty()), (forecast, !integer));
        }
    }

    #[test]
    fn weights_on_the_left_are_stored_by_rows_and_told_so() {
        let sketch = Sketch::new(&[0, 6, 4]).weights("w", &[1, 5, 6], 0.3);
        let Verdict { point, reason } = verdict(&sketch.plain("y", "MatMul", "w x").outputs("y"), "ort-cpu").unwrap();
        assert_eq!((point.input, point.axis, point.integer), (0, Some(1), false));
        assert_eq!(reason.as_deref(), Some(LEFT));
    }

    /// A product with weights behind a DequantizeLinear along `axis`.
    fn dequantized(operator: &str, shape: &[usize], integers: TensorData, scales: usize, axis: i64) -> Graph {
        let zeros = TensorData::from_f64(&[scales], vec![0.0; scales], integers.data_type()).unwrap();
        let sketch = Sketch::new(shape).constant("w", integers).constant("s", TensorData::vector(vec![0.1f32; scales]));
        let sketch = sketch.constant("z", zeros).node("d", "DequantizeLinear", "w s z", Attributes::default().int("axis", axis));
        sketch.plain("y", operator, "x d").outputs("y")
    }

    #[test]
    fn integers_behind_a_dequantizer_are_weights_that_stay() {
        let signed = |shape: &[usize]| TensorData::new(shape, vec![3i8; shape.iter().product()]);
        let unsigned = |shape: &[usize]| TensorData::new(shape, vec![3u8; shape.iter().product()]);
        let image: &[usize] = &[0, 3, 4, 4];
        for (graph, name, axis) in [
            (dequantized("Conv", image, signed(&[5, 3, 1, 1]), 5, 0), "ort-cpu", Some(Some(0))),
            (dequantized("Conv", image, signed(&[5, 3, 1, 1]), 5, -4), "qnn", Some(Some(0))),
            (dequantized("Conv", image, signed(&[5, 3, 1, 1]), 1, 0), "tensorrt", Some(None)),
            (dequantized("Conv", image, signed(&[5, 3, 1, 1]), 3, 1), "ort-cpu", None),
            (dequantized("Conv", image, unsigned(&[5, 3, 1, 1]), 1, 0), "ort-cpu", Some(None)),
            (dequantized("Conv", image, unsigned(&[5, 3, 1, 1]), 1, 0), "tensorrt", None),
            (dequantized("MatMul", &[0, 3], signed(&[3, 5]), 5, 1), "ort-cpu", Some(Some(1))),
            (dequantized("MatMul", &[0, 3], signed(&[3, 5]), 5, 1), "qnn", None),
        ] {
            let found = verdict(&graph, name).map(|verdict| verdict.point);
            assert_eq!(found.as_ref().ok().map(|point| point.axis), axis, "{name} {graph}");
            assert!(found.is_ok_and(|point| point.kept && point.integer) || axis.is_none());
        }
    }

    #[test]
    fn a_value_that_is_quantized_already_gets_no_pair() {
        let sketch = Sketch::new(&[0, 3, 4, 4]).scalar("s", 0.1).constant("z", TensorData::scalar(3u8));
        let sketch = sketch.plain("q", "QuantizeLinear", "x s z").plain("d", "DequantizeLinear", "q s z");
        let graph = sketch.conv("a", "d", (3, 4), 3, 1).plain("r", "Relu", "a").conv("b", "r", (4, 4), 3, 1).outputs("b");
        for (name, wanted) in [("ort-cpu", vec!["r", "b"]), ("tensorrt", vec!["r"]), ("qnn", vec!["r", "b"])] {
            let plan = plan(&graph, &target(name), &[]).unwrap();
            let found: Vec<&str> = plan.activations.iter().map(|point| graph.value(point.value).name.as_str()).collect();
            assert_eq!(found, wanted, "{name}");
        }
    }
}
