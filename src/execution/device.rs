//! Where graphs run.

use std::fmt;

use crate::error::Error;

/// Graphics cards by their numbers, below 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cards(u64);

impl Cards {
    /// Numbers above 63 are left out; `None` if none is left.
    pub fn new(numbers: impl IntoIterator<Item = usize>) -> Option<Self> {
        let bits = numbers.into_iter().filter(|number| *number < 64).fold(0, |bits, number| bits | 1 << number);
        (bits != 0).then_some(Cards(bits))
    }

    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |number| self.0 >> number & 1 == 1)
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The tape: our own kernels.
    #[default]
    Cpu,
    /// candle on CUDA, the samples of a batch shared out to all cards.
    Cuda(Cards),
    /// candle on Metal.
    Metal,
    /// candle on the CPU, as if there were so many cards: what can be tested of the engine for cards without one.
    Tensors(usize),
}

impl Device {
    pub fn is_tape(self) -> bool {
        self == Device::Cpu
    }

    /// What to say where the binary was built without this device.
    pub fn is_not_built(self) -> Error {
        let built = "this binary was built without it: use --device cpu, or one built with --features cuda or metal";
        Error::Usage(format!("--device {self}: {built}"))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(cards) => write!(f, "cuda:{}", cards.numbers().map(|number| number.to_string()).collect::<Vec<_>>().join(",")),
            Device::Metal => f.write_str("metal"),
            Device::Tensors(_) => f.write_str("tensors"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_a_set_of_numbers() {
        let cards = Cards::new([3, 0, 3, 70]).unwrap();
        assert_eq!(cards.numbers().collect::<Vec<_>>(), [0, 3]);
        assert_eq!(Device::Cuda(cards).to_string(), "cuda:0,3");
        assert_eq!((Cards::new([]), Cards::new([64])), (None, None));
    }
}
