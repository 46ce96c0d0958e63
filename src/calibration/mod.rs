//! Images in, ranges out.

mod calibrate;
pub mod histogram;
pub mod observer;
pub mod observers;
mod set;

pub use calibrate::{Ranges, calibrate};
pub use set::{CalibrationSet, Provenance, Samples};
