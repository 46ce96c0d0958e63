//! The way back through the steps of a recurrent cell.

use super::recurrent::{
    BIASES, Cell, FIRST_CELL, FIRST_HIDDEN, PEEPHOLES, Parameters, RECURRENT, Recurrent, SEQUENCE, Step, WEIGHTS, Wanted,
};
use crate::ops::operator::{BackwardCall, Gradient};

/// Gradients on their way from step to step.
struct Carried {
    hidden: Vec<f32>,
    cell: Vec<f32>,
}

/// Gradients of what the gates of one step sum up.
struct SumGradients {
    /// Of the parts from the sequence.
    sequence: Vec<f32>,
    /// Of the parts from the state; they differ where a gate acts between.
    state: Vec<f32>,
}

/// The state before a step, and the parameters that it goes through.
struct Before<'a> {
    hidden: &'a [f32],
    cell: &'a [f32],
    parameters: Parameters<'a>,
    direction: usize,
}

/// Writes the wanted gradients.
pub fn backward(recurrent: &Recurrent, call: BackwardCall<'_, '_>) {
    let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
    input_gradients.iter_mut().flatten().for_each(|gradient| {
        gradient.open();
    });
    for direction in 0..recurrent.directions.len() {
        for sample in 0..recurrent.batch {
            go_back(recurrent, inputs, output_gradient, input_gradients, direction, sample);
        }
    }
}

