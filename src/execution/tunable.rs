//! Constants of a compiled graph that may change.

use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::operator::Layout;
use crate::tensor::TensorData;

/// A compiled graph with parameters.
pub trait Tunable {
    /// Elements of a parameter in memory order.
    fn parameter(&self, value: ValueId) -> Option<&[f32]>;

    /// As above; call [`Tunable::refresh`] after changing them.
    fn parameter_mut(&mut self, value: ValueId) -> Option<&mut [f32]>;

    fn parameter_layout(&self, value: ValueId) -> Option<&Layout>;

    /// Takes new elements of parameters into account.
    ///
    /// # Errors
    /// If the device that holds them fails.
    fn refresh(&mut self) -> Result<()>;

    /// A parameter as a tensor at rest.
    fn parameter_tensor(&self, value: ValueId) -> Option<TensorData> {
        let (memory, layout) = (self.parameter(value)?, self.parameter_layout(value)?);
        Some(TensorData::new(&layout.shape, layout.offsets().into_iter().map(|offset| memory[offset]).collect()))
    }
}
