//! Cells that read a sequence step by step and keep a state: LSTM, GRU and the simple one.

use super::recurrent_gradient;
use crate::ops::operator::{BackwardCall, Kernel};

/// A bounded function between the sums of a cell and its state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Squash {
    Relu,
    Tanh,
    Sigmoid,
    Affine { alpha: f32, beta: f32 },
    LeakyRelu { alpha: f32 },
    ThresholdedRelu { alpha: f32 },
    ScaledTanh { alpha: f32, beta: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    Elu { alpha: f32 },
    Softsign,
    Softplus,
}

impl Squash {
    pub fn value(self, x: f32) -> f32 {
        match self {
            Squash::Relu => x.max(0.0),
            Squash::Tanh => x.tanh(),
            Squash::Sigmoid => sigmoid(x),
            Squash::Affine { alpha, beta } => alpha * x + beta,
            Squash::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Squash::ThresholdedRelu { alpha } => {
                if x >= alpha {
                    x
                } else {
                    0.0
                }
            }
            Squash::ScaledTanh { alpha, beta } => alpha * (beta * x).tanh(),
            Squash::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Squash::Elu { alpha } => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Squash::Softsign => x / (1.0 + x.abs()),
            Squash::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    pub fn slope(self, x: f32) -> f32 {
        match self {
            Squash::Relu => f32::from(x > 0.0),
            Squash::Tanh => 1.0 - x.tanh().powi(2),
            Squash::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
            Squash::Affine { alpha, .. } => alpha,
            Squash::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha
                } else {
                    1.0
                }
            }
            Squash::ThresholdedRelu { alpha } => f32::from(x >= alpha),
            Squash::ScaledTanh { alpha, beta } => alpha * beta * (1.0 - (beta * x).tanh().powi(2)),
            Squash::HardSigmoid { alpha, beta } => {
                if (0.0..=1.0).contains(&(alpha * x + beta)) {
                    alpha
                } else {
                    0.0
                }
            }
            Squash::Elu { alpha } => {
                if x < 0.0 {
                    alpha * x.exp()
                } else {
                    1.0
                }
            }
            Squash::Softsign => 1.0 / (1.0 + x.abs()).powi(2),
            Squash::Softplus => sigmoid(x),
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Which cell; gates stand in the order of ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// One sum.
    Simple,
    /// Update, reset, hidden.
    Gru {
        /// Whether the reset gate acts behind the product with the recurrent weights.
        linear_before_reset: bool,
    },
    /// Input, output, forget, cell.
    Lstm {
        /// Whether the forget gate is one minus the input gate.
        input_forget: bool,
    },
}

impl Cell {
    pub fn gates(self) -> usize {
        match self {
            Cell::Simple => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm { .. } => 4,
        }
    }
}

/// What is asked for: all states, or the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    LastHidden,
    LastCell,
}

/// One pass over the sequence.
#[derive(Clone, Debug)]
pub struct Direction {
    pub reverse: bool,
    /// Of gates, cell and hidden state, as many as the cell has.
    pub squashes: Vec<Squash>,
}

/// Inputs, all row-major: sequence, weights, recurrent weights, biases, lengths, first hidden state, first cell state, peepholes;
/// all from the biases on may be left out.
pub struct Recurrent {
    pub cell: Cell,
    pub wanted: Wanted,
    pub directions: Vec<Direction>,
    pub steps: usize,
    pub batch: usize,
    pub inputs: usize,
    pub hidden: usize,
    /// Whether the batch is the first dimension of sequence and states.
    pub batch_first: bool,
    /// Sums are clamped to ± this before they are squashed.
    pub clip: f32,
}

pub const SEQUENCE: usize = 0;
pub const WEIGHTS: usize = 1;
pub const RECURRENT: usize = 2;
pub const BIASES: usize = 3;
pub const LENGTHS: usize = 4;
pub const FIRST_HIDDEN: usize = 5;
pub const FIRST_CELL: usize = 6;
pub const PEEPHOLES: usize = 7;

/// What a step leaves behind for the way back.
pub(super) struct Step {
    /// Place in the sequence.
    pub time: usize,
    /// What is squashed, gate by gate.
    pub sums: Vec<f32>,
    /// The product of recurrent weights and state that a gate acts on.
    pub gated: Vec<f32>,
    pub hidden: Vec<f32>,
    pub cell: Vec<f32>,
}

/// The parameters of one direction.
pub(super) struct Parameters<'a> {
    pub weights: &'a [f32],
    pub recurrent: &'a [f32],
    /// Those of the sequence, then those of the state; empty for none.
    pub biases: &'a [f32],
    /// Empty for none.
    pub peepholes: &'a [f32],
}

