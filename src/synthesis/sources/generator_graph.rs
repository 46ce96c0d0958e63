//! The network that makes a picture of a latent vector, as a graph like any other.

use crate::error::{Error, Result};
use crate::execution::tape::Request;
use crate::graph::{Dim, Graph, ValueId, check};
use crate::kernels::Isa;
use crate::ops::{Attributes, NodeForm, parse};
use crate::passes::infer_shapes;
use crate::random::Random;
use crate::synthesis::input::Input;
use crate::tensor::{DataType, TensorData};

/// Length of a latent vector.
pub const LATENT: usize = 256;
/// Channels of the smallest picture.
const CHANNELS: usize = 128;
/// Largest side of the smallest picture.
const SMALLEST: usize = 16;
const OPSET: i64 = 17;
/// Deviation of what goes into tanh at first: it comes out with about that of natural pictures.
const FIRST_DEVIATION: f32 = 0.55;

/// A network with its weights drawn.
pub struct Drawn {
    pub graph: Graph,
    pub weights: Vec<ValueId>,
    pub image: ValueId,
}

impl Drawn {
    /// What it takes to make images, and to tune latent vectors and weights by their gradients. `seeds` is the image.
    pub fn request<'a>(&'a self, seeds: &'a [ValueId], isa: Isa) -> Request<'a> {
        Request { targets: &[], seeds, input_gradients: true, parameters: &self.weights, isa }
    }
}

/// Linear to 128 channels of a small picture, then doubled by nearest neighbours and a 3×3 convolution until it is large
/// enough: twice for up to 64 pixels, as published. Channels halve each time; the leaky ReLU stands between, tanh at the end.
///
/// # Errors
/// If the input is no picture.
pub fn draw(input: &Input, random: &mut Random) -> Result<Drawn> {
    let picture = input.picture().ok_or_else(|| Error::tensor(&input.name, "a generator makes pictures, and this input is none"))?;
    let mut doublings = 2;
    while picture.height.max(picture.width).div_ceil(1 << doublings) > SMALLEST {
        doublings += 1;
    }
    let (height, width) = (picture.height.div_ceil(1 << doublings), picture.width.div_ceil(1 << doublings));
    let mut graph = Graph::default();
    graph.opset = OPSET;
    let mut sketch = Draft { graph, weights: Vec::new(), random };
    let mut value = sketch.latent_to_picture(height, width)?;
    let mut channels = CHANNELS;
    for stage in 1..=doublings {
        let last = stage == doublings;
        let next = if last { picture.channels } else { (channels / 2).max(8) };
        value = sketch.double(value)?;
        // What a leaky ReLU of slope 0.2 leaves of the second moment is 0.52.
        let kept: f32 = if stage == 1 { 1.0 } else { 0.52 };
        let wanted = if last { FIRST_DEVIATION } else { 1.0 };
        value = sketch.convolve(value, channels, next, wanted / (kept * (9 * channels) as f32).sqrt())?;
        if !last {
            value = sketch.node("LeakyRelu", &[value], Attributes::default().float("alpha", 0.2))?;
        }
        channels = next;
    }
    let value = sketch.fit(value, input)?;
    sketch.finish(value)
}

struct Draft<'a> {
    graph: Graph,
    weights: Vec<ValueId>,
    random: &'a mut Random,
}

