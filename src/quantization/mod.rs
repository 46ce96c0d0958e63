//! Which value becomes which integer.

mod params;

pub use params::QuantParams;
