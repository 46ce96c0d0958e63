//! How the network sees images on a device: what [`super::frame::Frame`] is on the tape.

use candle_core::{Device, Result, Tensor};

use super::blur::Blur;
use super::input::{Augmentation, Input, Picture, per_width};
use super::loss::ImageLoss;
use crate::execution::candle::multiply_along;

/// Input by input; tensors are `[samples, …]`, with the shape of one sample behind.
pub struct Screen {
    picture: Option<Picture>,
    device: Device,
    /// What blurs along rows and along columns.
    blur: Option<[Tensor; 2]>,
    view: Option<View>,
    /// Lowest value of each channel, and 1 / (highest − lowest): `[1, channels, 1, 1]`.
    channels: Option<[Tensor; 2]>,
}

/// Where rows and columns come from, and where they go.
struct View {
    from: [Tensor; 2],
    to: [Tensor; 2],
}

impl Screen {
    pub fn new(input: &Input, low_pass: Option<f32>, device: &Device) -> Result<Self> {
        let picture = input.picture();
        let blur = match (picture, low_pass.map(Blur::new)) {
            (Some(Picture { height, width, .. }), Some(blur)) => Some([matrix(&blur, height, device)?, matrix(&blur, width, device)?]),
            _ => None,
        };
        let channels = match picture {
            Some(Picture { channels, .. }) => {
                let ranges = (0..channels).map(|channel| input.range.valid(channel));
                let (lows, widths): (Vec<f32>, Vec<f32>) = ranges.map(|(low, high)| (low, per_width(low, high))).unzip();
                let tensor = |numbers: Vec<f32>| Tensor::from_vec(numbers, (1, channels, 1, 1), device);
                Some([tensor(lows)?, tensor(widths)?])
            }
            None => None,
        };
        Ok(Screen { picture, device: device.clone(), blur, view: None, channels })
    }

    /// Lets the network see images like this from now on.
    pub fn see_through(&mut self, augmentation: Augmentation) -> Result<()> {
        let Some(picture) = self.picture else { return Ok(()) };
        let from = [augmentation.rows(picture.height), augmentation.columns(picture.width)];
        let ids = |places: &[Vec<usize>; 2]| -> Result<[Tensor; 2]> {
            let tensor = |places: &Vec<usize>| Tensor::from_iter(places.iter().map(|place| *place as u32), &self.device);
            Ok([tensor(&places[0])?, tensor(&places[1])?])
        };
        let to = [inverse(&from[0]), inverse(&from[1])];
        self.view = Some(View { from: ids(&from)?, to: ids(&to)? });
        Ok(())
    }

    /// What the network sees of images.
    pub fn show(&self, images: &Tensor) -> Result<Tensor> {
        let blurred = self.blur(images)?;
        match &self.view {
            Some(view) => self.select(&blurred, &view.from),
            None => Ok(blurred),
        }
    }

    /// The gradient of images from that of what the network saw.
    pub fn back(&self, gradient: &Tensor) -> Result<Tensor> {
        let turned = match &self.view {
            Some(view) => self.select(gradient, &view.to)?,
            None => gradient.clone(),
        };
        // The blur is its own adjoint.
        self.blur(&turned)
    }

    pub fn blur(&self, images: &Tensor) -> Result<Tensor> {
        let (Some(picture), Some([rows, columns])) = (self.picture, &self.blur) else { return Ok(images.clone()) };
        multiply_along(&multiply_along(images, picture.dims[1] + 1, rows)?, picture.dims[2] + 1, columns)
    }

    fn select(&self, images: &Tensor, [rows, columns]: &[Tensor; 2]) -> Result<Tensor> {
        let Some(picture) = self.picture else { return Ok(images.clone()) };
        images.contiguous()?.index_select(rows, picture.dims[1] + 1)?.index_select(columns, picture.dims[2] + 1)
    }

