//! The inputs of a network as images: where channels, rows and columns are, and which values are valid.

use super::dead_leaves::dead_leaves;
use super::goal::NATURAL;
use super::input_range::PixelRange;
use super::method::Start;
use super::ranges::{Certainty, Finding};
use crate::ops::operator::Layout;
use crate::random::Random;

/// Flip and shift of a whole batch, the same for every sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    pub flip: bool,
    /// Rows and columns, cyclic.
    pub shift: (isize, isize),
}

impl Augmentation {
    /// Where each of `height` rows comes from.
    pub fn rows(self, height: usize) -> Vec<usize> {
        (0..height).map(|y| turn(y, self.shift.0, height)).collect()
    }

    /// Where each of `width` columns comes from.
    pub fn columns(self, width: usize) -> Vec<usize> {
        let column = |x: usize| {
            let turned = turn(x, self.shift.1, width);
            if self.flip { width - 1 - turned } else { turned }
        };
        (0..width).map(column).collect()
    }
}

fn turn(at: usize, by: isize, size: usize) -> usize {
    (at as isize + by).rem_euclid(size as isize) as usize
}

/// One graph input. Shape is that of one sample with its leading batch dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: String,
    pub shape: Vec<usize>,
    pub range: PixelRange,
    /// How sure the range is.
    pub finding: Finding,
}

/// Where one channel of a picture lies in flat memory, and its valid range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanePlace {
    pub height: usize,
    pub width: usize,
    pub low: f32,
    pub high: f32,
    start: usize,
    /// Of row and column.
    strides: [usize; 2],
}

impl PlanePlace {
    /// Of all pixels, row by row.
    pub fn offsets(self) -> impl Iterator<Item = usize> {
        let row = move |y: usize| (0..self.width).map(move |x| self.start + y * self.strides[0] + x * self.strides[1]);
        (0..self.height).flat_map(row)
    }
}

/// What a pixel is multiplied by to become a part of its range; nothing of a constant channel.
pub fn per_width(low: f32, high: f32) -> f32 {
    if high > low { 1.0 / (high - low) } else { 0.0 }
}

/// Sizes of channel, row and column, and which dimensions they are.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub dims: [usize; 3],
}

/// What the range of an input is called whose elements are true or false.
const FLAGS: &str = "true or false";

impl Input {
    /// An input whose range is given.
    pub fn new(name: &str, shape: Vec<usize>, range: PixelRange) -> Self {
        Input { name: name.to_string(), shape, range, finding: Finding::plain(Certainty::Given) }
    }

    /// An input whose elements are true, 1, or false, 0.
    pub fn of_flags(name: &str, shape: Vec<usize>) -> Self {
        Input::new(name, shape, PixelRange::uniform(FLAGS, 0.0, 1.0))
    }

    /// Whether elements are true or false.
    pub fn is_flags(&self) -> bool {
        self.range.name == FLAGS
    }

    /// `elements` as the input can have them.
    pub fn settled(&self, elements: Vec<f32>) -> Vec<f32> {
        let flag = |x: f32| f32::from(u8::from(x >= 0.5));
        if self.is_flags() { elements.into_iter().map(flag).collect() } else { elements }
    }

    /// `[N, C, H, W]` with 1 or 3 channels, else `[N, H, W, C]` with 1 or 3.
    pub fn picture(&self) -> Option<Picture> {
        let [batch, a, b, c] = self.shape[..] else { return None };
        let few = |channels: usize| batch == 1 && (channels == 1 || channels == 3);
        if few(a) {
            return Some(Picture { channels: a, height: b, width: c, dims: [1, 2, 3] });
        }
        few(c).then_some(Picture { channels: c, height: a, width: b, dims: [3, 1, 2] })
    }

    /// Number of channels of an image; `None` where the input is no image.
    pub fn image_channels(&self) -> Option<usize> {
        self.picture().map(|picture| picture.channels)
    }