impl Parameters<'_> {
    fn bias(&self, index: usize) -> f32 {
        self.biases.get(index).copied().unwrap_or(0.0)
    }

    pub fn peephole(&self, index: usize) -> f32 {
        self.peepholes.get(index).copied().unwrap_or(0.0)
    }
}

impl Recurrent {
    pub(super) fn squash(&self, squash: Squash, x: f32) -> f32 {
        squash.value(x.clamp(-self.clip, self.clip))
    }

    pub(super) fn slope(&self, squash: Squash, x: f32) -> f32 {
        if x.abs() <= self.clip { squash.slope(x) } else { 0.0 }
    }

    /// Elements of one direction in input `index`.
    pub(super) fn share(&self, index: usize) -> usize {
        let gates = self.cell.gates() * self.hidden;
        match index {
            WEIGHTS => gates * self.inputs,
            RECURRENT => gates * self.hidden,
            BIASES => 2 * gates,
            _ => 3 * self.hidden,
        }
    }

    pub(super) fn parameters<'a>(&self, inputs: &[&'a [f32]], direction: usize) -> Parameters<'a> {
        let part = |index: usize| {
            let share = self.share(index);
            inputs.get(index).and_then(|all| all.get(direction * share..(direction + 1) * share)).unwrap_or_default()
        };
        Parameters { weights: part(WEIGHTS), recurrent: part(RECURRENT), biases: part(BIASES), peepholes: part(PEEPHOLES) }
    }

    /// Where the element of `sample` at `time` begins in the sequence.
    pub(super) fn element(&self, time: usize, sample: usize) -> usize {
        self.inputs * if self.batch_first { sample * self.steps + time } else { time * self.batch + sample }
    }

    /// Where a state of `sample` begins.
    pub(super) fn state(&self, direction: usize, sample: usize) -> usize {
        self.hidden * if self.batch_first { sample * self.directions.len() + direction } else { direction * self.batch + sample }
    }

    /// Where the hidden state of `sample` at `time` begins in the output of all of them.
    pub(super) fn output(&self, time: usize, direction: usize, sample: usize) -> usize {
        let count = self.directions.len();
        self.hidden
            * if self.batch_first {
                (sample * self.steps + time) * count + direction
            } else {
                (time * count + direction) * self.batch + sample
            }
    }

    pub(super) fn first(&self, inputs: &[&[f32]], index: usize, direction: usize, sample: usize) -> Vec<f32> {
        let start = self.state(direction, sample);
        inputs.get(index).and_then(|all| all.get(start..start + self.hidden)).map_or(vec![0.0; self.hidden], <[f32]>::to_vec)
    }

    /// The steps of one sample in one direction, in the order in which they are taken.
    pub(super) fn walk(&self, inputs: &[&[f32]], direction: usize, sample: usize) -> Vec<Step> {
        let parameters = self.parameters(inputs, direction);
        let length = inputs.get(LENGTHS).and_then(|lengths| lengths.get(sample)).map_or(self.steps, |length| length.max(0.0) as usize);
        let length = length.min(self.steps);
        let mut taken: Vec<Step> = Vec::with_capacity(length);
        for at in 0..length {
            let time = if self.directions[direction].reverse { length - 1 - at } else { at };
            let x = &inputs[SEQUENCE][self.element(time, sample)..][..self.inputs];
            let step = match taken.last() {
                Some(before) => self.step(time, x, &before.hidden, &before.cell, &parameters, direction),
                None => {
                    let [hidden, cell] = [FIRST_HIDDEN, FIRST_CELL].map(|index| self.first(inputs, index, direction, sample));
                    self.step(time, x, &hidden, &cell, &parameters, direction)
                }
            };
            taken.push(step);
        }
        taken
    }

    fn step(&self, time: usize, x: &[f32], hidden: &[f32], cell: &[f32], parameters: &Parameters<'_>, direction: usize) -> Step {
        let (size, gates, squashes) = (self.hidden, self.cell.gates() * self.hidden, &self.directions[direction].squashes);
        let from_sequence = |row: usize| parameters.bias(row) + dot(&parameters.weights[row * self.inputs..], x);
        let from_state = |row: usize, state: &[f32]| parameters.bias(gates + row) + dot(&parameters.recurrent[row * size..], state);
        let mut sums: Vec<f32> = (0..gates).map(from_sequence).collect();
        let mut step = Step { time, sums: Vec::new(), gated: Vec::new(), hidden: vec![0.0; size], cell: vec![0.0; size] };
        match self.cell {
            Cell::Simple => {
                for (at, (sum, state)) in sums.iter_mut().zip(&mut step.hidden).enumerate() {
                    *sum += from_state(at, hidden);
                    *state = self.squash(squashes[0], *sum);
                }
            }
            Cell::Gru { linear_before_reset } => {
                (0..2 * size).for_each(|row| sums[row] += from_state(row, hidden));
                let reset: Vec<f32> = (0..size).map(|at| self.squash(squashes[0], sums[size + at])).collect();
                let kept: Vec<f32> = hidden.iter().zip(&reset).map(|(h, r)| h * r).collect();
                step.gated = (2 * size..gates).map(|row| from_state(row, if linear_before_reset { hidden } else { &kept })).collect();
                for at in 0..size {
                    sums[2 * size + at] += step.gated[at] * if linear_before_reset { reset[at] } else { 1.0 };
                    let (update, new) = (self.squash(squashes[0], sums[at]), self.squash(squashes[1], sums[2 * size + at]));
                    step.hidden[at] = (1.0 - update) * new + update * hidden[at];
                }
            }
            Cell::Lstm { input_forget } => {
                (0..gates).for_each(|row| sums[row] += from_state(row, hidden));
                for at in 0..size {
                    sums[at] += parameters.peephole(at) * cell[at];
                    sums[2 * size + at] += parameters.peephole(2 * size + at) * cell[at];
                    let input = self.squash(squashes[0], sums[at]);
                    let forget = if input_forget { 1.0 - input } else { self.squash(squashes[0], sums[2 * size + at]) };
                    step.cell[at] = forget * cell[at] + input * self.squash(squashes[1], sums[3 * size + at]);
                    sums[size + at] += parameters.peephole(size + at) * step.cell[at];
                    step.hidden[at] = self.squash(squashes[0], sums[size + at]) * squashes[2].value(step.cell[at]);
                }
            }
        }
        step.sums = sums;
        step
    }
}

/// Of `b` and as many elements of `a`.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Kernel for Recurrent {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        output.fill(0.0);
        for direction in 0..self.directions.len() {
            for sample in 0..self.batch {
                let steps = self.walk(inputs, direction, sample);
                if self.wanted == Wanted::All {
                    for step in &steps {
                        output[self.output(step.time, direction, sample)..][..self.hidden].copy_from_slice(&step.hidden);
                    }
                    continue;
                }
                let index = if self.wanted == Wanted::LastHidden { FIRST_HIDDEN } else { FIRST_CELL };
                let first = self.first(inputs, index, direction, sample);
                let last = steps.last().map_or(&first, |step| if index == FIRST_HIDDEN { &step.hidden } else { &step.cell });
                output[self.state(direction, sample)..][..self.hidden].copy_from_slice(last);
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        recurrent_gradient::backward(self, call);
    }
}
