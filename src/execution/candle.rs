//! The same graph on candle tensors: a second engine, written by others, that the tape is held against.
//!
//! Covers the operators on which candle is right (pools with padding, up-sampling and strided convolutions of
//! unequal sides are not among them). One sample at a time, row-major.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId, known_shape};
use crate::ops;
use crate::passes::single_sample;
use crate::tensor::TensorData;

fn engine(error: candle_core::Error) -> Error {
    Error::Engine { engine: "candle".to_string(), reason: error.to_string() }
}

/// What one sample gives, row-major.
pub struct Evaluation {
    pub values: Vec<Vec<f32>>,
    /// Of the sum of all values, with respect to each graph input.
    pub input_gradients: Vec<Vec<f32>>,
}

/// `values` of sample `index` of `set`, and the gradient of their sum.
///
/// # Errors
/// Names every operator that this engine does not run.
pub fn evaluate_with_gradient(graph: &Graph, values: &[ValueId], set: &CalibrationSet, index: usize) -> Result<Evaluation> {
    let graph = single_sample(graph)?;
    let mut tensors: HashMap<ValueId, Tensor> = HashMap::new();
    let mut variables = Vec::new();
    for (value, samples) in graph.inputs.iter().zip(&set.inputs) {
        let tensor = Tensor::from_slice(&samples.sample(index)?, samples.shape.as_slice(), &Device::Cpu).map_err(engine)?;
        let variable = Var::from_tensor(&tensor).map_err(engine)?;
        tensors.insert(*value, variable.as_tensor().clone());
        variables.push(variable);
    }
    for (_, node) in graph.nodes() {
        let inputs: Result<Vec<Option<Tensor>>> = node.inputs.iter().map(|value| input(&graph, &tensors, *value)).collect();
        let output = forward(&graph, node, &inputs?)?;
        if let Some(value) = node.output(0) {
            tensors.insert(value, output);
        }
    }
    let mut found = Vec::new();
    let mut total = Tensor::zeros((), DType::F32, &Device::Cpu).map_err(engine)?;
    for value in values {
        let tensor = tensors.get(value).ok_or_else(|| Error::Internal("value was not computed".into()))?;
        total = (total + tensor.sum_all().map_err(engine)?).map_err(engine)?;
        found.push(numbers(tensor)?);
    }
    let gradients = total.backward().map_err(engine)?;
    let gradient = |variable: &Var| gradients.get(variable).map_or_else(|| Ok(vec![0.0; variable.elem_count()]), numbers);
    Ok(Evaluation { values: found, input_gradients: variables.iter().map(gradient).collect::<Result<_>>()? })
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all().and_then(|tensor| tensor.to_vec1::<f32>()).map_err(engine)
}

fn input(graph: &Graph, tensors: &HashMap<ValueId, Tensor>, value: Option<ValueId>) -> Result<Option<Tensor>> {
    let Some(value) = value else { return Ok(None) };
    if let Some(tensor) = tensors.get(&value) {
        return Ok(Some(tensor.clone()));
    }
    let Some(constant) = graph.constant(value) else { return Ok(None) };
    let elements = constant.to_f32().unwrap_or_default();
    Tensor::from_vec(elements, constant.shape(), &Device::Cpu).map(Some).map_err(engine)
}

