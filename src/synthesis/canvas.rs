//! The elements of one sample on the tape.

use super::frame::Frame;
use super::input::per_width;
use super::loss::{ImageLoss, Plane};
use super::matching::Image;
use super::method::Method;
use crate::execution::tape::{SharedGradients, in_memory_order};
use crate::ops::operator::Layout;

/// One sample; elements and gradients are in memory order, per input.
pub struct Canvas {
    pub elements: Vec<Vec<f32>>,
    pub gradients: Vec<Vec<f32>>,
    /// The elements as the network sees them, where that is not as they are.
    blurred: Vec<Vec<f32>>,
    /// Loss on its pixels alone, in the pass that is under way.
    pub(super) loss: f64,
    pub(super) scratch: Vec<f32>,
    /// Gradients of swing offsets, which nobody reads.
    pub(super) unused: SharedGradients,
}

impl Canvas {
    /// Of a row-major image; `scratch` numbers to work in.
    pub fn new(image: &[Vec<f32>], frame: &Frame, scratch: usize, unused: SharedGradients) -> Self {
        let elements: Vec<Vec<f32>> = image.iter().zip(&frame.layouts).map(|(row, layout)| in_memory_order(row, layout)).collect();
        Canvas {
            gradients: elements.clone(),
            blurred: if frame.is_blurred() { elements.clone() } else { Vec::new() },
            elements,
            loss: 0.0,
            scratch: vec![0.0; scratch],
            unused,
        }
    }

    /// The row-major elements, as the network saw them.
    pub fn finish(mut self, frame: &Frame) -> Image {
        frame.blur(&mut self.elements);
        let row_major = |(memory, layout): (&Vec<f32>, &Layout)| layout.offsets().into_iter().map(|offset| memory[offset]).collect();
        self.elements.iter().zip(&frame.layouts).map(row_major).collect()
    }

    /// Lets the network see the elements at this step.
    pub fn look(&mut self, frame: &Frame) {
        if frame.is_blurred() {
            self.blurred.clone_from(&self.elements);
            frame.blur(&mut self.blurred);
        }
    }

    /// The elements of input `index` as `frame` lets the network see them.
    pub fn seen<'a>(&'a self, index: usize, frame: &'a Frame) -> impl Iterator<Item = f32> + 'a {
        let shown = if frame.is_blurred() { &self.blurred } else { &self.elements };
        frame.views[index].iter().map(move |from| shown[index][*from as usize])
    }

    /// Takes the gradient of what the network saw of input `index`.
    pub fn take_gradient(&mut self, index: usize, gradient: &[f32], frame: &Frame) {
        for (from, to) in gradient.iter().zip(&frame.views[index]) {
            self.gradients[index][*to as usize] = *from;
        }
    }

    /// Completes the gradients once the network's are there; `share` is that of the sample in the batch.
    pub fn complete_gradients(&mut self, method: &Method, frame: &Frame, share: f32) {
        frame.blur(&mut self.gradients);
        self.add_image_losses(&method.image_losses, frame, share);
    }

    /// Adds the gradients of the losses on pixels, `share` of their mean over planes.
    fn add_image_losses(&mut self, losses: &[(&'static dyn ImageLoss, f64)], frame: &Frame, share: f32) {
        self.loss = 0.0;
        if losses.is_empty() {
            return;
        }
        for (index, planes) in frame.planes.iter().enumerate() {
            for place in planes {
                let width = per_width(place.low, place.high);
                let pixels: Vec<f32> = place.offsets().map(|offset| (self.elements[index][offset] - place.low) * width).collect();
                let mut gradient = vec![0.0; pixels.len()];
                for (loss, weight) in losses {
                    let scale = *weight as f32 * share / planes.len() as f32;
                    self.loss += f64::from(scale) * loss.distance(Plane { pixels: &pixels, width: place.width }, &mut gradient);
                    place.offsets().zip(&gradient).for_each(|(offset, g)| self.gradients[index][offset] += scale * width * g);
                }
            }
        }
    }
}
