//! Devices of candle, opened by what the user asked for.

use candle_core::Device as Opened;

use crate::error::{Error, Result};
use crate::execution::Device;

impl Device {
    /// One of candle's devices for each that batches are shared out to; none for the tape.
    ///
    /// # Errors
    /// If the binary was built without it, or it does not answer.
    pub fn open(self) -> Result<Vec<Opened>> {
        let failed = |error: candle_core::Error| {
            let error = error.to_string();
            Error::Engine { engine: self.to_string(), reason: error.lines().next().unwrap_or("it does not answer").to_string() }
        };
        match self {
            Device::Cpu => Ok(Vec::new()),
            Device::Tensors(count) => Ok(vec![Opened::Cpu; count]),
            // A stream of our own: that of `new_cuda` is another one on every thread.
            Device::Cuda(cards) => cards.numbers().map(|number| Opened::new_cuda_with_stream(number).map_err(failed)).collect(),
            Device::Metal => Opened::new_metal(0).map(|device| vec![device]).map_err(failed),
        }
    }
}