    /// The channels of an image in the order of `layout`; none where the input is no image.
    pub fn planes(&self, layout: &Layout) -> Vec<PlanePlace> {
        let Some(Picture { channels, height, width, dims }) = self.picture() else { return Vec::new() };
        let of = |channel: usize| {
            let (low, high) = self.range.valid(channel);
            let [across, down, right] = dims.map(|dim| layout.strides[dim]);
            PlanePlace { height, width, low, high, start: channel * across, strides: [down, right] }
        };
        (0..channels).map(of).collect()
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

    /// Lowest and highest value of every element, in the order of `layout`.
    pub fn bounds(&self, layout: &Layout) -> (Vec<f32>, Vec<f32>) {
        self.of_elements(layout, |channel| self.range.valid(channel), self.range.hull())
    }

    /// A pair of numbers for every element, in the order of `layout`: that of its channel, or `else_all` where channels are not known.
    fn of_elements(&self, layout: &Layout, of: impl Fn(usize) -> (f32, f32), else_all: (f32, f32)) -> (Vec<f32>, Vec<f32>) {
        let (mut firsts, mut seconds) = (vec![else_all.0; self.len()], vec![else_all.1; self.len()]);
        if let Some(picture) = self.picture() {
            picture.for_each(layout, layout, Augmentation::default(), |_, at, channel| (firsts[at], seconds[at]) = of(channel));
        } else if let Some(channels) = self.shape.get(1).filter(|channels| **channels == self.range.channels.len()) {
            let inner: usize = self.shape[2..].iter().product();
            let offsets = layout.offsets().into_iter().enumerate();
            offsets.for_each(|(index, at)| (firsts[at], seconds[at]) = of(index / inner.max(1) % channels));
        }
        (firsts, seconds)
    }

    /// What pixels are before the first step, row-major.
    pub fn start(&self, start: Start, random: &mut Random) -> Vec<f32> {
        match start {
            Start::DeadLeaves => self.procedural(random),
            Start::Gaussian => self.settled(self.noise(random)),
        }
    }

    /// Independent normal numbers with mean and deviation of natural pictures, clamped to the valid range.
    fn noise(&self, random: &mut Random) -> Vec<f32> {
        let layout = Layout::row_major(&self.shape);
        let (lows, highs) = self.of_elements(&layout, |channel| self.range.of(channel), self.range.hull());
        let (mean, deviation) = NATURAL;
        let pixel = |(low, high): (&f32, &f32)| low + (high - low) * (mean + deviation * random.normal());
        let noise: Vec<f32> = lows.iter().zip(&highs).map(pixel).collect();
        let (lows, highs) = self.bounds(&layout);
        noise.into_iter().zip(lows.iter().zip(&highs)).map(|(x, (low, high))| x.clamp(*low, *high)).collect()
    }

    /// A dead-leaves image in the valid range; for inputs that are no image, normal noise: of the mean and deviation that were found,
    /// else such that it fills the range.
    pub fn procedural(&self, random: &mut Random) -> Vec<f32> {
        self.settled(self.textured(random))
    }

    fn textured(&self, random: &mut Random) -> Vec<f32> {
        let Some(picture) = self.picture() else {
            if self.range.reaches_further() {
                return self.noise(random);
            }
            let (lows, highs) = self.bounds(&Layout::row_major(&self.shape));
            let noise = |(low, high): (&f32, &f32)| ((low + high) / 2.0 + (high - low) / 6.0 * random.normal()).clamp(*low, *high);
            return lows.iter().zip(&highs).map(noise).collect();
        };
        let planes = dead_leaves(picture.channels, picture.height, picture.width, random);
        let mut elements = vec![0.0; self.len()];
        let (plane, layout) = (Layout::row_major(&[1, picture.channels, picture.height, picture.width]), Layout::row_major(&self.shape));
        let strides = [plane.strides[1], plane.strides[2], plane.strides[3]];
        picture.for_each_from(strides, &layout, Augmentation::default(), |from, to, channel| {
            let (low, high) = self.range.of(channel);
            elements[to] = low + planes[from] * (high - low);
        });
        elements
    }

    /// Writes to `view` where each element, in the order of `to`, is taken from in a sample in the order of `from`, seen
    /// through `augmentation`. Inputs that are no image stay as they are.
    pub fn view(&self, augmentation: Augmentation, from: &Layout, to: &Layout, view: &mut [u32]) {
        match self.picture() {
            Some(picture) => picture.for_each(from, to, augmentation, |from, to, _| view[to] = from as u32),
            None => from.offsets().into_iter().zip(to.offsets()).for_each(|(from, to)| view[to] = from as u32),
        }
    }
}

impl Picture {
    /// `visit(from, to, channel)` for each element: where the one that `augmentation` brings to `to` lies.
    fn for_each(self, from: &Layout, to: &Layout, augmentation: Augmentation, visit: impl FnMut(usize, usize, usize)) {
        self.for_each_from(self.dims.map(|dim| from.strides[dim]), to, augmentation, visit);
    }

