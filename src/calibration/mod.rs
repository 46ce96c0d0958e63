//! Images in, ranges out.

mod absorb;
mod array;
mod calibrate;
mod classes;
mod elements;
mod equalize;
mod files;
mod fill;
pub mod histogram;
mod magnitudes;
mod moments;
mod numpy;
pub mod observer;
pub mod observers;
mod patches;
mod pictures;
mod set;
mod tensor_file;
mod workplace;
mod write;

pub use absorb::absorb_biases;
pub use calibrate::{RangeSource, Ranges, calibrate, choose_ranges, histograms};
pub use classes::class_folders;
pub use elements::Elements;
pub use equalize::{Levels, equalize};
pub use files::{decode_set, read_set};
pub use fill::ExpectedInput;
pub use magnitudes::magnitudes;
pub use moments::{Moments, Normal};
pub use patches::{Patches, patches};
pub use pictures::{Bounds, PictureShape, decode_picture, encode_small_picture};
pub use set::{CalibrationSet, Provenance, Samples};
pub use write::{Existing, SET_FILE, check_folder, write_set};
