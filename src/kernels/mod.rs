//! Arithmetic on plain slices: slices in, slices out, nothing known of graphs or operators.

mod aligned;
mod convolution;
#[cfg(test)]
mod convolution_tests;
mod depthwise;
mod fake_quantization;
mod indirect;
mod isa;
mod matrix;
mod outer;
mod scatter;
mod simd;
mod stripe;
mod tile;
mod window;

pub use aligned::{AlignedBuffer, SLACK, align};
pub use convolution::Convolution;
pub use fake_quantization::FakeQuantization;
pub use isa::Isa;
pub use matrix::MatrixProduct;
pub use window::{Direction, Window};
