//! Convolution whose kernel reaches for elements beside its usual places.

use super::Window;
use super::sampling::{Corner, Interpolation, Outside, Taps, cross, mix, slope, spread};
use crate::ops::operator::{BackwardCall, Gradient, Kernel};

/// Inputs, all row-major: data, weights, offsets, bias, mask; the last two may be left out.
pub struct Deformed {
    pub window: Window,
    /// Groups of channels that have offsets of their own.
    pub offset_group: usize,
}

/// A position of the kernel at one place of the map.
struct Reach {
    /// Of the offset along H among all offsets; that along W is `plane` further.
    offset: usize,
    /// Among the mask.
    mask: usize,
    /// Number of the position within the kernel.
    tap: usize,
    /// The input channels that share it.
    channels: std::ops::Range<usize>,
}

impl Deformed {
    fn taps(&self) -> usize {
        self.window.kernel[1] * self.window.kernel[2]
    }

    fn map(&self) -> usize {
        self.window.map[1] * self.window.map[2]
    }

    fn plane(&self) -> usize {
        self.window.image[1] * self.window.image[2]
    }

    /// Calls `visit` for every position of the kernel at `place`, with the mix of elements that it reaches.
    fn for_each_reach(&self, image: usize, place: usize, offsets: &[f32], mut visit: impl FnMut(&Reach, &[Corner])) {
        let Window { kernel, stride, dilation, pad, image: sizes, map, channels, .. } = &self.window;
        let (taps, share) = (self.taps(), channels / self.offset_group);
        let (row, column) = (place / map[2], place % map[2]);
        let mut corners = Vec::new();
        for group in 0..self.offset_group {
            for tap in 0..taps {
                let number = (image * self.offset_group + group) * taps + tap;
                let offset = number * 2 * self.map() + place;
                let usual = |axis: usize, at: usize, tap: usize| (at * stride[axis] + tap * dilation[axis]) as f32 - pad[axis] as f32;
                let y = usual(1, row, tap / kernel[2]) + offsets[offset];
                let x = usual(2, column, tap % kernel[2]) + offsets[offset + self.map()];
                let along = |position: f32, size: usize| Taps::new(Interpolation::Linear, position, size, Outside::Zeros);
                cross(&[along(y, sizes[1]), along(x, sizes[2])], &sizes[1..], &mut corners);
                let channels = group * share..(group + 1) * share;
                visit(&Reach { offset, mask: number * self.map() + place, tap, channels }, &corners);
            }
        }
    }

    /// What the kernel reaches at `place`: `[C, kH · kW]`, masked.
    fn gather(&self, image: usize, place: usize, inputs: &[&[f32]], columns: &mut [f32]) {
        let (taps, plane) = (self.taps(), self.plane());
        self.for_each_reach(image, place, inputs[2], |reach, corners| {
            let mask = inputs.get(4).and_then(|mask| mask.get(reach.mask)).copied().unwrap_or(1.0);
            for channel in reach.channels.clone() {
                let data = &inputs[0][(image * self.window.channels + channel) * plane..][..plane];
                columns[channel * taps + reach.tap] = mask * mix(corners, data);
            }
        });
    }

    /// The row of the weights of `feature`, and where the channels that it reads begin among the columns.
    fn row(&self, feature: usize) -> (usize, usize, usize) {
        let Window { group, channels, features, .. } = self.window;
        let length = channels / group * self.taps();
        (feature * length, feature / (features / group) * length, length)
    }

    /// Brings the gradient of the columns at `place` to data, offsets and mask.
    fn scatter(&self, image: usize, place: usize, inputs: &[&[f32]], columns: &[f32], gradients: &mut [Option<Gradient<'_>>]) {
        let (taps, plane) = (self.taps(), self.plane());
        self.for_each_reach(image, place, inputs[2], |reach, corners| {
            let mask = inputs.get(4).and_then(|mask| mask.get(reach.mask)).copied().unwrap_or(1.0);
            for channel in reach.channels.clone() {
                let (start, g) = ((image * self.window.channels + channel) * plane, columns[channel * taps + reach.tap]);
                let data = &inputs[0][start..][..plane];
                if let Some(Some(gradient)) = gradients.get_mut(0) {
                    spread(corners, g * mask, &mut gradient.values[start..][..plane]);
                }
                if let Some(Some(gradient)) = gradients.get_mut(2) {
                    gradient.values[reach.offset] += g * mask * slope(corners, data, 0);
                    gradient.values[reach.offset + self.map()] += g * mask * slope(corners, data, 1);
                }
                if let Some(Some(gradient)) = gradients.get_mut(4) {
                    gradient.values[reach.mask] += g * mix(corners, data);
                }
            }
        });
    }
}

impl Kernel for Deformed {
    fn scratch(&self) -> usize {
        2 * self.window.channels * self.taps()
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], scratch: &mut [f32]) {
        let columns = &mut scratch[..self.window.channels * self.taps()];
        for image in 0..self.window.batch {
            for place in 0..self.map() {
                self.gather(image, place, inputs, columns);
                for feature in 0..self.window.features {
                    let (row, start, length) = self.row(feature);
                    let products = inputs[1][row..][..length].iter().zip(&columns[start..][..length]).map(|(w, x)| w * x);
                    let bias = inputs.get(3).and_then(|bias| bias.get(feature)).copied().unwrap_or(0.0);
                    output[(image * self.window.features + feature) * self.map() + place] = bias + products.sum::<f32>();
                }
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, scratch, .. } = call;
        input_gradients.iter_mut().flatten().for_each(|gradient| {
            gradient.open();
        });
        let (columns, rest) = scratch.split_at_mut(self.window.channels * self.taps());
        let column_gradients = &mut rest[..columns.len()];
        for image in 0..self.window.batch {
            for place in 0..self.map() {
                self.gather(image, place, inputs, columns);
                column_gradients.fill(0.0);
                for feature in 0..self.window.features {
                    let g = output_gradient[(image * self.window.features + feature) * self.map() + place];
                    let (row, start, length) = self.row(feature);
                    let weights = &inputs[1][row..][..length];
                    column_gradients[start..][..length].iter_mut().zip(weights).for_each(|(target, w)| *target += g * w);
                    if let Some(Some(gradient)) = input_gradients.get_mut(1) {
                        gradient.values[row..][..length].iter_mut().zip(&columns[start..]).for_each(|(target, x)| *target += g * x);
                    }
                    if let Some(Some(gradient)) = input_gradients.get_mut(3) {
                        gradient.values[feature] += g;
                    }
                }
                self.scatter(image, place, inputs, column_gradients, input_gradients);
            }
        }
    }
}
