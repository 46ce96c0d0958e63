//! Conv and ConvTranspose: three products between an image, a map and weights, in any of several forms.

use candle_core::{Device, Result, Tensor};

use super::gathered::Gathered;
use super::step::{Call, Step, along, required};
use crate::kernels::{Direction, Window};

/// The three products. An image is `[batch, channels, depth, height, width]`, a map `[batch, features, …]`, weights are
/// `[features, channels / group, …]`.
pub(super) trait Form: Send + Sync {
    fn to_map(&self, image: &Tensor, weights: &Tensor) -> Result<Tensor>;

    /// The gradient of the image, where `map` is that of the map.
    fn to_image(&self, map: &Tensor, weights: &Tensor) -> Result<Tensor>;

    /// The gradient of the weights, summed over the batch.
    fn to_weights(&self, image: &Tensor, map: &Tensor) -> Result<Tensor>;
}

/// One sample is `[1, channels, image…]` on one side, `[1, features, map…]` on the other.
pub(super) struct Convolution {
    form: Box<dyn Form>,
    window: Window,
    direction: Direction,
    output: Vec<usize>,
}

impl Convolution {
    /// `output` is the shape of one sample. `None` where a sample is several images.
    ///
    /// # Errors
    /// If `device` has no memory for the positions.
    pub fn new(window: Window, direction: Direction, output: &[usize], device: &Device) -> Result<Option<Self>> {
        if window.batch != 1 {
            return Ok(None);
        }
        let Some(form) = form(&window, device)? else { return Ok(None) };
        Ok(Some(Convolution { form, window, direction, output: output.to_vec() }))
    }

    fn image(&self, x: &Tensor) -> Result<Tensor> {
        let [depth, height, width] = self.window.image;
        x.reshape((x.dim(0)?, self.window.channels, depth, height, width))
    }

    fn map(&self, x: &Tensor) -> Result<Tensor> {
        let [depth, height, width] = self.window.map;
        x.reshape((x.dim(0)?, self.window.features, depth, height, width))
    }

    fn weights(&self, x: &Tensor) -> Result<Tensor> {
        let Window { features, channels, group, kernel: [depth, height, width], .. } = self.window;
        x.reshape((features, channels / group, depth, height, width))
    }
}

/// The quickest form on `device`.
fn form(window: &Window, device: &Device) -> Result<Option<Box<dyn Form>>> {
    #[cfg(feature = "cudnn")]
    if device.is_cuda()
        && let Some(cudnn) = super::cudnn::CudnnConvolution::new(window)
    {
        return Ok(Some(Box::new(cudnn)));
    }
    Ok(Gathered::new(window, device)?.map(|gathered| Box::new(gathered) as Box<dyn Form>))
}

impl Step for Convolution {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        let x = required(inputs, 0)?;
        let weights = self.weights(required(inputs, 1)?)?;
        let y = match self.direction {
            Direction::ToMap => self.form.to_map(&self.image(x)?, &weights)?,
            Direction::ToImage => self.form.to_image(&self.map(x)?, &weights)?,
        };
        let y = y.reshape([&[x.dim(0)?], self.output.as_slice()].concat())?;
        match inputs.get(2) {
            Some(Some(bias)) => y.broadcast_add(&along(bias, 2, y.rank())?),
            _ => Ok(y),
        }
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, weight, g) = (required(call.inputs, 0)?, required(call.inputs, 1)?, call.gradient);
        let weights = self.weights(weight)?;
        let (image, map) = match self.direction {
            Direction::ToMap => (self.image(x)?, self.map(g)?),
            Direction::ToImage => (self.image(g)?, self.map(x)?),
        };
        let mut found = vec![None, None, None];
        if call.wants(0) {
            let gradient = match self.direction {
                Direction::ToMap => self.form.to_image(&map, &weights)?,
                Direction::ToImage => self.form.to_map(&image, &weights)?,
            };
            found[0] = Some(gradient.reshape(x.dims())?);
        }
        if call.wants(1) {
            found[1] = Some(self.form.to_weights(&image, &map)?.reshape(weight.dims())?);
        }
        if call.wants(2) {
            let others: Vec<usize> = (0..g.rank()).filter(|dim| *dim != 2).collect();
            found[2] = Some(g.sum(others)?.reshape(required(call.inputs, 2)?.dims())?);
        }
        Ok(found)
    }
}
