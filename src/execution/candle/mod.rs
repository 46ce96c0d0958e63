//! The same graph on candle tensors, a whole batch at once: the engine for graphics cards, and a second opinion on the tape.
//!
//! Backward is our own: candle's gradients of pools, up-sampling and strided convolutions are wrong or missing. Operators without
//! a form on tensors run on the CPU; [`Network::on_host`] names them.

mod along;
mod compile;
mod convolution;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cudnn")]
mod cudnn;
mod dropping;
mod elementwise;
mod fused;
mod gather;
mod gathered;
mod grouping;
mod host;
mod moves;
mod normalization;
mod opening;
mod parts;
mod pooling;
mod products;
mod quantization;
mod reducing;
mod step;
#[cfg(test)]
pub mod tests;
mod tuned;
mod tuning;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor};

pub use parts::{in_parts, share_out};
pub use reducing::multiply_along;
pub use tuned::Tuned;
pub use tuning::add_gradients;

use super::tape::Request;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::ops::operator::Layout;
use step::{Call, Step};

/// What went wrong on a device.
pub fn tensor_error(error: candle_core::Error) -> Error {
    Error::Engine { engine: "candle".to_string(), reason: error.to_string() }
}

static EXACT: AtomicBool = AtomicBool::new(false);

/// Lets convolutions on cards compute in full single precision from now on. Else those with tensor cores round factors to TF32,
/// 10 bits of fraction, as PyTorch does by default.
pub fn compute_exactly() {
    EXACT.store(true, Ordering::Relaxed);
}

/// Whether [`compute_exactly`] was called.
pub fn is_exact() -> bool {
    EXACT.load(Ordering::Relaxed)
}

/// Σ (x − mean) and Σ (x − mean)² over images and positions of `x` `[batch, images, channels, …]`, for each sample and channel:
/// `[2, batch, channels]`. `means` are `[1, channels]`.
///
/// # Errors
/// If the device fails.
pub fn moments(x: &Tensor, means: &Tensor) -> Result<Tensor> {
    fused::moments(x, means).map_err(tensor_error)
}

/// gradient + a + b · x, with a and then b in `factors`, for all samples or for each, per channel of `x`
/// `[batch, images, channels, …]`.
///
/// # Errors
/// If the device fails.
pub fn pull(x: &Tensor, factors: Vec<f32>, gradient: Option<Tensor>) -> Result<Tensor> {
    let pulled = || {
        let channels = x.dim(2)?;
        let factors = Tensor::from_vec(factors, (2, (), channels), x.device())?;
        fused::pull(x, &factors, gradient.as_ref())
    };
    pulled().map_err(tensor_error)
}

/// Whether a device had too little memory.
pub fn is_out_of_memory(error: &Error) -> bool {
    let reason = match error {
        Error::Engine { reason, .. } => reason.to_ascii_lowercase(),
        _ => return false,
    };
    reason.contains("out_of_memory") || reason.contains("out of memory") || reason.contains("alloc_failed")
}

/// The row-major elements of a tensor.
///
/// # Errors
/// If the device fails.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all().and_then(|tensor| tensor.to_vec1()).map_err(tensor_error)
}

/// A step and what it reads and makes.
struct Placed {
    name: String,
    step: Box<dyn Step>,
    inputs: Vec<Option<ValueId>>,
    output: ValueId,
    /// Which inputs need a gradient.
    wanted: Vec<bool>,
    /// Whether a parameter reaches it without any image.
    changes: bool,
}

/// A constant that may change.
struct Parameter {
    /// Row-major.
    layout: Layout,
    /// With its rate, where it moves on the device.
    tuned: Option<(Tuned, f32)>,
}

