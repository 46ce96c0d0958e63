//! Images in, ranges out.

mod set;

pub use set::{CalibrationSet, Provenance, Samples};
