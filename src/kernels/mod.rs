//! Arithmetic on plain slices: slices in, slices out, nothing known of graphs or operators.

pub mod batch_norm;
pub mod elementwise;
pub mod fake_quantization;
mod isa;
pub mod polynomial;
pub mod pool;
pub mod reduce;
pub mod softmax;
pub mod traversal;
pub mod variadic;

pub use isa::Isa;