/// A graph on a device.
pub struct Network {
    device: Device,
    /// Steps that images take part in.
    steps: Vec<Placed>,
    /// Steps that all samples share.
    shared_steps: Vec<Placed>,
    /// Constants, parameters, and what shared steps make of them.
    shared: HashMap<ValueId, Tensor>,
    parameters: BTreeMap<ValueId, Parameter>,
    /// With the shape of one sample.
    inputs: Vec<(ValueId, Vec<usize>)>,
    input_gradients: bool,
    targets: Vec<ValueId>,
    seeds: Vec<ValueId>,
    /// Behind which step a value is read for the last time.
    last_read: HashMap<ValueId, usize>,
    on_host: Vec<String>,
    /// Whether a parameter that shared steps read has changed since they ran.
    is_stale: bool,
}

/// What a pass forward leaves: the values that are asked for, and those that the pass backward reads.
pub struct Pass(HashMap<ValueId, Tensor>);

impl Pass {
    /// A target or seed, `[batch, …]`.
    ///
    /// # Errors
    /// If it was not asked for.
    pub fn read(&self, value: ValueId) -> Result<&Tensor> {
        self.0.get(&value).ok_or_else(|| Error::Internal(format!("value {} was not asked for", value.0)))
    }
}

/// Adds to the gradient of seed number `usize`, whose value is given.
pub type Seed<'a> = dyn FnMut(usize, &Tensor, Option<Tensor>) -> Result<Option<Tensor>> + 'a;

/// What a pass backward finds.
pub struct Gradients {
    /// Of each graph input, `[batch, …]`; `None` where none flows.
    pub inputs: Vec<Option<Tensor>>,
    /// In the shape of the parameter, behind a 1.
    pub parameters: HashMap<ValueId, Tensor>,
}

impl Network {
    /// Brings what `request` needs of `graph`, whose shapes must all be known and of one sample, to `device`.
    ///
    /// # Errors
    /// Every node that cannot be computed, all at once.
    pub fn compile(graph: &Graph, request: &Request<'_>, device: &Device) -> Result<Network> {
        let mut network = compile::compile(graph, request, device)?;
        network.share(false)?;
        Ok(network)
    }

    /// Nodes that run on the CPU.
    pub fn on_host(&self) -> &[String] {
        &self.on_host
    }

    /// Shape of one sample of graph input `input`.
    pub fn input_shape(&self, input: usize) -> &[usize] {
        &self.inputs[input].1
    }

    pub fn seeds(&self) -> &[ValueId] {
        &self.seeds
    }

    /// Runs the shared steps: all, or those that parameters reach.
    fn share(&mut self, changes_only: bool) -> Result<()> {
        for placed in self.shared_steps.iter().filter(|placed| placed.changes || !changes_only) {
            let inputs: Vec<Option<Tensor>> =
                placed.inputs.iter().map(|value| value.and_then(|value| self.shared.get(&value).cloned())).collect();
            let output = placed.step.forward(&inputs).map_err(|error| placed.failed(error))?;
            self.shared.insert(placed.output, output);
        }
        Ok(())
    }

    /// A batch of row-major samples of graph input `input` on the device.
    ///
    /// # Errors
    /// If the device has no memory for it.
    pub fn upload(&self, input: usize, samples: Vec<f32>) -> Result<Tensor> {
        let shape = self.input_shape(input);
        let batch = samples.len() / shape.iter().product::<usize>().max(1);
        Tensor::from_vec(samples, [&[batch], shape].concat(), &self.device).map_err(tensor_error)
    }

    /// Runs a batch, one tensor for each graph input. With `keep`, all that [`Network::backward`] needs stays.
    ///
    /// # Errors
    /// If the device fails, with the node.
    pub fn forward(&self, inputs: Vec<Tensor>, keep: bool) -> Result<Pass> {
        let mut values: HashMap<ValueId, Tensor> = self.inputs.iter().map(|(value, _)| *value).zip(inputs).collect();
        for (index, placed) in self.steps.iter().enumerate() {
            let output = placed.step.forward(&self.read(&values, placed)).map_err(|error| placed.failed(error))?;
            values.insert(placed.output, output);
            if !keep {
                for value in placed.inputs.iter().flatten().filter(|value| self.last_read.get(*value) == Some(&index)) {
                    values.remove(value);
                }
            }
        }
        for value in self.targets.iter().chain(&self.seeds) {
            if let Some(tensor) = self.shared.get(value) {
                values.insert(*value, tensor.clone());
            }
        }
        Ok(Pass(values))
    }

