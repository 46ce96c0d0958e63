//! Images in, ranges out.

mod calibrate;
mod files;
pub mod histogram;
mod numpy;
pub mod observer;
pub mod observers;
mod pictures;
mod second_moments;
mod set;
mod write;

pub use calibrate::{Ranges, calibrate};
pub use files::{ExpectedInput, read_set};
pub use pictures::Bounds;
pub use second_moments::{SecondMoments, second_moments};
pub use set::{CalibrationSet, Provenance, Samples};
pub use write::{Existing, SET_FILE, check_folder, write_set};
