//! Images in, ranges out.

mod files;
mod numpy;
mod pictures;
mod set;
mod write;

pub use files::{ExpectedInput, read_set};
pub use pictures::Bounds;
pub use set::{CalibrationSet, Provenance, Samples};
pub use write::{Existing, SET_FILE, check_folder, write_set};
