//! Geometry of convolutions: which positions of one side meet which of the other.

/// A convolution between an image `[batch, channels, …]` and a map `[batch, features, …]`, up to three spatial axes
/// (missing leading ones have size 1). Weights lie as `[kD, kH, kW, channels / group, features]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub batch: usize,
    pub group: usize,
    pub channels: usize,
    pub features: usize,
    pub image: [usize; 3],
    pub map: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    /// Zeros before the image.
    pub pad: [usize; 3],
}

/// Which side of a [`Window`] is computed from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToMap,
    ToImage,
}

/// A kernel position and where it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    pub offset: isize,
    pub index: usize,
}

/// Positions `j` in `0..count` along one axis: they write `start + step · j` and read `source_step · j + tap.offset`.
#[derive(Clone, Debug)]
pub struct Axis {
    pub start: usize,
    pub step: usize,
    pub count: usize,
    pub source_step: usize,
    /// By rising offset.
    pub taps: Vec<Tap>,
}

impl Axis {
    /// First and last position that is read, if any is.
    fn reach(&self) -> Option<(isize, isize)> {
        let (first, last) = (self.taps.first()?, self.taps.last()?);
        let span = (self.source_step * self.count.checked_sub(1)?) as isize;
        Some((first.offset, last.offset + span))
    }
}

/// One sliding sum: depth, height and width.
pub type Slide = [Axis; 3];

impl Window {
    /// Map positions × kernel positions × products per image.
    pub fn multiplications(&self) -> usize {
        let positions: usize = self.map.iter().chain(&self.kernel).product();
        positions * self.batch * self.features * (self.channels / self.group)
    }

    pub fn weight_len(&self) -> usize {
        self.kernel.iter().product::<usize>() * (self.channels / self.group) * self.features
    }

    /// Whether every size is at least 1 and every buffer that a kernel needs can be addressed with 31 bits.
    pub fn fits(&self) -> bool {
        let sizes = [&self.image, &self.map, &self.kernel, &self.stride, &self.dilation];
        let positive = sizes.iter().all(|sizes| sizes.iter().all(|size| *size > 0));
        let channels = self.group > 0 && self.channels >= self.group && self.features >= self.group;
        let side = |sizes: &[usize; 3], channels: usize| product(sizes, channels.saturating_mul(self.batch.max(1))) <= LARGEST;
        positive
            && channels
            && side(&self.image, self.channels)
            && side(&self.map, self.features)
            && product(&self.kernel, self.channels / self.group).saturating_mul(self.features as u128) <= LARGEST
            && [Direction::ToMap, Direction::ToImage].into_iter().all(|direction| {
                let frame = Frame::new(self, direction, &self.slides(direction));
                product(&frame.size, frame.channels) <= LARGEST
            })
    }

    pub fn is_depthwise(&self) -> bool {
        self.group > 1 && self.group == self.channels && self.group == self.features
    }

    /// Sizes and channels of the side that is read.
    pub fn source(&self, direction: Direction) -> ([usize; 3], usize) {
        match direction {
            Direction::ToMap => (self.image, self.channels),
            Direction::ToImage => (self.map, self.features),
        }
    }

    /// Sizes and channels of the side that is written.
    pub fn target(&self, direction: Direction) -> ([usize; 3], usize) {
        self.source(match direction {
            Direction::ToMap => Direction::ToImage,
            Direction::ToImage => Direction::ToMap,
        })
    }

    /// The sliding sums that write the target, no position twice: one toward the map, toward the image one per phase of
    /// the strides that any kernel position meets.
    pub fn slides(&self, direction: Direction) -> Vec<Slide> {
        let axes: Vec<Vec<Axis>> = (0..3).map(|axis| self.axes(direction, axis)).collect();
        let mut slides = Vec::new();
        for depth in &axes[0] {
            for height in &axes[1] {
                for width in &axes[2] {
                    slides.push([depth.clone(), height.clone(), width.clone()]);
                }
            }
        }
        slides
    }

    fn axes(&self, direction: Direction, axis: usize) -> Vec<Axis> {
        match direction {
            Direction::ToMap => vec![self.map_axis(axis)],
            Direction::ToImage => self.phases(axis).into_iter().map(|phase| self.image_axis(axis, phase)).collect(),
        }
    }

    /// Image positions modulo the stride that any kernel position meets, rising.
    fn phases(&self, axis: usize) -> Vec<usize> {
        let phase = |index| self.reach_of(axis, index).rem_euclid(self.stride[axis] as isize) as usize;
        let mut phases: Vec<usize> = (0..self.kernel[axis]).map(phase).filter(|phase| *phase < self.image[axis]).collect();
        phases.sort_unstable();
        phases.dedup();
        phases
    }

    fn map_axis(&self, axis: usize) -> Axis {
        let taps = (0..self.kernel[axis]).map(|index| Tap { offset: self.reach_of(axis, index), index });
        Axis { start: 0, step: 1, count: self.map[axis], source_step: self.stride[axis], taps: taps.collect() }
    }