    /// With the strides of channel, row and column.
    fn for_each_from(self, from: [usize; 3], to: &Layout, augmentation: Augmentation, mut visit: impl FnMut(usize, usize, usize)) {
        let to = self.dims.map(|dim| to.strides[dim]);
        let columns = augmentation.columns(self.width);
        for (y, row) in augmentation.rows(self.height).into_iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                for channel in 0..self.channels {
                    visit(channel * from[0] + row * from[1] + column * from[2], channel * to[0] + y * to[1] + x * to[2], channel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_flips_and_shifts_every_layout() {
        for shape in [vec![1, 3, 5, 4], vec![1, 5, 4, 3]] {
            let input = Input::new("x", shape.clone(), PixelRange::imagenet());
            let (plain, memory) = (Layout::row_major(&shape), Layout::activation(&shape));
            let mut view = vec![0; input.len()];
            input.view(Augmentation { flip: true, shift: (2, -1) }, &plain, &memory, &mut view);
            let at = |layout: &Layout, channel, y, x| {
                let dims = if shape[1] == 3 { [1, 2, 3] } else { [3, 1, 2] };
                [channel, y, x].iter().zip(dims).map(|(i, dim)| i * layout.strides[dim]).sum::<usize>()
            };
            // Row 2 comes to row 0; column −1, which is 3, seen in a mirror is column 0.
            assert_eq!(view[at(&memory, 1, 0, 0)] as usize, at(&plain, 1, 2, 0));
            assert_eq!(view[at(&memory, 2, 4, 2)] as usize, at(&plain, 2, 1, 2));
            let mut seen = view;
            seen.sort_unstable();
            assert!(seen.iter().enumerate().all(|(i, from)| *from as usize == i));
        }
    }

    #[test]
    fn planes_are_the_channels_of_every_layout() {
        for shape in [vec![1, 3, 5, 4], vec![1, 5, 4, 3]] {
            let input = Input::new("x", shape.clone(), PixelRange::imagenet());
            let layout = Layout::activation(&shape);
            let (low, high) = input.bounds(&layout);
            let planes = input.planes(&layout);
            let mut seen: Vec<usize> = planes.iter().flat_map(|plane| plane.offsets()).collect();
            assert!(planes.iter().all(|plane| plane.offsets().all(|at| (low[at], high[at]) == (plane.low, plane.high))));
            seen.sort_unstable();
            assert!(seen.iter().enumerate().all(|(i, at)| *at == i) && seen.len() == input.len());
        }
    }

    #[test]
    fn first_images_stay_within_bounds() {
        for shape in [vec![1, 3, 8, 6], vec![1, 8, 6, 3], vec![1, 12]] {
            let input = Input::new("x", shape.clone(), PixelRange::imagenet());
            let (low, high) = input.bounds(&Layout::row_major(&shape));
            for start in [Start::DeadLeaves, Start::Gaussian] {
                for (i, x) in input.start(start, &mut Random::new(0, 0)).into_iter().enumerate() {
                    assert!((low[i] - 1e-5..=high[i] + 1e-5).contains(&x));
                }
            }
        }
    }
}
