//! The inputs of a network as images: where channels, rows and columns are, and which values are valid.

use super::dead_leaves::dead_leaves;
use super::input_range::PixelRange;
use crate::random::Random;

/// Flip and shift of a whole batch, the same for every sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Augmentation {
    pub flip: bool,
    /// Rows and columns, cyclic.
    pub shift: (isize, isize),
}

/// One graph input. Shape is that of one sample with its leading batch dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub shape: Vec<usize>,
    pub range: PixelRange,
}

/// Sizes and strides of channel, row and column.
#[derive(Clone, Copy, Debug)]
struct Picture {
    channels: usize,
    height: usize,
    width: usize,
    strides: [usize; 3],
}

impl Input {
    /// `[N, C, H, W]` with 1 or 3 channels, else `[N, H, W, C]` with 1 or 3.
    fn picture(&self) -> Option<Picture> {
        let [batch, a, b, c] = self.shape[..] else { return None };
        let few = |channels: usize| batch == 1 && (channels == 1 || channels == 3);
        if few(a) {
            return Some(Picture { channels: a, height: b, width: c, strides: [b * c, c, 1] });
        }
        few(c).then_some(Picture { channels: c, height: a, width: b, strides: [1, b * c, c] })
    }

    /// Number of channels of an image; `None` where the input is no image.
    pub fn image_channels(&self) -> Option<usize> {
        self.picture().map(|picture| picture.channels)
    }

    /// Height of an image, or 0.
    pub fn height(&self) -> usize {
        self.picture().map_or(0, |picture| picture.height)
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lowest and highest value of element `index`.
    pub fn bounds(&self, index: usize) -> (f32, f32) {
        match self.picture() {
            Some(picture) => self.range.of(index / picture.strides[0] % picture.channels),
            None => self.range.hull(),
        }
    }

    /// A dead-leaves image in the valid range; for inputs that are no image, normal noise that fills the range.
    pub fn procedural(&self, random: &mut Random) -> Vec<f32> {
        let Some(picture) = self.picture() else {
            let (low, high) = self.range.hull();
            let noise = (0..self.len()).map(|_| (low + high) / 2.0 + (high - low) / 6.0 * random.normal());
            return noise.map(|x| x.clamp(low, high)).collect();
        };
        let planes = dead_leaves(picture.channels, picture.height, picture.width, random);
        let mut elements = vec![0.0; self.len()];
        for (element, (to, channel)) in planes.iter().zip(picture.positions(Augmentation::default())) {
            let (low, high) = self.range.of(channel);
            elements[to] = low + element * (high - low);
        }
        elements
    }

    /// The sample after `augmentation`; inputs that are no image stay as they are.
    pub fn augment(&self, elements: &[f32], augmentation: Augmentation) -> Vec<f32> {
        let Some(picture) = self.picture() else { return elements.to_vec() };
        let mut augmented = vec![0.0; elements.len()];
        let plain = picture.positions(Augmentation::default());
        for ((to, _), (from, _)) in plain.zip(picture.positions(augmentation)) {
            augmented[to] = elements[from];
        }
        augmented
    }

    /// The gradient of an augmented sample, brought back to the sample.
    pub fn restore(&self, gradient: &[f32], augmentation: Augmentation) -> Vec<f32> {
        let Some(picture) = self.picture() else { return gradient.to_vec() };
        let mut restored = vec![0.0; gradient.len()];
        let plain = picture.positions(Augmentation::default());
        for ((from, _), (to, _)) in plain.zip(picture.positions(augmentation)) {
            restored[to] = gradient[from];
        }
        restored
    }
}

impl Picture {
    /// Offset and channel of each element in the order channel, row, column, each seen through `augmentation`.
    fn positions(self, augmentation: Augmentation) -> impl Iterator<Item = (usize, usize)> {
        let Augmentation { flip, shift } = augmentation;
        let turn = |at: usize, by: isize, size: usize| (at as isize + by).rem_euclid(size as isize) as usize;
        (0..self.channels).flat_map(move |channel| {
            (0..self.height).flat_map(move |y| {
                let row = channel * self.strides[0] + turn(y, shift.0, self.height) * self.strides[1];
                (0..self.width).map(move |x| {
                    let x = turn(x, shift.1, self.width);
                    (row + if flip { self.width - 1 - x } else { x } * self.strides[2], channel)
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restoring_undoes_augmenting_in_both_layouts() {
        for shape in [vec![1, 3, 5, 4], vec![1, 5, 4, 3], vec![1, 7]] {
            let input = Input { name: "x".into(), shape, range: PixelRange::imagenet() };
            let elements: Vec<f32> = (0..input.len()).map(|i| i as f32).collect();
            let augmentation = Augmentation { flip: true, shift: (2, -1) };
            assert_eq!(input.restore(&input.augment(&elements, augmentation), augmentation), elements);
        }
    }

    #[test]
    fn procedural_images_stay_within_bounds() {
        for shape in [vec![1, 3, 8, 6], vec![1, 8, 6, 3], vec![1, 12]] {
            let input = Input { name: "x".into(), shape, range: PixelRange::imagenet() };
            for (i, x) in input.procedural(&mut Random::new(0, 0)).into_iter().enumerate() {
                let (low, high) = input.bounds(i);
                assert!((low - 1e-5..=high + 1e-5).contains(&x));
            }
        }
    }
}
