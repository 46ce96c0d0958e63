//! What distillation tunes, and in which units it moves.

use std::collections::HashMap;

use crate::emit::Student;
use crate::error::Result;
use crate::execution::Tunable;
use crate::execution::adam::{Adam, Decay, Moment};
use crate::graph::{Graph, NodeId, ValueId};
use crate::kernels::Isa;
use crate::ops::SoftRound;
use crate::tensor::{DataType, TensorData};

/// Learning rates, each in the unit natural to what it moves.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Weights: quantization steps of their channel; of those of 4 bits, which are larger, a fifth.
    pub weight: f32,
    /// Biases: parts of their mean magnitude.
    pub bias: f32,
    /// Scales of weights and activations: parts of themselves.
    pub scale: f32,
    /// Variables of learned rounding.
    pub rounding: f32,
}

/// What a step of weights of 4 bits, which are 16 times as large as those of 8, counts: at the full rate they swing between
/// levels until the rates fall.
const NARROW: f32 = 0.2;

impl Rates {
    pub const USUAL: Rates = Rates { weight: 0.05, bias: 0.005, scale: 0.003, rounding: 0.02 };
}

enum Move {
    /// Adds direction × rate × unit (per element).
    Add { unit: Vec<f32> },
    /// Multiplies by 1 − direction × rate, up to `most`.
    Multiply { rate: f32, most: f32 },
    /// The variable of a SoftRound: moves freely at first and is pushed to the nearer level ever more.
    Round { rate: f32 },
}

struct Parameter {
    value: ValueId,
    adam: Adam,
    how: Move,
}

/// All tuned parameters with their optimizer states.
pub struct Parameters {
    all: Vec<Parameter>,
    /// Part of the rates that is used.
    pub pace: f32,
}

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

    pub fn new(network: &dyn Tunable, graph: &Graph, student: &Student, rates: Rates) -> Self {
        let mut moves: HashMap<ValueId, Move> = HashMap::new();
        let consumers = graph.consumers();
        for weight in &student.weights {
            moves.insert(weight.scale, Move::Multiply { rate: rates.scale, most: f32::INFINITY });
            let soft = |(id, _): &(NodeId, usize)| graph.node(*id).is::<SoftRound>().is_some();
            if consumers[weight.value.0 as usize].iter().any(soft) {
                moves.insert(weight.value, Move::Round { rate: rates.rounding });
                continue;
            }
            let scale = graph.constant(weight.scale).and_then(TensorData::to_f32).unwrap_or_default();
            let narrow = matches!(weight.quantizer(graph, &consumers[weight.value.0 as usize]), Ok((_, DataType::I4)));
            let rate = rates.weight * if narrow { NARROW } else { 1.0 };
            if let Some(unit) = weight_unit(network, weight.value, weight.axis, &scale, rate) {
                moves.insert(weight.value, Move::Add { unit });
            }
        }
        for activation in &student.activations {
            moves.insert(activation.scale, Move::Multiply { rate: rates.scale, most: activation.largest_scale });
        }
        for bias in &student.biases {
            let Some(elements) = network.parameter(bias.value) else { continue };
            let mean = elements.iter().map(|x| x.abs()).sum::<f32>() / elements.len().max(1) as f32;
            moves.insert(bias.value, Move::Add { unit: vec![rates.bias * mean; elements.len()] });
        }
        let mut parameters: Vec<Parameter> = moves
            .into_iter()
            .filter_map(|(value, how)| Some(Parameter { value, adam: Adam::new(network.parameter(value)?.len(), Decay::USUAL), how }))
            .collect();
        parameters.sort_by_key(|parameter| parameter.value);
        Parameters { all: parameters, pace: 1.0 }
    }

    /// Moves every parameter against its gradient, ever less.
    ///
    /// # Errors
    /// If the device that holds them fails.
    pub fn step(&mut self, network: &mut dyn Tunable, gradients: &mut HashMap<ValueId, Vec<f32>>, moment: Moment, isa: Isa) -> Result<()> {
        let factor = self.pace * moment.rate();
        for Parameter { value, adam, how } in &mut self.all {
            let (Some(gradient), Some(elements)) = (gradients.get_mut(value), network.parameter_mut(*value)) else { continue };
            adam.direct(gradient, isa);
            match how {
                Move::Add { unit } => {
                    elements.iter_mut().zip(gradient).zip(unit).for_each(|((x, direction), unit)| *x -= factor * *unit * *direction);
                }
                Move::Multiply { rate, most } => {
                    let moved = |direction: f32| (1.0 - factor * *rate * direction).clamp(0.5, 2.0);
                    elements.iter_mut().zip(gradient).for_each(|(x, direction)| *x = (*x * moved(*direction)).min(*most));
                }
                Move::Round { rate } => {
                    let push = Push::at(moment);
                    elements.iter_mut().zip(gradient).for_each(|(v, direction)| *v += factor * *rate * (push.of(*v) - *direction));
                }
            }
        }
        network.refresh()
    }

    /// Rounds what is rounded softly to the nearer level.
    ///
    /// # Errors
    /// If the device that holds them fails.
    pub fn harden(&self, network: &mut dyn Tunable) -> Result<()> {
        for Parameter { value, how, .. } in &self.all {
            if let (Move::Round { .. }, Some(elements)) = (how, network.parameter_mut(*value)) {
                elements.iter_mut().for_each(|v| *v = if *v >= 0.0 { DECIDED } else { -DECIDED });
            }
        }
        network.refresh()
    }

    /// The states of the optimizers, for [`Parameters::restore_optimizers`].
    pub fn optimizers(&self) -> Vec<Adam> {
        self.all.iter().map(|parameter| parameter.adam.clone()).collect()
    }

    pub fn restore_optimizers(&mut self, optimizers: Vec<Adam>) {
        self.all.iter_mut().zip(optimizers).for_each(|(parameter, adam)| parameter.adam = adam);
    }

    pub fn snapshot(&self, network: &dyn Tunable) -> Snapshot {
        self.all.iter().map(|parameter| network.parameter(parameter.value).unwrap_or_default().to_vec()).collect()
    }

    /// # Errors
    /// If the device that holds them fails.
    pub fn restore(&self, network: &mut dyn Tunable, snapshot: &Snapshot) -> Result<()> {
        for (parameter, elements) in self.all.iter().zip(snapshot) {
            if let Some(memory) = network.parameter_mut(parameter.value) {
                memory.copy_from_slice(elements);
            }
        }
        network.refresh()
    }

    /// Writes the parameters into the constants of `graph`.
    pub fn store(&self, network: &dyn Tunable, graph: &mut Graph) {
        for parameter in &self.all {
            if let Some(tensor) = network.parameter_tensor(parameter.value) {
                graph.set_constant(parameter.value, tensor);
            }
        }
    }
}

