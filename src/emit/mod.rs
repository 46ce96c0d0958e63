//! Writing a plan into the graph.

mod float16;
mod float16_rounding;
mod four_bits;
mod insert;
mod names;
mod qoperator;
mod seal;
mod shields;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod weight_levels;

pub use float16::{Float16Report, to_float16};
pub use float16_rounding::round_to_float16;
pub use insert::{Student, TunedActivation, TunedBias, TunedWeight, insert};
pub use qoperator::to_qoperator;
pub use seal::seal;
pub use verify::{NO_INTEGER_KERNEL, verify};
pub use weight_levels::balance_weights;