    /// Image positions `phase + stride · j`, which receive from map positions `j + (phase − reach) / stride` where that
    /// is whole.
    fn image_axis(&self, axis: usize, phase: usize) -> Axis {
        let stride = self.stride[axis] as isize;
        let distance = |index| phase as isize - self.reach_of(axis, index);
        let meets = |index: &usize| distance(*index).rem_euclid(stride) == 0;
        let taps = (0..self.kernel[axis]).rev().filter(meets).map(|index| Tap { offset: distance(index).div_euclid(stride), index });
        let count = (self.image[axis] - phase).div_ceil(self.stride[axis]);
        Axis { start: phase, step: self.stride[axis], count, source_step: 1, taps: taps.collect() }
    }

    /// Where kernel position `index` stands in the image for map position 0.
    fn reach_of(&self, axis: usize, index: usize) -> isize {
        (index * self.dilation[axis]) as isize - self.pad[axis] as isize
    }
}

const LARGEST: u128 = i32::MAX as u128;

fn product(sizes: &[usize; 3], channels: usize) -> u128 {
    sizes.iter().fold(channels as u128, |product, size| product.saturating_mul(*size as u128))
}

/// The part of the source that the slides read, zeros around it included.
#[derive(Clone, Debug)]
pub struct Frame {
    source: [usize; 3],
    channels: usize,
    /// Source position of the frame's first element.
    pub origin: [isize; 3],
    pub size: [usize; 3],
}

impl Frame {
    pub fn new(window: &Window, direction: Direction, slides: &[Slide]) -> Self {
        let (source, channels) = window.source(direction);
        let mut frame = Frame { source, channels, origin: [0; 3], size: source };
        for axis in 0..3 {
            let reaches = || slides.iter().filter_map(|slide| slide[axis].reach());
            let low = reaches().map(|(low, _)| low).min().unwrap_or(0);
            let high = reaches().map(|(_, high)| high).max().unwrap_or(-1);
            if low < 0 || high >= source[axis] as isize {
                frame.origin[axis] = low;
                frame.size[axis] = (high - low + 1) as usize;
            }
        }
        frame
    }

    /// True where the frame is the source itself.
    pub fn is_source(&self) -> bool {
        self.origin == [0; 3] && self.size == self.source
    }

    pub fn len(&self) -> usize {
        self.size.iter().product::<usize>() * self.channels
    }

    /// Elements from one position to the next along each axis.
    pub fn strides(&self) -> [usize; 3] {
        [self.size[1] * self.size[2] * self.channels, self.size[2] * self.channels, self.channels]
    }

    /// Copies `source` into `frame`, zeros around it.
    pub fn fill(&self, source: &[f32], frame: &mut [f32]) {
        let row = self.size[2] * self.channels;
        for (index, target) in frame[..self.len()].chunks_exact_mut(row.max(1)).enumerate() {
            let depth = self.inside(0, index / self.size[1]);
            let height = self.inside(1, index % self.size[1]);
            match (depth, height) {
                (Some(depth), Some(height)) => {
                    let start = (depth * self.source[1] + height) * self.source[2] * self.channels;
                    self.fill_row(&source[start..start + self.source[2] * self.channels], target);
                }
                _ => target.fill(0.0),
            }
        }
    }

    /// Adds the part of `frame` that lies inside `source` to it.
    pub fn add_to_source(&self, frame: &[f32], source: &mut [f32]) {
        let row = self.size[2] * self.channels;
        let (before, skipped, copied) = self.overlap();
        for (index, from) in frame[..self.len()].chunks_exact(row.max(1)).enumerate() {
            let depth = self.inside(0, index / self.size[1]);
            if let (Some(depth), Some(height)) = (depth, self.inside(1, index % self.size[1])) {
                let start = (depth * self.source[1] + height) * self.source[2] + skipped;
                let to = &mut source[start * self.channels..(start + copied) * self.channels];
                for (to, from) in to.iter_mut().zip(&from[before * self.channels..]) {
                    *to += from;
                }
            }
        }
    }

    /// Along a row: positions before the source, source positions before the frame, positions of both.
    fn overlap(&self) -> (usize, usize, usize) {
        let before = (-self.origin[2]).clamp(0, self.size[2] as isize) as usize;
        let skipped = self.origin[2].clamp(0, self.source[2] as isize) as usize;
        (before, skipped, (self.source[2] - skipped).min(self.size[2] - before))
    }

    fn inside(&self, axis: usize, position: usize) -> Option<usize> {
        usize::try_from(self.origin[axis] + position as isize).ok().filter(|at| *at < self.source[axis])
    }

    fn fill_row(&self, source: &[f32], target: &mut [f32]) {
        let (before, skipped, copied) = self.overlap();
        let (left, rest) = target.split_at_mut(before * self.channels);
        let (middle, right) = rest.split_at_mut(copied * self.channels);
        left.fill(0.0);
        middle.copy_from_slice(&source[skipped * self.channels..(skipped + copied) * self.channels]);
        right.fill(0.0);
    }
}