fn forward(graph: &Graph, node: &Node, inputs: &[Option<Tensor>]) -> Result<Tensor> {
    let refuse = || Error::Unsupported(vec![format!("candle engine: node `{}` ({})", node.name, node.operator.name())]);
    let x = inputs.first().and_then(Option::as_ref).ok_or_else(refuse)?;
    let second = || inputs.get(1).and_then(Option::as_ref).ok_or_else(refuse);
    let shape = node.output(0).and_then(|value| known_shape(graph.value(value).shape.as_deref()?)).ok_or_else(refuse)?;
    let result = match node.operator.name() {
        "Relu" => x.relu(),
        "LeakyRelu" => {
            let alpha = node.is::<ops::LeakyRelu>().map_or(0.01, |leaky| leaky.alpha);
            x.relu().and_then(|up| up - (x.neg()?.relu()? * f64::from(alpha))?)
        }
        "Sigmoid" => x.neg().and_then(|x| (x.exp()? + 1.0)?.recip()),
        "Clip" => {
            let bound = |index: usize, open: f32| {
                let constant = node.input(index).and_then(|value| graph.constant(value)?.to_f32());
                constant.and_then(|bound| bound.first().copied()).unwrap_or(open)
            };
            x.clamp(bound(1, f32::NEG_INFINITY), bound(2, f32::INFINITY))
        }
        "HardSwish" => (x + 3.0).and_then(|gate| (x * gate.clamp(0.0, 6.0)?)? / 6.0),
        "Add" => x.broadcast_add(second()?),
        "Sub" => x.broadcast_sub(second()?),
        "Mul" => x.broadcast_mul(second()?),
        "Div" => x.broadcast_div(second()?),
        "MatMul" => x.broadcast_matmul(second()?),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" => x.reshape(shape),
        "Concat" if x.rank() == 4 => Tensor::cat(&inputs.iter().flatten().collect::<Vec<_>>(), 1),
        "GlobalAveragePool" if x.rank() == 4 => x.mean_keepdim((2, 3)),
        "Gemm" => gemm(node, inputs),
        "Conv" => convolution(graph, node, inputs),
        "BatchNormalization" => batch_normalization(node, inputs),
        _ => return Err(refuse()),
    };
    result.map_err(engine)
}

fn gemm(node: &Node, inputs: &[Option<Tensor>]) -> candle_core::Result<Tensor> {
    let (Some(gemm), [Some(a), Some(b), ..]) = (node.is::<ops::Gemm>(), inputs) else { candle_core::bail!("not a Gemm") };
    let a = if gemm.transpose_a { a.t()? } else { a.clone() };
    let b = if gemm.transpose_b { b.t()? } else { b.clone() };
    let product = (a.matmul(&b)? * f64::from(gemm.alpha))?;
    match inputs.get(2).and_then(Option::as_ref) {
        Some(c) => product.broadcast_add(&(c * f64::from(gemm.beta))?),
        None => Ok(product),
    }
}

fn convolution(graph: &Graph, node: &Node, inputs: &[Option<Tensor>]) -> candle_core::Result<Tensor> {
    let (Some(conv), [Some(x), Some(weight), ..]) = (node.is::<ops::Conv>(), inputs) else { candle_core::bail!("not a Conv") };
    let pads = conv.pads.clone();
    let square = |sizes: &[usize]| sizes.iter().all(|size| *size == sizes[0]);
    let default = |sizes: &[usize]| sizes.first().copied().unwrap_or(1);
    if x.rank() != 4 || !square(&conv.strides) || !square(&conv.dilations) {
        candle_core::bail!("candle convolves with equal strides and dilations only");
    }
    let x = match pads[..] {
        [] => x.clone(),
        [top, left, bottom, right] => x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?,
        _ => candle_core::bail!("unexpected pads"),
    };
    let y = x.conv2d(weight, 0, default(&conv.strides), default(&conv.dilations), conv.group)?;
    let bias = node.input(2).and_then(|value| graph.constant(value)).and_then(TensorData::to_f32);
    match bias {
        Some(bias) => y.broadcast_add(&Tensor::from_vec(bias.clone(), (1, bias.len(), 1, 1), &Device::Cpu)?),
        None => Ok(y),
    }
}

fn batch_normalization(node: &Node, inputs: &[Option<Tensor>]) -> candle_core::Result<Tensor> {
    let [Some(x), Some(scale), Some(bias), Some(mean), Some(variance)] = inputs else { candle_core::bail!("not a BatchNormalization") };
    let epsilon = node.is::<ops::BatchNormalization>().map_or(1e-5, |norm| norm.epsilon);
    let mut shape = vec![1; x.rank()];
    shape[1] = scale.elem_count();
    let factor = (scale / (variance + f64::from(epsilon))?.sqrt()?)?;
    let shift = (bias - (mean * &factor)?)?;
    x.broadcast_mul(&factor.reshape(shape.clone())?)?.broadcast_add(&shift.reshape(shape)?)
}
