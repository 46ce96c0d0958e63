//! Parameters of a tape, and what moves them.

use std::collections::HashMap;

use super::Tape;
use crate::error::{Error, Result};
use crate::execution::adam::{Adam, Decay};
use crate::execution::{Push, Tunable, Tuning};
use crate::graph::ValueId;
use crate::kernels::Isa;
use crate::ops::operator::Layout;

impl Tape {
    /// Elements of a parameter in memory order.
    pub fn parameter(&self, value: ValueId) -> Option<&[f32]> {
        self.parameters.get(&value).map(|(index, _)| self.shared[*index].as_slice())
    }

    /// As above; call [`Tunable::refresh`] after changing them.
    pub fn parameter_mut(&mut self, value: ValueId) -> Option<&mut [f32]> {
        let (index, _) = self.parameters.get(&value)?;
        Some(&mut self.shared[*index])
    }
}

impl Tunable for Tape {
    fn read_parameter(&self, value: ValueId) -> Result<Option<Vec<f32>>> {
        Ok(self.parameter(value).map(<[f32]>::to_vec))
    }

    fn write_parameter(&mut self, value: ValueId, elements: &[f32]) -> Result<()> {
        match self.parameter_mut(value).filter(|memory| memory.len() == elements.len()) {
            Some(memory) => memory.copy_from_slice(elements),
            None => return Err(Error::Internal("what is changed is another parameter".into())),
        }
        Ok(())
    }

    fn parameter_layout(&self, value: ValueId) -> Option<&Layout> {
        self.parameters.get(&value).map(|(_, layout)| layout)
    }

    fn refresh(&mut self) -> Result<()> {
        self.share_changes();
        Ok(())
    }
}

/// Parameters with their optimizers.
pub struct Tuner {
    all: Vec<(Tuning, Adam)>,
    pub isa: Isa,
}

impl Tuner {
    /// Those of `tunings` that are parameters of `tape`.
    pub fn new(tape: &Tape, tunings: Vec<Tuning>, isa: Isa) -> Self {
        let optimized = |tuning: Tuning| {
            let len = tape.parameter(tuning.value)?.len();
            Some((tuning, Adam::new(len, Decay::USUAL)))
        };
        Tuner { all: tunings.into_iter().filter_map(optimized).collect(), isa }
    }

    /// Moves every parameter against its gradient, with `factor` of its rate.
    ///
    /// # Errors
    /// If one has no gradient.
    pub fn step(&mut self, tape: &mut Tape, gradients: &HashMap<ValueId, Vec<f32>>, factor: f32, push: Push) -> Result<()> {
        for (Tuning { value, motion, rate }, adam) in &mut self.all {
            let (Some(gradient), Some(elements)) = (gradients.get(value), tape.parameter_mut(*value)) else {
                return Err(Error::Internal("a parameter has no gradient".into()));
            };
            motion.push(push);
            adam.step(elements, gradient, &motion.map(Vec::as_slice), factor * *rate, self.isa);
        }
        tape.refresh()
    }

    /// The states of the optimizers, for [`Tuner::restore`].
    pub fn optimizers(&self) -> Vec<Adam> {
        self.all.iter().map(|(_, adam)| adam.clone()).collect()
    }

    pub fn restore(&mut self, optimizers: Vec<Adam>) {
        self.all.iter_mut().zip(optimizers).for_each(|((_, adam), kept)| *adam = kept);
    }
}
