//! What is right of each sample.

use crate::calibration::{DrawnBox, Mask};

/// One entry for each sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// Its class.
    Classes(Vec<u32>),
    /// The class of each pixel.
    Masks(Vec<Mask>),
    /// Boxes in parts of the sides of its picture.
    Boxes(Vec<Vec<DrawnBox>>),
}

impl Truth {
    pub fn len(&self) -> usize {
        match self {
            Truth::Classes(labels) => labels.len(),
            Truth::Masks(masks) => masks.len(),
            Truth::Boxes(boxes) => boxes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps that of the first samples.
    pub fn truncate(&mut self, samples: usize) {
        match self {
            Truth::Classes(labels) => labels.truncate(samples),
            Truth::Masks(masks) => masks.truncate(samples),
            Truth::Boxes(boxes) => boxes.truncate(samples),
        }
    }
}
