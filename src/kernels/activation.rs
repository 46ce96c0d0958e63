//! Activations, and a kernel with the one that follows it.

use super::Isa;
use crate::ops::operator::{BackwardCall, Kernel};

/// A function of one number that is linear in pieces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Identity,
    /// z where z > 0, 0 elsewhere; the derivative at 0 is 0.
    Relu,
    /// z where z ≥ 0, alpha · z below.
    LeakyRelu {
        alpha: f32,
    },
    /// min(max(z, low), high); the derivative is 1 strictly between.
    Clip {
        low: f32,
        high: f32,
    },
}

impl Activation {
    /// Whether the derivative can be told from the result alone.
    pub fn is_told_by_output(self) -> bool {
        match self {
            Activation::Identity | Activation::Relu | Activation::Clip { .. } => true,
            Activation::LeakyRelu { alpha } => alpha > 0.0,
        }
    }
}

/// The same as a type, so that loops are compiled for each.
pub trait Function: Copy {
    fn value(self, z: f32) -> f32;
    /// The derivative at z, or where the result is `z`.
    fn slope(self, z: f32) -> f32;
}

#[derive(Clone, Copy)]
pub struct Identity;

impl Function for Identity {
    #[inline(always)]
    fn value(self, z: f32) -> f32 {
        z
    }

    #[inline(always)]
    fn slope(self, _: f32) -> f32 {
        1.0
    }
}

#[derive(Clone, Copy)]
pub struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value(self, z: f32) -> f32 {
        if z > 0.0 { z } else { 0.0 }
    }

    #[inline(always)]
    fn slope(self, z: f32) -> f32 {
        if z > 0.0 { 1.0 } else { 0.0 }
    }
}

#[derive(Clone, Copy)]
pub struct LeakyRelu(pub f32);

impl Function for LeakyRelu {
    #[inline(always)]
    fn value(self, z: f32) -> f32 {
        if z >= 0.0 { z } else { self.0 * z }
    }

    #[inline(always)]
    fn slope(self, z: f32) -> f32 {
        if z >= 0.0 { 1.0 } else { self.0 }
    }
}

#[derive(Clone, Copy)]
pub struct Clip(pub f32, pub f32);

impl Function for Clip {
    #[inline(always)]
    fn value(self, z: f32) -> f32 {
        let raised = if z < self.0 { self.0 } else { z };
        if raised > self.1 { self.1 } else { raised }
    }

    #[inline(always)]
    fn slope(self, z: f32) -> f32 {
        if z > self.0 && z < self.1 { 1.0 } else { 0.0 }
    }
}

/// A kernel whose result goes through an activation where it lies. The kernel's backward pass may not read its result, and
/// the activation must be told by its output.
pub struct Activated {
    producer: Box<dyn Kernel>,
    activation: Activation,
    len: usize,
    isa: Isa,
}

impl Activated {
    /// `len` is that of the result.
    pub fn new(producer: Box<dyn Kernel>, activation: Activation, len: usize, isa: Isa) -> Self {
        Activated { producer, activation, len, isa }
    }
}

impl Kernel for Activated {
    fn scratch(&self) -> usize {
        self.len + self.producer.scratch()
    }

    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        self.producer.prepare(shared);
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        self.producer.forward(inputs, output, scratch);
        self.isa.run(
            #[inline(always)]
            || match self.activation {
                Activation::Identity => {}
                Activation::Relu => apply(output, Relu),
                Activation::LeakyRelu { alpha } => apply(output, LeakyRelu(alpha)),
                Activation::Clip { low, high } => apply(output, Clip(low, high)),
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output, output_gradient, input_gradients, scratch } = call;
        let (through, scratch) = scratch.split_at_mut(self.len);
        self.isa.run(
            #[inline(always)]
            || match self.activation {
                Activation::Identity => pull_back(output, output_gradient, through, Identity),
                Activation::Relu => pull_back(output, output_gradient, through, Relu),
                Activation::LeakyRelu { alpha } => pull_back(output, output_gradient, through, LeakyRelu(alpha)),
                Activation::Clip { low, high } => pull_back(output, output_gradient, through, Clip(low, high)),
            },
        );
        self.producer.backward(BackwardCall { inputs, output: &[], output_gradient: through, input_gradients, scratch });
    }

    fn keeps_copy(&self, input: usize) -> bool {
        self.producer.keeps_copy(input)
    }

    fn backward_needs_inputs(&self) -> bool {
        self.producer.backward_needs_inputs()
    }

    fn backward_needs_output(&self) -> bool {
        true
    }
}

#[inline(always)]
fn apply(values: &mut [f32], function: impl Function) {
    values.iter_mut().for_each(|value| *value = function.value(*value));
}

#[inline(always)]
fn pull_back(output: &[f32], gradient: &[f32], through: &mut [f32], function: impl Function) {
    for ((through, g), y) in through.iter_mut().zip(gradient).zip(output) {
        *through = g * function.slope(*y);
    }
}