    /// The losses on pixels and their gradient, `share` of their mean over planes for every sample: a number and a tensor like
    /// `images`. `None` where the input is no picture.
    pub fn judge(&self, images: &Tensor, losses: &[(&'static dyn ImageLoss, f64)], share: f64) -> Result<Option<(Tensor, Tensor)>> {
        let (Some(Picture { channels, height, width, dims }), Some([lows, widths])) = (self.picture, &self.channels) else {
            return Ok(None);
        };
        // [samples, 1, channels, height, width], in whatever order the last three are.
        let order = [0, 1, dims[0] + 1, dims[1] + 1, dims[2] + 1];
        let ordered = images.permute(order)?.contiguous()?.reshape(((), channels, height, width))?;
        let planes = ordered.broadcast_sub(lows)?.broadcast_mul(widths)?.reshape(((), height, width))?;
        let (mut total, mut sum) = (Tensor::zeros((), planes.dtype(), &self.device)?, planes.zeros_like()?);
        for (loss, weight) in losses {
            let scale = weight * share / channels as f64;
            let (value, gradient) = loss.distances(&planes)?;
            total = (total + (value * scale)?)?;
            sum = (sum + (gradient * scale)?)?;
        }
        let gradient = sum.reshape(((), channels, height, width))?.broadcast_mul(widths)?.unsqueeze(1)?;
        let mut back = [0; 5];
        order.iter().enumerate().for_each(|(place, dim)| back[*dim] = place);
        Ok(Some((total, gradient.permute(back)?.contiguous()?)))
    }
}

/// A blur of lines of `size` numbers as a matrix, which is symmetric.
pub fn matrix(blur: &Blur, size: usize, device: &Device) -> Result<Tensor> {
    Tensor::from_vec(blur.matrix(size), (size, size), device)
}

fn inverse(places: &[usize]) -> Vec<usize> {
    let mut to = vec![0; places.len()];
    places.iter().enumerate().for_each(|(place, from)| to[*from] = place);
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::candle::tests::devices;
    use crate::execution::tape::SharedGradients;
    use crate::ops::operator::Layout;
    use crate::random::Random;
    use crate::synthesis::canvas::Canvas;
    use crate::synthesis::frame::Frame;
    use crate::synthesis::input_range::PixelRange;
    use crate::synthesis::losses;
    use crate::synthesis::method::Method;

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_near(name: &str, found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{name}: {found:?}, not {wanted:?}");
    }

    #[test]
    fn a_device_shows_what_the_tape_shows_and_brings_gradients_back() {
        let image_losses = losses::of_images().iter().map(|loss| (*loss, 0.3)).collect();
        let method = Method { image_losses, low_pass: Some(0.7), ..Method::default() };
        let device = devices()[0].open().unwrap().swap_remove(0);
        for shape in [vec![1, 3, 6, 5], vec![1, 6, 5, 3], vec![1, 7]] {
            let input = Input::new("x", shape.clone(), PixelRange::imagenet());
            let augmentation = Augmentation { flip: true, shift: (2, -1) };
            let inputs = [input.clone()];
            let mut frame = Frame::new(&inputs, vec![Layout::row_major(&shape)], method.low_pass);
            frame.see_through(&inputs, augmentation);
            let mut screen = Screen::new(&input, method.low_pass, &device).unwrap();
            screen.see_through(augmentation).unwrap();
            let mut random = Random::new(2, 0);
            let mut draw = || (0..2 * input.len()).map(|_| random.normal()).collect::<Vec<f32>>();
            let (images, gradients) = (draw(), draw());
            let tensor = |elements: &[f32]| Tensor::from_slice(elements, [&[2], shape.as_slice()].concat(), &device).unwrap();
            let shown = numbers(&screen.show(&tensor(&images)).unwrap());
            let back = screen.back(&tensor(&gradients)).unwrap();
            let judged = screen.judge(&tensor(&images), &method.image_losses, 0.5).unwrap();
            let found = numbers(&judged.as_ref().map_or(back.clone(), |(_, own)| (&back + own).unwrap()));
            let mut loss = 0.0;
            for sample in 0..2 {
                let part = sample * input.len()..(sample + 1) * input.len();
                let mut canvas = Canvas::new(&[images[part.clone()].to_vec()], &frame, 0, SharedGradients::default());
                canvas.look(&frame);
                assert_near("shown", &shown[part.clone()], &canvas.seen(0, &frame).collect::<Vec<_>>());
                canvas.take_gradient(0, &gradients[part.clone()], &frame);
                canvas.complete_gradients(&method, &frame, 0.5);
                assert_near("gradient", &found[part], &canvas.gradients[0]);
                loss += canvas.loss;
            }
            let of_pixels = judged.map_or(0.0, |(loss, _)| f64::from(loss.to_scalar::<f32>().unwrap()));
            assert!((of_pixels - loss).abs() < 1e-5, "{of_pixels}, not {loss}");
        }
    }
}
