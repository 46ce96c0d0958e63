//! What distillation tunes, and in which units it moves.

use std::collections::HashMap;

use crate::emit::Student;
use crate::error::Result;
use crate::execution::adam::Moment;
use crate::execution::{Motion, Push, Tunable, Tuning};
use crate::graph::{Graph, NodeId, ValueId};
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

/// All tuned parameters.
pub struct Parameters {
    all: Vec<ValueId>,
    /// Variables of soft rounding.
    soft: Vec<ValueId>,
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

    /// The tuned parameters that `network` has, and how they move.
    ///
    /// # Errors
    /// If the device that holds them fails.
    pub fn new(network: &dyn Tunable, graph: &Graph, student: &Student, rates: Rates) -> Result<(Self, Vec<Tuning>)> {
        let mut moves: HashMap<ValueId, (Motion<Vec<f32>>, f32)> = HashMap::new();
        let consumers = graph.consumers();
        for weight in &student.weights {
            if !weight.has_headroom {
                moves.insert(weight.scale, (Motion::Multiply { most: f32::INFINITY }, rates.scale));
            }
            let soft = |(id, _): &(NodeId, usize)| graph.node(*id).is::<SoftRound>().is_some();
            if consumers[weight.value.0 as usize].iter().any(soft) {
                moves.insert(weight.value, (Motion::Round(Push::default()), rates.rounding));
                continue;
            }
            let scale = graph.constant(weight.scale).and_then(TensorData::to_f32).unwrap_or_default();
            let narrow = matches!(weight.quantizer(graph, &consumers[weight.value.0 as usize]), Ok((_, DataType::I4)));
            let rate = rates.weight * if narrow { NARROW } else { 1.0 };
            if let Some(unit) = weight_unit(network, weight.value, weight.axis, &scale, rate) {
                moves.insert(weight.value, (Motion::InUnits(unit), 1.0));
            }
        }
        for activation in student.activations.iter().filter(|activation| !activation.has_headroom) {
            moves.insert(activation.scale, (Motion::Multiply { most: activation.largest_scale }, rates.scale));
        }
        for bias in &student.biases {
            let Some(elements) = network.read_parameter(bias.value)? else { continue };
            let mean = elements.iter().map(|x| x.abs()).sum::<f32>() / elements.len().max(1) as f32;
            moves.insert(bias.value, (Motion::InUnits(vec![rates.bias * mean; elements.len()]), 1.0));
        }
        moves.retain(|value, _| network.parameter_layout(*value).is_some());
        let mut tunings: Vec<Tuning> = moves.into_iter().map(|(value, (motion, rate))| Tuning { value, motion, rate }).collect();
        tunings.sort_by_key(|tuning| tuning.value);
        let soft = tunings.iter().filter(|tuning| matches!(tuning.motion, Motion::Round(_)));
        let (all, soft) = (tunings.iter().map(|tuning| tuning.value).collect(), soft.map(|tuning| tuning.value).collect());
        Ok((Parameters { all, soft, pace: 1.0 }, tunings))
    }

    /// Rounds what is rounded softly to the nearer level.
    ///
    /// # Errors
    /// If the device that holds them fails.
    pub fn harden(&self, network: &mut dyn Tunable) -> Result<()> {
        for value in &self.soft {
            let mut elements = network.read_parameter(*value)?.unwrap_or_default();
            elements.iter_mut().for_each(|v| *v = if *v >= 0.0 { DECIDED } else { -DECIDED });
            network.write_parameter(*value, &elements)?;
        }
        network.refresh()
    }

    /// # Errors
    /// If the device that holds them fails.
    pub fn snapshot(&self, network: &dyn Tunable) -> Result<Snapshot> {
        self.all.iter().map(|value| Ok(network.read_parameter(*value)?.unwrap_or_default())).collect()
    }

    /// # Errors
    /// If the device that holds them fails.
    pub fn restore(&self, network: &mut dyn Tunable, snapshot: &Snapshot) -> Result<()> {
        self.all.iter().zip(snapshot).try_for_each(|(value, elements)| network.write_parameter(*value, elements))?;
        network.refresh()
    }

    /// Writes the parameters into the constants of `graph`.
    ///
    /// # Errors
    /// If the device that holds them fails.
    pub fn store(&self, network: &dyn Tunable, graph: &mut Graph) -> Result<()> {
        for value in &self.all {
            if let Some(tensor) = network.parameter_tensor(*value)? {
                graph.set_constant(*value, tensor);
            }
        }
        Ok(())
    }
}

/// A variable of learned rounding that has chosen its level for good.
const DECIDED: f32 = 10.0;

/// The push of soft rounding: β falls from 20 to 2 and the push grows, after a fifth of the way.
///
/// Paper: Nagel et al. 2020 (AdaRound), arXiv:2004.10568, eq. 24.
pub fn push_at(moment: Moment) -> Push {
    let way = (moment.progress() - 0.2).max(0.0) / 0.8;
    Push { beta: 20.0 - 18.0 * way, strength: 2.0 * way }
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