impl Draft<'_> {
    fn node(&mut self, operator: &str, inputs: &[ValueId], attributes: Attributes) -> Result<ValueId> {
        let form = NodeForm { attributes, opset: OPSET, input_count: inputs.len(), output_count: 1 };
        let refused = |reason: String| Error::Internal(format!("the generator's {operator}: {reason}"));
        let parsed = parse(operator, form).ok_or_else(|| refused("unknown".into()))?.map_err(refused)?;
        let name = self.graph.unused_name(operator);
        Ok(self.graph.add_operation(&format!("{name}_node"), parsed.operator, inputs.to_vec(), &name).1)
    }

    fn constant(&mut self, tensor: TensorData) -> ValueId {
        let name = self.graph.unused_name("constant");
        self.graph.add_constant(name, tensor)
    }

    /// Normal weights of a deviation; 0 for biases.
    fn weights(&mut self, shape: &[usize], deviation: f32) -> ValueId {
        let elements = (0..shape.iter().product()).map(|_| if deviation == 0.0 { 0.0 } else { deviation * self.random.normal() });
        let tensor = TensorData::new(shape, elements.collect());
        let value = self.constant(tensor);
        self.weights.push(value);
        value
    }

    fn latent_to_picture(&mut self, height: usize, width: usize) -> Result<ValueId> {
        let latent = self.graph.add_value("latent", Some(DataType::F32), Some(vec![Dim::Known(1), Dim::Known(LATENT)]));
        self.graph.inputs = vec![latent];
        let elements = CHANNELS * height * width;
        let (matrix, bias) = (self.weights(&[LATENT, elements], (LATENT as f32).powf(-0.5)), self.weights(&[elements], 0.0));
        let flat = self.node("Gemm", &[latent, matrix, bias], Attributes::default())?;
        let shape = self.constant(TensorData::vector(vec![1i64, CHANNELS as i64, height as i64, width as i64]));
        self.node("Reshape", &[flat, shape], Attributes::default())
    }

    fn double(&mut self, value: ValueId) -> Result<ValueId> {
        let attributes = Attributes::default().string("coordinate_transformation_mode", "asymmetric").string("nearest_mode", "floor");
        let (none, scales) =
            (self.constant(TensorData::vector(Vec::<f32>::new())), self.constant(TensorData::vector(vec![1.0f32, 1.0, 2.0, 2.0])));
        self.node("Resize", &[value, none, scales], attributes)
    }

    fn convolve(&mut self, value: ValueId, from: usize, to: usize, deviation: f32) -> Result<ValueId> {
        let (weights, bias) = (self.weights(&[to, from, 3, 3], deviation), self.weights(&[to], 0.0));
        self.node("Conv", &[value, weights, bias], Attributes::default().sizes("pads", &[1; 4]))
    }

    /// Tanh onto the valid range, cut to the size of the input and in its order of dimensions.
    fn fit(&mut self, value: ValueId, input: &Input) -> Result<ValueId> {
        let picture = input.picture().ok_or_else(|| Error::Internal("a picture became none".into()))?;
        let ranges: Vec<(f32, f32)> = (0..picture.channels).map(|channel| input.range.of(channel)).collect();
        let per_channel = |of: fn(&(f32, f32)) -> f32| TensorData::new(&[1, picture.channels, 1, 1], ranges.iter().map(of).collect());
        let reach = self.constant(per_channel(|(low, high)| 0.5 * (high - low)));
        let middle = self.constant(per_channel(|(low, high)| 0.5 * (high + low)));
        let mut value = self.node("Tanh", &[value], Attributes::default())?;
        value = self.node("Mul", &[value, reach], Attributes::default())?;
        value = self.node("Add", &[value, middle], Attributes::default())?;
        let starts = self.constant(TensorData::vector(vec![0i64, 0]));
        let ends = self.constant(TensorData::vector(vec![picture.height as i64, picture.width as i64]));
        let axes = self.constant(TensorData::vector(vec![2i64, 3]));
        value = self.node("Slice", &[value, starts, ends, axes], Attributes::default())?;
        if picture.dims[0] == 3 {
            value = self.node("Transpose", &[value], Attributes::default().ints("perm", &[0, 2, 3, 1]))?;
        }
        Ok(value)
    }

    fn finish(mut self, image: ValueId) -> Result<Drawn> {
        self.graph.outputs = vec![image];
        check(&self.graph)?;
        infer_shapes(&mut self.graph)?;
        Ok(Drawn { graph: self.graph, weights: self.weights, image })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::{self, evaluate};
    use crate::graph::sketch::noise;
    use crate::synthesis::input_range::PixelRange;

    #[test]
    fn pictures_of_any_size_and_order_fill_the_range() {
        for shape in [vec![1, 3, 32, 32], vec![1, 3, 19, 70], vec![1, 13, 9, 1], vec![1, 1, 5, 4]] {
            let input = Input::new("x", shape.clone(), PixelRange::imagenet());
            let drawn = draw(&input, &mut Random::new(0, 0)).unwrap();
            let images = evaluate(&drawn.graph, &[drawn.image], &noise(&drawn.graph, 4), &execution::Config::default()).unwrap();
            assert_eq!(images[0].shape()[1..], shape);
            let (low, high) = input.range.hull();
            let deviation = images[0].std(0.0) / (high - low);
            assert!((0.1..0.35).contains(&deviation), "{shape:?}: {deviation}");
            assert!(images[0].iter().all(|x| (low..=high).contains(x)));
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let input = Input::new("x", vec![1, 40], PixelRange::uniform("unit", 0.0, 1.0));
        assert!(draw(&input, &mut Random::new(0, 0)).is_err());
    }
}
