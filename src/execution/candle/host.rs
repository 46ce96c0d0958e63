//! Operators without a form on tensors: their kernels run on the CPU, and what they read and make is copied.

use std::sync::{Mutex, PoisonError};

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::step::{Call, Step};
use crate::execution::tape::in_memory_order;
use crate::ops::operator::{BackwardCall, Gradient, Kernel, Layout};

/// A kernel of the CPU engine.
pub(super) struct Host {
    kernel: Mutex<Box<dyn Kernel>>,
    /// As the kernel meets them, and whether all samples share them.
    inputs: Vec<Option<(Layout, bool)>>,
    output: Layout,
}

/// The samples of a value in memory order; one stands for all where they share it.
struct Side {
    samples: Vec<Vec<f32>>,
    shared: bool,
}

impl Side {
    fn read(tensor: &Tensor, layout: &Layout, shared: bool) -> Result<Self> {
        let rows = tensor.reshape((tensor.dim(0)?, ()))?.to_vec2::<f32>()?;
        Ok(Side { samples: rows.iter().map(|row| in_memory_order(row, layout)).collect(), shared })
    }

    fn of(&self, sample: usize) -> &[f32] {
        self.samples.get(sample).or(self.samples.first()).map_or(&[], Vec::as_slice)
    }

    fn tensor(samples: Vec<Vec<f32>>, layout: &Layout, like: &Tensor) -> Result<Tensor> {
        let (batch, offsets) = (samples.len(), layout.offsets());
        let rows: Vec<f32> = samples.iter().flat_map(|memory| offsets.iter().map(|offset| memory[*offset])).collect();
        Tensor::from_vec(rows, [&[batch], layout.shape.as_slice()].concat(), like.device())
    }
}

impl Host {
    pub fn new(kernel: Box<dyn Kernel>, inputs: Vec<Option<(Layout, bool)>>, output: Layout) -> Self {
        Host { kernel: Mutex::new(kernel), inputs, output }
    }

    fn sides(&self, inputs: &[Option<Tensor>]) -> Result<Vec<Option<Side>>> {
        let side = |(tensor, input): (&Option<Tensor>, &Option<(Layout, bool)>)| match (tensor, input) {
            (Some(tensor), Some((layout, shared))) => Side::read(tensor, layout, *shared).map(Some),
            _ => Ok(None),
        };
        inputs.iter().zip(&self.inputs).map(side).collect()
    }

    /// Runs `work` on every sample of the batch, with the kernel prepared.
    fn each<T: Send>(&self, sides: &[Option<Side>], work: impl Fn(&dyn Kernel, usize, &[&[f32]]) -> T + Sync) -> Vec<T> {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        let shared: Vec<Option<&[f32]>> =
            sides.iter().map(|side| side.as_ref().filter(|side| side.shared).map(|side| side.of(0))).collect();
        kernel.prepare(&shared);
        let kernel = kernel.as_ref();
        let batch = sides.iter().flatten().map(|side| side.samples.len()).max().unwrap_or(1);
        let run = |sample: usize| {
            let inputs: Vec<&[f32]> = sides.iter().map(|side| side.as_ref().map_or(&[][..], |side| side.of(sample))).collect();
            work(kernel, sample, &inputs)
        };
        (0..batch).into_par_iter().map(run).collect()
    }
}

impl Step for Host {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let Some(like) = inputs.iter().flatten().next() else { candle_core::bail!("it has no input") };
        let outputs = self.each(&self.sides(inputs)?, |kernel, _, inputs| {
            let (mut output, mut scratch) = (vec![0.0; self.output.len()], vec![0.0; kernel.scratch()]);
            kernel.forward(inputs, &mut output, &mut scratch);
            output
        });
        Side::tensor(outputs, &self.output, like)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let sides = self.sides(call.inputs)?;
        let (output, gradient) = (Side::read(call.output, &self.output, false)?, Side::read(call.gradient, &self.output, false)?);
        let length =
            |(index, input): (usize, &Option<(Layout, bool)>)| input.as_ref().filter(|_| call.wants(index)).map(|(layout, _)| layout.len());
        let lengths: Vec<Option<usize>> = self.inputs.iter().enumerate().map(length).collect();
        let found = self.each(&sides, |kernel, sample, inputs| {
            let mut gradients: Vec<Vec<f32>> = lengths.iter().map(|length| vec![0.0; length.unwrap_or(0)]).collect();
            let mut wanted: Vec<Option<Gradient<'_>>> =
                gradients.iter_mut().zip(&lengths).map(|(values, length)| length.map(|_| Gradient { values, accumulate: true })).collect();
            let mut scratch = vec![0.0; kernel.scratch()];
            kernel.backward(BackwardCall {
                inputs,
                output: output.of(sample),
                output_gradient: gradient.of(sample),
                input_gradients: &mut wanted,
                scratch: &mut scratch,
            });
            gradients
        });
        let collect = |(index, input): (usize, &Option<(Layout, bool)>)| -> Result<Option<Tensor>> {
            let (Some((layout, shared)), Some(Some(_))) = (input, lengths.get(index)) else { return Ok(None) };
            let samples = found.iter().map(|gradients| gradients[index].as_slice());
            let samples = if *shared { vec![sum(samples, layout.len())] } else { samples.map(<[f32]>::to_vec).collect() };
            Side::tensor(samples, layout, call.gradient).map(Some)
        };
        self.inputs.iter().enumerate().map(collect).collect()
    }
}

/// In the order of the samples.
fn sum<'a>(samples: impl Iterator<Item = &'a [f32]>, length: usize) -> Vec<f32> {
    let mut total = vec![0.0; length];
    samples.for_each(|sample| total.iter_mut().zip(sample).for_each(|(sum, g)| *sum += g));
    total
}
