//! The sources of images.

mod pixels;

use super::source::SourceKind;

/// All sources; the first is the default.
pub fn all() -> [SourceKind; 1] {
    [pixels::PIXELS]
}
