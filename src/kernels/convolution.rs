//! Convolution of one sample, channels last, with all its gradients; transposed convolution is the same seen backwards.

use super::Isa;
use super::correlation::{Correlation, Packed, Pass, add_weight_gradient};
use super::depthwise::{self, Extent};
use crate::ops::operator::{BackwardCall, Gradient, Kernel};

/// Sizes of a convolution from an image `[H, W, C]` to an output `[H', W', M]`. 1-D convolutions have H = 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    pub image: [usize; 2],
    pub output: [usize; 2],
    pub channels: usize,
    pub filters: usize,
    pub groups: usize,
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    /// Padding before the first row and column.
    pub pads: [usize; 2],
}

/// A source copied into zeros so that no tap falls outside.
#[derive(Clone, Debug)]
struct Padding {
    size: [usize; 2],
    before: [usize; 2],
    padded: [usize; 2],
    channels: usize,
}

impl Padding {
    fn is_needed(&self) -> bool {
        self.size != self.padded
    }

    fn len(&self) -> usize {
        self.padded[0] * self.padded[1] * self.channels
    }

    /// The source itself, or its padded copy in `scratch`; and what is left of `scratch`.
    fn apply<'a>(&self, source: &'a [f32], scratch: &'a mut [f32]) -> (&'a [f32], &'a mut [f32]) {
        if !self.is_needed() {
            return (source, scratch);
        }
        let (copy, rest) = scratch.split_at_mut(self.len());
        let (row, padded_row) = (self.size[1] * self.channels, self.padded[1] * self.channels);
        copy.fill(0.0);
        let rows = self.size[0].min(self.padded[0] - self.before[0]);
        let width = row.min(padded_row - self.before[1] * self.channels);
        for y in 0..rows {
            let to = (y + self.before[0]) * padded_row + self.before[1] * self.channels;
            copy[to..to + width].copy_from_slice(&source[y * row..y * row + width]);
        }
        (copy, rest)
    }

    fn scratch(&self) -> usize {
        if self.is_needed() { self.len() } else { 0 }
    }
}

