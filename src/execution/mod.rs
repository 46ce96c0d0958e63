//! Running a graph, forward and backward. Nothing outside this folder sees how.

pub mod adam;
#[cfg(feature = "candle")]
pub mod candle;
mod device;
mod motion;
pub mod tape;
#[cfg(test)]
pub mod tests;
mod tunable;

use std::collections::HashSet;

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::kernels::Isa;
use crate::memory;
use crate::passes::single_sample;
pub use device::{Cards, Device};
pub use motion::{Motion, Push};
use tape::{Lane, Request, Tape};
pub use tunable::{Tunable, Tuning};

/// How to run. Results depend on `isa`, never on the number of threads (rayon's global pool).
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub isa: Isa,
    /// Where images are synthesized and networks tuned; everything else runs on the tape.
    pub device: Device,
}

impl Config {
    /// On the tape.
    pub fn new(isa: Isa) -> Self {
        Config { isa, device: Device::Cpu }
    }

    /// What results depend on: the instruction set of the tape, or the device.
    pub fn engine_name(&self) -> String {
        if self.device.is_tape() { self.isa.name().to_string() } else { self.device.to_string() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::new(Isa::detect())
    }
}

/// Runs `graph` on each sample of `set` and calls `visit(sample, elements)` in sample order, with the elements of each
/// of `values` in memory order (the same order for every sample; `NHWC` for rank 3 and more).
///
/// # Errors
/// If a value cannot be computed: the foreign or refused nodes before it, all at once.
pub fn observe(
    graph: &Graph,
    values: &[ValueId],
    set: &CalibrationSet,
    config: &Config,
    visit: &mut dyn FnMut(usize, &[&[f32]]),
) -> Result<()> {
    run(graph, values, set, config, &mut |sample, tape, lane| {
        let elements: Result<Vec<&[f32]>> = values.iter().map(|value| tape.read(lane, *value)).collect();
        visit(sample, &elements?);
        Ok(())
    })
}

/// Runs `graph` on each sample of `set` and returns the row-major `values`, samples stacked along a new first axis.
///
/// # Errors
/// As [`observe`].
pub fn evaluate(graph: &Graph, values: &[ValueId], set: &CalibrationSet, config: &Config) -> Result<Vec<ArrayD<f32>>> {
    let mut stacks: Vec<(Vec<usize>, Vec<f32>)> = values.iter().map(|_| (Vec::new(), Vec::new())).collect();
    run(graph, values, set, config, &mut |_, tape, lane| {
        for (value, (shape, elements)) in values.iter().zip(&mut stacks) {
            let layout = tape.layout(*value).ok_or_else(|| Error::Internal("a value was not asked for".into()))?;
            let memory = tape.read(lane, *value)?;
            shape.clone_from(&layout.shape);
            elements.extend(layout.offsets().into_iter().map(|offset| memory[offset]));
        }
        Ok(())
    })?;
    let stack = |(shape, elements): (Vec<usize>, Vec<f32>)| {
        let shape: Vec<usize> = std::iter::once(set.len()).chain(shape).collect();
        ArrayD::from_shape_vec(IxDyn(&shape), elements).map_err(|error| Error::Internal(error.to_string()))
    };
    stacks.into_iter().map(stack).collect()
}

/// The first node whose outputs are not finite numbers on the first sample, though its inputs are; `None` where there is none,
/// or it cannot be told.
pub fn first_not_finite<'a>(graph: &'a Graph, set: &CalibrationSet, config: &Config) -> Option<&'a Node> {
    let outputs = |node: &Node| node.outputs.iter().flatten().copied().collect::<Vec<ValueId>>();
    let nodes: Vec<(&Node, Vec<ValueId>)> = graph.nodes().map(|(_, node)| (node, outputs(node))).collect();
    let values: Vec<ValueId> = nodes.iter().flat_map(|(_, outputs)| outputs.iter().copied()).collect();
    let mut broken = HashSet::new();
    let first = set.slice(0..set.len().min(1));
    let mut note = |_: usize, elements: &[&[f32]]| {
        let lost = values.iter().zip(elements).filter(|(_, elements)| elements.iter().any(|x| !x.is_finite()));
        broken.extend(lost.map(|(value, _)| *value));
    };
    observe(graph, &values, &first, config, &mut note).ok()?;
    nodes.into_iter().find(|(_, outputs)| outputs.iter().any(|value| broken.contains(value))).map(|(node, _)| node)
}

fn run(
    graph: &Graph,
    values: &[ValueId],
    set: &CalibrationSet,
    config: &Config,
    visit: &mut dyn FnMut(usize, &Tape, &Lane) -> Result<()>,
) -> Result<()> {
    let graph = single_sample(graph)?;
    check_samples(&graph, set)?;
    let tape = Tape::compile(&graph, &Request { targets: values, seeds: &[], input_gradients: false, parameters: &[], isa: config.isa })?;
    let most = rayon::current_num_threads().min(set.len());
    let mut lanes: Vec<Lane> = (0..memory::fit(tape.lane_bytes(), most, "one sample's activations")?).map(|_| tape.lane()).collect();
    let samples: Vec<usize> = (0..set.len()).collect();
    for group in samples.chunks(lanes.len().max(1)) {
        lanes.par_iter_mut().zip(group).try_for_each(|(lane, sample)| -> Result<()> {
            for (index, input) in set.inputs.iter().enumerate() {
                tape.load(lane, index, &input.sample(*sample)?);
            }
            tape.forward(lane);
            Ok(())
        })?;
        for (lane, sample) in lanes.iter().zip(group) {
            visit(*sample, &tape, lane)?;
        }
    }
    Ok(())
}

/// Checks that `set` has what the inputs of `graph` (of one sample) take.
fn check_samples(graph: &Graph, set: &CalibrationSet) -> Result<()> {
    if set.inputs.len() != graph.inputs.len() {
        return Err(Error::Data(format!("the model has {} inputs, the set {}", graph.inputs.len(), set.inputs.len())));
    }
    for (value, samples) in graph.inputs.iter().zip(&set.inputs) {
        let value = graph.value(*value);
        let shape = value.shape.as_deref().and_then(crate::graph::known_shape);
        if shape.as_deref() != Some(&samples.shape) {
            let wanted = shape.map_or("unknown".to_string(), |shape| format!("{shape:?}"));
            return Err(Error::Data(format!("input `{}` takes {wanted}, the set holds {:?}", value.name, samples.shape)));
        }
    }
    Ok(())
}
