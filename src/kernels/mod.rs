//! Arithmetic on plain slices: slices in, slices out, nothing known of graphs or operators.

#![allow(unsafe_code)] // Here alone: what reaches past slices says why it may.

mod activation;
mod aligned;
mod allocator;
pub mod batch_norm;
pub mod contraction;
mod convolution;
#[cfg(test)]
mod convolution_tests;
pub mod deformed;
mod depthwise;
pub mod elementwise;
pub mod fake_quantization;
mod indirect;
mod isa;
pub mod local_response;
mod matrix;
pub mod normalization;
mod outer;
pub mod polynomial;
pub mod pool;
pub mod recurrent;
mod recurrent_gradient;
pub mod reduce;
pub mod sampling;
mod scatter;
mod simd;
pub mod softmax;
mod stripe;
mod tile;
pub mod traversal;
pub mod variadic;
mod window;

pub use activation::{Activated, Activation};
pub use aligned::{AlignedBuffer, SLACK, align};
pub use allocator::return_large_blocks;
pub use convolution::Convolution;
pub use fake_quantization::FakeQuantization;
pub use isa::Isa;
pub use matrix::MatrixProduct;
pub use window::{Direction, Window};
