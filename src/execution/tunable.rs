//! Constants of a compiled graph that may change.

use super::motion::Motion;
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::operator::Layout;
use crate::tensor::TensorData;

/// A compiled graph with parameters.
pub trait Tunable {
    /// Elements of a parameter in memory order, brought to the host where they are not there; `None` if it is no parameter.
    ///
    /// # Errors
    /// If the device that holds them fails.
    fn read_parameter(&self, value: ValueId) -> Result<Option<Vec<f32>>>;

    /// Changes all elements of a parameter; call [`Tunable::refresh`] afterwards.
    ///
    /// # Errors
    /// If it is no parameter or has not as many elements, or the device that holds them fails.
    fn write_parameter(&mut self, value: ValueId, elements: &[f32]) -> Result<()>;

    fn parameter_layout(&self, value: ValueId) -> Option<&Layout>;

    /// Takes new elements of parameters into account.
    ///
    /// # Errors
    /// If the device that holds them fails.
    fn refresh(&mut self) -> Result<()>;

    /// A parameter as a tensor at rest.
    ///
    /// # Errors
    /// As [`Tunable::read_parameter`].
    fn parameter_tensor(&self, value: ValueId) -> Result<Option<TensorData>> {
        let (Some(memory), Some(layout)) = (self.read_parameter(value)?, self.parameter_layout(value)) else { return Ok(None) };
        Ok(Some(TensorData::new(&layout.shape, layout.offsets().into_iter().map(|offset| memory[offset]).collect())))
    }
}

/// A parameter that is to move, and how.
#[derive(Clone, Debug)]
pub struct Tuning {
    pub value: ValueId,
    /// Holds numbers in the order of [`Tunable::read_parameter`]'s.
    pub motion: Motion<Vec<f32>>,
    pub rate: f32,
}