fn go_back(
    recurrent: &Recurrent,
    inputs: &[&[f32]],
    output_gradient: &[f32],
    gradients: &mut [Option<Gradient<'_>>],
    direction: usize,
    sample: usize,
) {
    let size = recurrent.hidden;
    let steps = recurrent.walk(inputs, direction, sample);
    let [first_hidden, first_cell] = [FIRST_HIDDEN, FIRST_CELL].map(|index| recurrent.first(inputs, index, direction, sample));
    let state = recurrent.state(direction, sample);
    let last = |wanted: Wanted| {
        if recurrent.wanted == wanted { output_gradient[state..][..size].to_vec() } else { vec![0.0; size] }
    };
    let mut carried = Carried { hidden: last(Wanted::LastHidden), cell: last(Wanted::LastCell) };
    for (at, step) in steps.iter().enumerate().rev() {
        if recurrent.wanted == Wanted::All {
            let start = recurrent.output(step.time, direction, sample);
            add(&output_gradient[start..][..size], 1.0, &mut carried.hidden);
        }
        let (hidden, cell) = match at.checked_sub(1).map(|before| &steps[before]) {
            Some(step) => (&step.hidden, &step.cell),
            None => (&first_hidden, &first_cell),
        };
        let before = Before { hidden, cell, parameters: recurrent.parameters(inputs, direction), direction };
        let sums = match recurrent.cell {
            Cell::Simple => through_simple(recurrent, step, &before, &mut carried),
            Cell::Gru { linear_before_reset } => through_gru(recurrent, step, &before, &mut carried, linear_before_reset, gradients),
            Cell::Lstm { input_forget } => through_lstm(recurrent, step, &before, &mut carried, input_forget, gradients),
        };
        let x = recurrent.element(step.time, sample);
        give(recurrent, &sums, &before, (x, &inputs[SEQUENCE][x..][..recurrent.inputs]), &mut carried, gradients);
    }
    for (index, carried) in [(FIRST_HIDDEN, &carried.hidden), (FIRST_CELL, &carried.cell)] {
        if let Some(Some(gradient)) = gradients.get_mut(index) {
            add(carried, 1.0, &mut gradient.values[state..][..size]);
        }
    }
}

fn add(values: &[f32], factor: f32, target: &mut [f32]) {
    target.iter_mut().zip(values).for_each(|(target, value)| *target += factor * value);
}

fn through_simple(recurrent: &Recurrent, step: &Step, before: &Before<'_>, carried: &mut Carried) -> SumGradients {
    let squash = recurrent.directions[before.direction].squashes[0];
    let slopes = step.sums.iter().map(|sum| recurrent.slope(squash, *sum));
    let sums: Vec<f32> = carried.hidden.iter().zip(slopes).map(|(g, slope)| g * slope).collect();
    carried.hidden.fill(0.0);
    SumGradients { state: sums.clone(), sequence: sums }
}

fn through_gru(
    recurrent: &Recurrent,
    step: &Step,
    before: &Before<'_>,
    carried: &mut Carried,
    linear_before_reset: bool,
    gradients: &mut [Option<Gradient<'_>>],
) -> SumGradients {
    let (size, squashes) = (recurrent.hidden, &recurrent.directions[before.direction].squashes);
    let gate = |at: usize| (recurrent.squash(squashes[0], step.sums[at]), recurrent.slope(squashes[0], step.sums[at]));
    let mut sequence = vec![0.0; 3 * size];
    for at in 0..size {
        let (update, slope) = gate(at);
        let new = recurrent.squash(squashes[1], step.sums[2 * size + at]);
        sequence[at] = carried.hidden[at] * (before.hidden[at] - new) * slope;
        sequence[2 * size + at] = carried.hidden[at] * (1.0 - update) * recurrent.slope(squashes[1], step.sums[2 * size + at]);
        carried.hidden[at] *= update;
    }
    let mut state = sequence.clone();
    if linear_before_reset {
        for at in 0..size {
            let (reset, slope) = gate(size + at);
            state[2 * size + at] *= reset;
            sequence[size + at] = sequence[2 * size + at] * step.gated[at] * slope;
            state[size + at] = sequence[size + at];
        }
        return SumGradients { sequence, state };
    }
    // The last gate reads the state behind the reset gate, not the state itself.
    let kept: Vec<f32> = (0..size).map(|at| gate(size + at).0 * before.hidden[at]).collect();
    let mut behind = vec![0.0; size];
    for (row, g) in state.iter().enumerate().skip(2 * size) {
        add(&before.parameters.recurrent[row * size..][..size], *g, &mut behind);
        let start = before.direction * recurrent.share(RECURRENT) + row * size;
        if let Some(Some(gradient)) = gradients.get_mut(RECURRENT) {
            add(&kept, *g, &mut gradient.values[start..][..size]);
        }
    }
    for at in 0..size {
        let (reset, slope) = gate(size + at);
        sequence[size + at] = behind[at] * before.hidden[at] * slope;
        state[size + at] = sequence[size + at];
        carried.hidden[at] += behind[at] * reset;
    }
    SumGradients { sequence, state }
}

fn through_lstm(
    recurrent: &Recurrent,
    step: &Step,
    before: &Before<'_>,
    carried: &mut Carried,
    input_forget: bool,
    gradients: &mut [Option<Gradient<'_>>],
) -> SumGradients {
    let (size, squashes) = (recurrent.hidden, &recurrent.directions[before.direction].squashes);
    let gate = |at: usize| (recurrent.squash(squashes[0], step.sums[at]), recurrent.slope(squashes[0], step.sums[at]));
    let mut sums = vec![0.0; 4 * size];
    for at in 0..size {
        let ((input, input_slope), (output, output_slope)) = (gate(at), gate(size + at));
        let (forget, forget_slope) = if input_forget { (1.0 - input, 0.0) } else { gate(2 * size + at) };
        let new = recurrent.squash(squashes[1], step.sums[3 * size + at]);
        let peephole = |gate: usize| before.parameters.peephole(gate * size + at);
        sums[size + at] = carried.hidden[at] * squashes[2].value(step.cell[at]) * output_slope;
        let cell = carried.cell[at] + carried.hidden[at] * output * squashes[2].slope(step.cell[at]) + sums[size + at] * peephole(1);
        let kept = if input_forget { before.cell[at] } else { 0.0 };
        sums[at] = cell * (new - kept) * input_slope;
        sums[2 * size + at] = cell * before.cell[at] * forget_slope;
        sums[3 * size + at] = cell * input * recurrent.slope(squashes[1], step.sums[3 * size + at]);
        carried.cell[at] = cell * forget + sums[at] * peephole(0) + sums[2 * size + at] * peephole(2);
        if let Some(Some(gradient)) = gradients.get_mut(PEEPHOLES) {
            let seen = [before.cell[at], step.cell[at], before.cell[at]];
            for (gate, seen) in seen.into_iter().enumerate() {
                gradient.values[before.direction * 3 * size + gate * size + at] += sums[gate * size + at] * seen;
            }
        }
    }
    carried.hidden.fill(0.0);
    SumGradients { state: sums.clone(), sequence: sums }
}

/// Brings the gradients of the sums to the weights, the element `x` of the sequence and the state before.
fn give(
    recurrent: &Recurrent,
    sums: &SumGradients,
    before: &Before<'_>,
    (place, x): (usize, &[f32]),
    carried: &mut Carried,
    gradients: &mut [Option<Gradient<'_>>],
) {
    let (size, width, gates) = (recurrent.hidden, recurrent.inputs, sums.sequence.len());
    let start = |index: usize| before.direction * recurrent.share(index);
    // The last gate of this cell has been seen to.
    let is_done = |row: usize| recurrent.cell == (Cell::Gru { linear_before_reset: false }) && row >= 2 * size;
    for row in 0..gates {
        let (from_sequence, from_state) = (sums.sequence[row], sums.state[row]);
        if let Some(Some(gradient)) = gradients.get_mut(SEQUENCE) {
            add(&before.parameters.weights[row * width..][..width], from_sequence, &mut gradient.values[place..][..width]);
        }
        if let Some(Some(gradient)) = gradients.get_mut(WEIGHTS) {
            add(x, from_sequence, &mut gradient.values[start(WEIGHTS) + row * width..][..width]);
        }
        if let Some(Some(gradient)) = gradients.get_mut(BIASES) {
            gradient.values[start(BIASES) + row] += from_sequence;
            gradient.values[start(BIASES) + gates + row] += from_state;
        }
        if is_done(row) {
            continue;
        }
        if let Some(Some(gradient)) = gradients.get_mut(RECURRENT) {
            add(before.hidden, from_state, &mut gradient.values[start(RECURRENT) + row * size..][..size]);
        }
        add(&before.parameters.recurrent[row * size..][..size], from_state, &mut carried.hidden);
    }
}