/// Image to output: what each output pixel gathers.
fn gather(geometry: &Geometry) -> (Padding, Vec<Pass>) {
    let Geometry { image, output, kernel, strides, dilations, pads, channels, filters, .. } = geometry;
    let reach = |axis: usize| (output[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
    let padded = [0, 1].map(|axis| (image[axis] + pads[axis]).max(reach(axis)));
    let padding = Padding { size: *image, before: *pads, padded, channels: *channels };
    let row = padded[1] * channels;
    let mut pass = Pass::default();
    for y in 0..output[0] {
        for x in 0..output[1] {
            let base = y * strides[0] * row + x * strides[1] * channels;
            pass.pixels.push((base as u32, ((y * output[1] + x) * filters) as u32));
        }
    }
    for y in 0..kernel[0] {
        for x in 0..kernel[1] {
            let offset = y * dilations[0] * row + x * dilations[1] * channels;
            pass.taps.push((offset as u32, (y * kernel[1] + x) as u32));
        }
    }
    (padding, vec![pass])
}

/// Output to image: which outputs each image pixel went into; one pass for each position of the pixel within a stride.
fn scatter(geometry: &Geometry) -> (Padding, Vec<Pass>) {
    let Geometry { image, output, strides, filters, channels, .. } = geometry;
    let axes = [0, 1].map(|axis| scatter_axis(geometry, axis));
    let before = [0, 1].map(|axis| axes[axis].iter().flat_map(|phase| &phase.taps).map(|(shift, _)| (-shift).max(0)).max().unwrap_or(0));
    let last = |axis: usize| {
        let reached = axes[axis].iter().flat_map(|phase| phase.taps.iter().map(|(shift, _)| shift + phase.pixels.len() as isize - 1));
        reached.max().unwrap_or(0).max(output[axis] as isize - 1)
    };
    let padded = [0, 1].map(|axis| (before[axis] + last(axis) + 1) as usize);
    let padding = Padding { size: *output, before: before.map(|n| n as usize), padded, channels: *filters };
    let row = (padded[1] * filters) as isize;
    let mut passes = Vec::new();
    for rows in &axes[0] {
        for columns in &axes[1] {
            let mut pass = Pass::default();
            for (i, y) in rows.pixels.iter().enumerate() {
                for (j, x) in columns.pixels.iter().enumerate() {
                    let base = i as isize * row + j as isize * *filters as isize;
                    pass.pixels.push((base as u32, ((y * image[1] + x) * channels) as u32));
                }
            }
            for (dy, ky) in &rows.taps {
                for (dx, kx) in &columns.taps {
                    let offset = (dy + before[0]) * row + (dx + before[1]) * *filters as isize;
                    pass.taps.push((offset as u32, (ky * geometry.kernel[1] + kx) as u32));
                }
            }
            passes.push(pass);
        }
    }
    debug_assert!(strides.iter().all(|stride| *stride > 0));
    (padding, passes)
}

/// Pixels of one position within a stride, and its taps: output index of the first pixel, kernel index.
struct Phase {
    pixels: Vec<usize>,
    taps: Vec<(isize, usize)>,
}

fn scatter_axis(geometry: &Geometry, axis: usize) -> Vec<Phase> {
    let (stride, dilation, pad) = (geometry.strides[axis], geometry.dilations[axis], geometry.pads[axis]);
    let phase = |first: usize| {
        let taps = (0..geometry.kernel[axis]).filter_map(|k| {
            let at = (first + pad) as isize - (k * dilation) as isize;
            (at.rem_euclid(stride as isize) == 0).then(|| (at.div_euclid(stride as isize), k))
        });
        Phase { pixels: (first..geometry.image[axis]).step_by(stride).collect(), taps: taps.collect() }
    };
    (0..stride.min(geometry.image[axis])).map(phase).collect()
}

/// One direction, ready to run.
struct Direction {
    padding: Padding,
    correlation: Correlation,
    packed: Packed,
}

impl Direction {
    fn new((padding, passes): (Padding, Vec<Pass>), geometry: &Geometry, forward: bool, isa: Isa) -> Self {
        let (image, output) = (geometry.image[0] * geometry.image[1], geometry.output[0] * geometry.output[1]);
        let (channels, filters) = (geometry.channels / geometry.groups, geometry.filters / geometry.groups);
        let correlation = Correlation {
            passes,
            groups: geometry.groups,
            source_channels: if forward { channels } else { filters },
            target_channels: if forward { filters } else { channels },
            source_len: padding.len(),
            target_len: if forward { output * geometry.filters } else { image * geometry.channels },
            isa,
        };
        Direction { padding, correlation, packed: Packed::default() }
    }

    fn extent(&self, channels: usize) -> Extent {
        let Correlation { source_len, target_len, isa, .. } = self.correlation;
        Extent { channels, source_len, target_len, isa }
    }
}

/// Kernel of Conv (inputs image, weights, bias) and, `transposed`, of ConvTranspose (inputs output, weights, bias).
/// Weights are `[kH, kW, C / groups, M]` in memory.
pub struct Convolution {
    geometry: Geometry,
    transposed: bool,
    gather: Direction,
    scatter: Direction,
    weights: Vec<f32>,
}

impl Convolution {
    pub fn new(geometry: Geometry, transposed: bool, isa: Isa) -> Self {
        let gather = Direction::new(gather(&geometry), &geometry, true, isa);
        let scatter = Direction::new(scatter(&geometry), &geometry, false, isa);
        Convolution { geometry, transposed, gather, scatter, weights: Vec::new() }
    }

    fn is_depthwise(&self) -> bool {
        let Geometry { groups, channels, filters, .. } = self.geometry;
        groups > 1 && groups == channels && groups == filters
    }

    fn pack(&self, weights: &[f32]) -> (Packed, Packed) {
        if self.is_depthwise() {
            return (Packed::default(), Packed::default());
        }
        let Geometry { channels, filters, groups, .. } = self.geometry;
        let (c, o) = (channels / groups, filters / groups);
        let gather = self.gather.correlation.pack(|group, row, from, to| weights[(row * c + from) * filters + group * o + to]);
        let scatter = self.scatter.correlation.pack(|group, row, from, to| weights[(row * c + to) * filters + group * o + from]);
        (gather, scatter)
    }

    fn correlate(&self, forward: bool, packed: &Packed, weights: &[f32], call: Call<'_>) {
        let direction = if forward { &self.gather } else { &self.scatter };
        let (source, _) = direction.padding.apply(call.source, call.scratch);
        if self.is_depthwise() {
            let extent = direction.extent(self.geometry.channels);
            depthwise::correlate(&direction.correlation.passes, extent, source, weights, call.bias, call.target, call.accumulate);
        } else {
            direction.correlation.run(source, packed, call.bias, call.target, call.accumulate);
        }
    }

    fn add_weight_gradient(&self, image: &[f32], output: &[f32], gradient: &mut [f32], scratch: &mut [f32]) {
        let (source, _) = self.gather.padding.apply(image, scratch);
        if self.is_depthwise() {
            let extent = self.gather.extent(self.geometry.channels);
            depthwise::add_weight_gradient(&self.gather.correlation.passes, extent, source, output, gradient);
        } else {
            add_weight_gradient(&self.gather.correlation, source, output, gradient);
        }
    }
}

struct Call<'a> {
    source: &'a [f32],
    bias: Option<&'a [f32]>,
    target: &'a mut [f32],
    accumulate: bool,
    scratch: &'a mut [f32],
}

impl Kernel for Convolution {
    fn scratch(&self) -> usize {
        self.gather.padding.scratch().max(self.scatter.padding.scratch())
    }

    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        if let Some(Some(weights)) = shared.get(1) {
            (self.gather.packed, self.scatter.packed) = self.pack(weights);
            self.weights = weights.to_vec();
        }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        let bias = inputs.get(2).copied().filter(|bias| !bias.is_empty());
        let call = Call { source: inputs[0], bias, target: output, accumulate: false, scratch };
        let forward = !self.transposed;
        if self.weights.is_empty() {
            let (gather, scatter) = self.pack(inputs[1]);
            return self.correlate(forward, if forward { &gather } else { &scatter }, inputs[1], call);
        }
        let packed = if forward { &self.gather.packed } else { &self.scatter.packed };
        self.correlate(forward, packed, &self.weights, call);
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, scratch, .. } = call;
        if let Some(Some(Gradient { values, accumulate })) = input_gradients.first_mut() {
            let dynamic = self.weights.is_empty().then(|| self.pack(inputs[1]));
            let (gather, scatter) = dynamic.as_ref().map_or((&self.gather.packed, &self.scatter.packed), |(a, b)| (a, b));
            let weights = if self.weights.is_empty() { inputs[1] } else { &self.weights };
            let call = Call { source: output_gradient, bias: None, target: values, accumulate: *accumulate, scratch: &mut *scratch };
            self.correlate(self.transposed, if self.transposed { gather } else { scatter }, weights, call);
        }
        if let Some(Some(gradient)) = input_gradients.get_mut(1) {
            let (image, output) = if self.transposed { (output_gradient, inputs[0]) } else { (inputs[0], output_gradient) };
            self.add_weight_gradient(image, output, gradient.open(), scratch);
        }
        if let Some(Some(gradient)) = input_gradients.get_mut(2) {
            let target = gradient.open();
            for row in output_gradient.chunks_exact(target.len()) {
                for (sum, g) in target.iter_mut().zip(row) {
                    *sum += g;
                }
            }
        }
    }
}
