//! Arithmetic on plain slices: slices in, slices out, nothing known of graphs or operators.

mod convolution;
mod correlation;
mod depthwise;
mod fake_quantization;
mod isa;
mod matrix;
mod simd;

pub use convolution::{Convolution, Geometry};
pub use fake_quantization::FakeQuantization;
pub use isa::Isa;
pub use matrix::MatrixProduct;