    fn read(&self, values: &HashMap<ValueId, Tensor>, placed: &Placed) -> Vec<Option<Tensor>> {
        let tensor = |value: &Option<ValueId>| value.and_then(|value| values.get(&value).or(self.shared.get(&value)).cloned());
        placed.inputs.iter().map(tensor).collect()
    }

    /// Runs back through a pass that kept all. `seed(number, value, gradient)` adds the gradient of the loss with respect to a seed
    /// to the one that came from what reads it, and is asked once this is complete.
    ///
    /// # Errors
    /// If the device fails, with the node.
    pub fn backward(&self, pass: Pass, seed: &mut Seed<'_>) -> Result<Gradients> {
        let Pass(mut values) = pass;
        let mut gradients: HashMap<ValueId, Tensor> = HashMap::new();
        for placed in self.steps.iter().rev().chain(self.shared_steps.iter().rev()) {
            self.enter(placed.output, &values, &mut gradients, seed)?;
            self.step_back(placed, &mut values, &mut gradients)?;
        }
        for (value, _) in &self.inputs {
            self.enter(*value, &values, &mut gradients, seed)?;
        }
        let inputs = self.inputs.iter().map(|(value, _)| gradients.remove(value).filter(|_| self.input_gradients)).collect();
        let mut parameters = HashMap::new();
        for (value, Parameter { layout, .. }) in &self.parameters {
            let none = || Tensor::zeros([&[1], layout.shape.as_slice()].concat(), DType::F32, &self.device).map_err(tensor_error);
            parameters.insert(*value, gradients.remove(value).map_or_else(none, Ok)?);
        }
        Ok(Gradients { inputs, parameters })
    }

    /// Adds the gradients of the seeds that `value` is.
    fn enter(
        &self,
        value: ValueId,
        values: &HashMap<ValueId, Tensor>,
        gradients: &mut HashMap<ValueId, Tensor>,
        seed: &mut Seed<'_>,
    ) -> Result<()> {
        for (index, _) in self.seeds.iter().enumerate().filter(|(_, seed)| **seed == value) {
            let tensor = values.get(&value).or(self.shared.get(&value));
            let tensor = tensor.ok_or_else(|| Error::Internal("a seed is missing".into()))?;
            if let Some(gradient) = seed(index, tensor, gradients.remove(&value))? {
                gradients.insert(value, gradient);
            }
        }
        Ok(())
    }

    fn step_back(&self, placed: &Placed, values: &mut HashMap<ValueId, Tensor>, gradients: &mut HashMap<ValueId, Tensor>) -> Result<()> {
        let Some(gradient) = gradients.remove(&placed.output).filter(|_| placed.wanted.contains(&true)) else { return Ok(()) };
        let output = values.remove(&placed.output).or_else(|| self.shared.get(&placed.output).cloned());
        let output = output.ok_or_else(|| Error::Internal(format!("the value of `{}` was not kept", placed.name)))?;
        let inputs = self.read(values, placed);
        let call = Call { inputs: &inputs, output: &output, gradient: &gradient, wanted: &placed.wanted };
        let found = placed.step.backward(&call).map_err(|error| placed.failed(error))?;
        for ((value, wanted), gradient) in placed.inputs.iter().zip(&placed.wanted).zip(found) {
            if let (Some(value), true, Some(gradient)) = (value, wanted, gradient) {
                add(gradients, *value, gradient)?;
            }
        }
        Ok(())
    }
}

impl Placed {
    fn failed(&self, error: candle_core::Error) -> Error {
        Error::Engine { engine: "candle".to_string(), reason: format!("node `{}`: {error}", self.name) }
    }
}

fn add(gradients: &mut HashMap<ValueId, Tensor>, value: ValueId, gradient: Tensor) -> Result<()> {
    let sum = match gradients.remove(&value) {
        Some(before) => (before + gradient).map_err(tensor_error)?,
        None => gradient,
    };
    gradients.insert(value, sum);
    Ok(())
}
