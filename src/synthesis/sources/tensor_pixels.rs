//! Pixels that move by themselves, on devices.

use candle_core::Tensor;

use crate::error::Result;
use crate::execution::Motion;
use crate::execution::adam::{Adam, Decay, Moment};
use crate::execution::candle::{Tuned, numbers, tensor_error};
use crate::ops::operator::Layout;
use crate::progress::Progress;
use crate::synthesis::matching::Image;
use crate::synthesis::passes::{damaged, not_kept};
use crate::synthesis::source::{TensorSetting, TensorSource};

struct Pixels {
    /// Per device and input.
    all: Vec<Vec<Tuned>>,
    rate: f32,
}

pub fn open(start: &TensorSetting<'_>) -> Result<Box<dyn TensorSource>> {
    let setting = start.setting;
    let mut all = Vec::with_capacity(start.images.len());
    for (images, device) in start.images.iter().zip(start.devices) {
        let mut of_device = Vec::with_capacity(setting.inputs.len());
        for (index, input) in setting.inputs.iter().enumerate() {
            let (low, high) = input.bounds(&Layout::row_major(&input.shape));
            let elements: Vec<f32> = images.iter().flat_map(|image: &Image| image[index].iter().copied()).collect();
            let (shape, within) = ([&[images.len()], input.shape.as_slice()].concat(), Motion::Within { low: &low[..], high: &high[..] });
            of_device.push(Tuned::new(&elements, &shape, &within, Decay::SHORT, device, setting.isa).map_err(tensor_error)?);
        }
        all.push(of_device);
    }
    Ok(Box::new(Pixels { all, rate: setting.rate }))
}

impl TensorSource for Pixels {
    fn images(&mut self, _: &dyn Progress) -> Result<Vec<Vec<Tensor>>> {
        let values = |tuned: &Vec<Tuned>| tuned.iter().map(|tuned| tuned.value().map_err(tensor_error)).collect();
        self.all.iter().map(values).collect()
    }

    fn descend(&mut self, gradients: &[Vec<Tensor>], at: Moment, _: &dyn Progress) -> Result<()> {
        let rate = self.rate * at.rate();
        let mut moving = self.all.iter_mut().flatten().zip(gradients.iter().flatten());
        moving.try_for_each(|(tuned, gradient)| tuned.step(gradient, rate)).map_err(tensor_error)
    }

    fn state(&self) -> Result<Vec<u8>> {
        let kept = |tuned: &Tuned| -> Result<(Vec<f32>, Adam)> {
            Ok((numbers(&tuned.value().map_err(tensor_error)?)?, tuned.adam().map_err(tensor_error)?))
        };
        let all = self.all.iter().flatten().map(kept).collect::<Result<Vec<_>>>()?;
        postcard::to_stdvec(&all).map_err(not_kept)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let all: Vec<(Vec<f32>, Adam)> = postcard::from_bytes(state).map_err(|_| damaged())?;
        for (tuned, (elements, adam)) in self.all.iter_mut().flatten().zip(all) {
            tuned.set(&elements).and_then(|()| tuned.restore(&adam)).map_err(|_| damaged())?;
        }
        Ok(())
    }
}
