//! zeroq quantizes ONNX networks without data.
//!
//! The folders are the stations of one run, in order:
//! `onnx` reads a file into a [`graph`] of [`ops`], `passes` rewrite it, [`execution`] runs it forward and backward,
//! `synthesis` makes images from BatchNorm statistics, [`calibration`] collects ranges, [`quantization`] decides what
//! becomes an integer, `emit` writes that into the graph, `distillation` tunes it against the original, and
//! `evaluation` compares the two. `pipeline` is that story on one page, `autotune` the measured choice in its middle; `cli` is the program around it.

#![deny(unsafe_code, clippy::undocumented_unsafe_blocks)]

pub mod autotune;
pub mod calibration;
pub mod checkpoint;
pub mod cli;
pub mod distillation;
pub mod emit;
pub mod error;
pub mod evaluation;
pub mod execution;
pub mod graph;
pub mod kernels;
pub mod limits;
pub mod memory;
pub mod onnx;
pub mod ops;
pub mod passes;
pub mod pipeline;
pub mod progress;
pub mod quantization;
pub mod random;
pub mod synthesis;
pub mod tensor;

pub use error::{Error, Result};
