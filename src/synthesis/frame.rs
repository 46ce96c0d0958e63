//! What all samples of a batch share: how their elements lie in memory, and how the network sees them at this step.

use super::blur::Blur;
use super::input::{Augmentation, Input, PlanePlace};
use crate::ops::operator::Layout;

/// Everything is in memory order, per input.
pub struct Frame {
    pub layouts: Vec<Layout>,
    pub lows: Vec<Vec<f32>>,
    pub highs: Vec<Vec<f32>>,
    /// Where each element of the network's input comes from.
    pub views: Vec<Vec<u32>>,
    /// The channels of pictures.
    pub planes: Vec<Vec<PlanePlace>>,
    blur: Option<Blur>,
}

impl Frame {
    pub fn new(inputs: &[Input], layouts: Vec<Layout>, low_pass: Option<f32>) -> Self {
        let (lows, highs) = inputs.iter().zip(&layouts).map(|(input, layout)| input.bounds(layout)).unzip();
        let views = inputs.iter().map(|input| vec![0; input.len()]).collect();
        let planes = inputs.iter().zip(&layouts).map(|(input, layout)| input.planes(layout)).collect();
        Frame { layouts, lows, highs, views, planes, blur: low_pass.map(Blur::new) }
    }

    pub fn see_through(&mut self, inputs: &[Input], augmentation: Augmentation) {
        for ((input, layout), view) in inputs.iter().zip(&self.layouts).zip(&mut self.views) {
            input.view(augmentation, layout, layout, view);
        }
    }

    pub fn is_blurred(&self) -> bool {
        self.blur.is_some()
    }

    /// Blurs the pictures of one sample, or their gradients.
    pub fn blur(&self, sample: &mut [Vec<f32>]) {
        let Some(blur) = &self.blur else { return };
        for (elements, planes) in sample.iter_mut().zip(&self.planes) {
            for place in planes {
                let mut plane: Vec<f32> = place.offsets().map(|offset| elements[offset]).collect();
                blur.apply(&mut plane, place.width);
                place.offsets().zip(plane).for_each(|(offset, x)| elements[offset] = x);
            }
        }
    }
}