/// A variable of learned rounding that has chosen its level for good.
const DECIDED: f32 = 10.0;

/// What drives soft rounding to a level: the slope of |2h − 1|^β, with β falling from 20 to 2 and the push growing, after a
/// fifth of the way. Where AdaRound adds this to the loss, here it stands beside Adam's direction, whose size is 1, so
/// that it needs no weight of its own.
///
/// Paper: Nagel et al. 2020 (AdaRound), arXiv:2004.10568, eq. 24.
struct Push {
    beta: f32,
    strength: f32,
}

impl Push {
    fn at(moment: Moment) -> Push {
        let way = (moment.progress() - 0.2).max(0.0) / 0.8;
        Push { beta: 20.0 - 18.0 * way, strength: 2.0 * way }
    }

    fn of(&self, v: f32) -> f32 {
        let side = 2.0 * SoftRound::part(v) - 1.0;
        self.strength * side.signum() * side.abs().powf(self.beta - 1.0)
    }
}

/// `rate` × scale of the channel that each element belongs to, in memory order.
fn weight_unit(network: &dyn Tunable, value: ValueId, axis: Option<usize>, scale: &[f32], rate: f32) -> Option<Vec<f32>> {
    let layout = network.parameter_layout(value)?;
    let mut unit = vec![0.0; layout.len()];
    let inner: usize = axis.map_or(layout.len(), |axis| layout.shape[axis + 1..].iter().product());
    for (index, offset) in layout.offsets().into_iter().enumerate() {
        unit[offset] = rate * scale.get(index / inner.max(1) % scale.len().max(1)).copied().unwrap_or(0.0);
    }
    Some(unit)
}
