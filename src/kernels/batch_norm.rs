//! BatchNormalization with fixed statistics: one multiplication and addition per element.

use super::Isa;
use super::traversal::{Traversal, axis_strides};
use crate::ops::operator::{BackwardCall, Gradient, Kernel, Layout};

/// Shortest run of channels worth a loop of its own: shorter ones are repeated side by side.
const RUN: usize = 128;

/// y = x · a + b with a = scale / √(variance + ε) and b = bias − mean · a, per channel along dimension 1.
/// Inputs: (x, scale, bias, mean, variance); the last four must be shared by all images.
pub struct BatchNorm {
    traversal: Traversal<1>,
    epsilon: f32,
    isa: Isa,
    factor: Vec<f32>,
    addend: Vec<f32>,
    /// How often the channels stand side by side in `factor` and `addend`.
    copies: usize,
}

impl BatchNorm {
    /// `layout` is that of x and y.
    pub fn new(layout: &Layout, epsilon: f32, isa: Isa) -> Self {
        let rank = layout.shape.len();
        let traversal = Traversal::new(layout, [&axis_strides(rank, (rank > 1).then_some(1))]);
        let copies = if traversal.strides[0] == 1 { RUN.div_ceil(traversal.inner.max(1)) } else { 1 };
        BatchNorm { traversal, epsilon, isa, factor: Vec::new(), addend: Vec::new(), copies }
    }

    /// Calls `visit(start, len, factors, addends)` for stretches of memory; one factor stands for all of a stretch.
    #[inline(always)]
    fn for_each_stretch(&self, mut visit: impl FnMut(usize, usize, &[f32], &[f32])) {
        let Traversal { inner, offsets, strides, .. } = &self.traversal;
        if strides[0] == 0 {
            for (run, [channel]) in offsets.iter().enumerate() {
                visit(run * inner, *inner, &self.factor[*channel..=*channel], &self.addend[*channel..=*channel]);
            }
            return;
        }
        let (total, step) = (inner * offsets.len(), inner * self.copies);
        for start in (0..total).step_by(step.max(1)) {
            let len = step.min(total - start);
            visit(start, len, &self.factor[..len], &self.addend[..len]);
        }
    }
}

impl Kernel for BatchNorm {
    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        let [Some(scale), Some(bias), Some(mean), Some(variance)] = [1, 2, 3, 4].map(|index| shared.get(index).copied().flatten()) else {
            return;
        };
        let factor: Vec<f32> = scale.iter().zip(variance).map(|(s, v)| s / (v + self.epsilon).sqrt()).collect();
        let addend: Vec<f32> = bias.iter().zip(mean).zip(&factor).map(|((b, m), a)| b - m * a).collect();
        self.factor = factor.repeat(self.copies);
        self.addend = addend.repeat(self.copies);
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.isa.run(
            #[inline(always)]
            || {
                self.for_each_stretch(
                    #[inline(always)]
                    |start, len, factor, addend| {
                        let (x, y) = (&inputs[0][start..][..len], &mut output[start..][..len]);
                        match (factor, addend) {
                            ([a], [b]) => y.iter_mut().zip(x).for_each(|(y, x)| *y = x * a + b),
                            _ => y.iter_mut().zip(x).zip(factor.iter().zip(addend)).for_each(|((y, x), (a, b))| *y = x * a + b),
                        }
                    },
                );
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
        if let Some(Some(gradient)) = input_gradients.first_mut() {
            self.input_gradient(output_gradient, gradient);
        }
        if input_gradients.iter().skip(1).any(Option::is_some) {
            self.parameter_gradients(inputs, output_gradient, input_gradients);
        }
    }
}

impl BatchNorm {
    fn input_gradient(&self, g: &[f32], gradient: &mut Gradient<'_>) {
        let accumulate = gradient.accumulate;
        self.isa.run(
            #[inline(always)]
            || {
                self.for_each_stretch(
                    #[inline(always)]
                    |start, len, factor, _| {
                        let (g, dx) = (&g[start..][..len], &mut gradient.values[start..][..len]);
                        match (factor, accumulate) {
                            ([a], false) => dx.iter_mut().zip(g).for_each(|(d, g)| *d = g * a),
                            ([a], true) => dx.iter_mut().zip(g).for_each(|(d, g)| *d += g * a),
                            (_, false) => dx.iter_mut().zip(g).zip(factor).for_each(|((d, g), a)| *d = g * a),
                            (_, true) => dx.iter_mut().zip(g).zip(factor).for_each(|((d, g), a)| *d += g * a),
                        }
                    },
                );
            },
        );
    }

    /// From Σg and Σg·x per channel.
    fn parameter_gradients(&self, inputs: &[&[f32]], g: &[f32], gradients: &mut [Option<Gradient<'_>>]) {
        let channels = inputs[1].len();
        let (mut sum, mut sum_x) = (vec![0.0f32; channels], vec![0.0f32; channels]);
        let Traversal { inner, offsets, strides, .. } = &self.traversal;
        for (run, [offset]) in offsets.iter().enumerate() {
            for i in 0..*inner {
                let (channel, at) = (offset + i * strides[0], run * inner + i);
                sum[channel] += g[at];
                sum_x[channel] += g[at] * inputs[0][at];
            }
        }
        for channel in 0..channels {
            let (scale, mean, variance) = (inputs[1][channel], inputs[3][channel], inputs[4][channel]);
            let inverse = 1.0 / (variance + self.epsilon).sqrt();
            let centred = sum_x[channel] - mean * sum[channel];
            let parts = [centred * inverse, sum[channel], -scale * inverse * sum[channel], -0.5 * scale * inverse.powi(3) * centred];
            for (gradient, part) in gradients.iter_mut().skip(1).zip(parts) {
                add(gradient, channel, part);
            }
        }
    }
}

fn add(gradient: &mut Option<Gradient<'_>>, channel: usize, part: f32) {
    if let Some(gradient) = gradient {
        let kept = if gradient.accumulate { gradient.values[channel] } else { 0.0 };
        gradient.values[channel] = kept + part;
    }
}
