//! What distillation tunes, and in which units it moves.

use std::collections::HashMap;

use crate::emit::Student;
use crate::execution::adam::{Adam, Decay};
use crate::execution::tape::Tape;
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;
use crate::tensor::TensorData;

/// Learning rates, each in the unit natural to what it moves.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Weights: quantization steps of their channel.
    pub weight: f32,
    /// Biases: parts of their mean magnitude.
    pub bias: f32,
    /// Scales of weights and activations: parts of themselves.
    pub scale: f32,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { weight: 0.05, bias: 0.005, scale: 0.003 }
    }
}

enum Move {
    /// Adds direction × rate × unit (per element).
    Add { unit: Vec<f32> },
    /// Multiplies by 1 − direction × rate, up to `most`.
    Multiply { rate: f32, most: f32 },
}

struct Parameter {
    value: ValueId,
    adam: Adam,
    how: Move,
}

/// All tuned parameters with their optimizer states.
pub struct Parameters(Vec<Parameter>);

/// Values of all parameters at one moment.
pub type Snapshot = Vec<Vec<f32>>;

impl Parameters {
    /// Constants of `graph` that distillation tunes.
    pub fn values(student: &Student) -> Vec<ValueId> {
        let mut values: Vec<ValueId> = student.weights.iter().flat_map(|weight| [weight.value, weight.scale]).collect();
        values.extend(student.activations.iter().map(|activation| activation.scale));
        values.extend(student.biases.iter().map(|bias| bias.value));
        values.sort_unstable();
        values.dedup();
        values
    }

    pub fn new(tape: &Tape, graph: &Graph, student: &Student, rates: Rates) -> Self {
        let mut moves: HashMap<ValueId, Move> = HashMap::new();
        for weight in &student.weights {
            let scale = graph.constant(weight.scale).and_then(TensorData::to_f32).unwrap_or_default();
            if let Some(unit) = weight_unit(tape, weight.value, weight.axis, &scale, rates.weight) {
                moves.insert(weight.value, Move::Add { unit });
            }
            moves.insert(weight.scale, Move::Multiply { rate: rates.scale, most: f32::INFINITY });
        }
        for activation in &student.activations {
            moves.insert(activation.scale, Move::Multiply { rate: rates.scale, most: activation.largest_scale });
        }
        for bias in &student.biases {
            let Some(elements) = tape.parameter(bias.value) else { continue };
            let mean = elements.iter().map(|x| x.abs()).sum::<f32>() / elements.len().max(1) as f32;
            moves.insert(bias.value, Move::Add { unit: vec![rates.bias * mean; elements.len()] });
        }
        let mut parameters: Vec<Parameter> = moves
            .into_iter()
            .filter_map(|(value, how)| Some(Parameter { value, adam: Adam::new(tape.parameter(value)?.len(), Decay::USUAL), how }))
            .collect();
        parameters.sort_by_key(|parameter| parameter.value);
        Parameters(parameters)
    }

    /// Moves every parameter against its gradient, scaled by `factor`.
    pub fn step(&mut self, tape: &mut Tape, gradients: &mut HashMap<ValueId, Vec<f32>>, factor: f32, isa: Isa) {
        for Parameter { value, adam, how } in &mut self.0 {
            let (Some(gradient), Some(elements)) = (gradients.get_mut(value), tape.parameter_mut(*value)) else { continue };
            adam.direct(gradient, isa);
            match how {
                Move::Add { unit } => {
                    elements.iter_mut().zip(gradient).zip(unit).for_each(|((x, direction), unit)| *x -= factor * *unit * *direction);
                }
                Move::Multiply { rate, most } => {
                    let moved = |direction: f32| (1.0 - factor * *rate * direction).clamp(0.5, 2.0);
                    elements.iter_mut().zip(gradient).for_each(|(x, direction)| *x = (*x * moved(*direction)).min(*most));
                }
            }
        }
        tape.refresh();
    }

    pub fn snapshot(&self, tape: &Tape) -> Snapshot {
        self.0.iter().map(|parameter| tape.parameter(parameter.value).unwrap_or_default().to_vec()).collect()
    }

    pub fn restore(&self, tape: &mut Tape, snapshot: &Snapshot) {
        for (parameter, elements) in self.0.iter().zip(snapshot) {
            if let Some(memory) = tape.parameter_mut(parameter.value) {
                memory.copy_from_slice(elements);
            }
        }
        tape.refresh();
    }

    /// Writes the tape's parameters into the constants of `graph`.
    pub fn store(&self, tape: &Tape, graph: &mut Graph) {
        for parameter in &self.0 {
            if let Some(tensor) = tape.parameter_tensor(parameter.value) {
                graph.set_constant(parameter.value, tensor);
            }
        }
    }
}

/// `rate` × scale of the channel that each element belongs to, in memory order.
fn weight_unit(tape: &Tape, value: ValueId, axis: Option<usize>, scale: &[f32], rate: f32) -> Option<Vec<f32>> {
    let layout = tape.parameter_layout(value)?;
    let mut unit = vec![0.0; layout.len()];
    let inner: usize = axis.map_or(layout.len(), |axis| layout.shape[axis + 1..].iter().product());
    for (index, offset) in layout.offsets().into_iter().enumerate() {
        unit[offset] = rate * scale.get(index / inner.max(1) % scale.len().max(1)).copied().unwrap_or(0.0);
    }
    Some(unit)
}
