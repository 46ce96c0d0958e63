//! BatchNormalization with fixed statistics, the shortcut added after it and the activation behind both, in one pass.

use super::Isa;
use super::activation::{Activation, Clip, Function, Identity, LeakyRelu, Relu};
use super::traversal::{Traversal, axis_strides};
use crate::ops::operator::{BackwardCall, Gradient, Kernel, Layout};

/// Shortest run of channels worth a loop of its own: shorter ones are repeated side by side.
const RUN: usize = 128;

/// y = f(x · a + b + r) with a = scale / √(variance + ε) and b = bias − mean · a, per channel along dimension 1.
/// Inputs: (x, scale, bias, mean, variance) and r, if there is a shortcut; the four vectors must be shared by all images,
/// and constant unless f is the identity and there is no shortcut.
pub struct BatchNorm {
    traversal: Traversal<1>,
    epsilon: f32,
    isa: Isa,
    activation: Activation,
    shortcut: bool,
    factor: Vec<f32>,
    addend: Vec<f32>,
    /// How often the channels stand side by side in `factor` and `addend`.
    copies: usize,
}

/// A piece of memory and the factor and addend of each of its elements.
#[derive(Clone, Copy)]
struct Stretch<'a> {
    start: usize,
    factor: &'a [f32],
    addend: &'a [f32],
}

impl Stretch<'_> {
    #[inline(always)]
    fn of<'b>(&self, values: &'b [f32]) -> &'b [f32] {
        &values[self.start..][..self.factor.len()]
    }

    #[inline(always)]
    fn of_mut<'b>(&self, values: &'b mut [f32]) -> &'b mut [f32] {
        &mut values[self.start..][..self.factor.len()]
    }
}

impl BatchNorm {
    /// `layout` is that of x, y and r.
    pub fn new(layout: &Layout, epsilon: f32, isa: Isa) -> Self {
        let rank = layout.shape.len();
        let traversal = Traversal::new(layout, [&axis_strides(rank, (rank > 1).then_some(1))]);
        let copies = if traversal.strides[0] == 1 { RUN.div_ceil(traversal.inner.max(1)) } else { 1 };
        let (activation, shortcut) = (Activation::Identity, false);
        BatchNorm { traversal, epsilon, isa, activation, shortcut, factor: Vec::new(), addend: Vec::new(), copies }
    }

    /// With what comes after it. With a shortcut, the activation must be told by its output.
    pub fn followed_by(self, shortcut: bool, activation: Activation) -> Self {
        BatchNorm { shortcut, activation, ..self }
    }

    #[inline(always)]
    fn for_each_stretch(&self, mut visit: impl FnMut(Stretch<'_>)) {
        let Traversal { inner, offsets, strides, .. } = &self.traversal;
        if strides[0] == 1 {
            let (total, step) = (inner * offsets.len(), inner * self.copies);
            for start in (0..total).step_by(step.max(1)) {
                let len = step.min(total - start);
                visit(Stretch { start, factor: &self.factor[..len], addend: &self.addend[..len] });
            }
            return;
        }
        for (run, [channel]) in offsets.iter().enumerate() {
            let (factor, addend) = (&self.factor[channel * RUN..], &self.addend[channel * RUN..]);
            for start in (0..*inner).step_by(RUN) {
                let len = RUN.min(inner - start);
                visit(Stretch { start: run * inner + start, factor: &factor[..len], addend: &addend[..len] });
            }
        }
    }

    /// f(z) for all of `output`, z = x · a + b + r.
    #[inline(always)]
    fn write(&self, inputs: &[&[f32]], output: &mut [f32], function: impl Function) {
        self.for_each_stretch(
            #[inline(always)]
            |stretch| {
                let y = stretch.of_mut(output);
                match self.shortcut {
                    true => write_with(stretch, stretch.of(inputs[0]), stretch.of(inputs[5]), y, function),
                    false => write(stretch, stretch.of(inputs[0]), y, function),
                }
            },
        );
    }

    /// Gradients of x and of the shortcut.
    #[inline(always)]
    fn pull_back(&self, known: &[f32], g: &[f32], gradients: &mut [Option<Gradient<'_>>], function: impl Function) {
        let (first, rest) = gradients.split_at_mut(1);
        let (mut toward_x, mut toward_shortcut) = (first[0].as_mut(), rest.get_mut(4).and_then(Option::as_mut));
        self.for_each_stretch(
            #[inline(always)]
            |stretch| {
                let (known, g) = (stretch.of(known), stretch.of(g));
                if let Some(Gradient { values, accumulate }) = &mut toward_x {
                    let dx = stretch.of_mut(values);
                    match (self.shortcut, *accumulate) {
                        (true, false) => pull::<true, true, false>(stretch, known, g, dx, function),
                        (true, true) => pull::<true, true, true>(stretch, known, g, dx, function),
                        (false, false) => pull::<false, true, false>(stretch, known, g, dx, function),
                        (false, true) => pull::<false, true, true>(stretch, known, g, dx, function),
                    }
                }
                if let Some(Gradient { values, accumulate }) = &mut toward_shortcut {
                    let dr = stretch.of_mut(values);
                    match *accumulate {
                        false => pull::<true, false, false>(stretch, known, g, dr, function),
                        true => pull::<true, false, true>(stretch, known, g, dr, function),
                    }
                }
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

impl Kernel for BatchNorm {
    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        let [Some(scale), Some(bias), Some(mean), Some(variance)] = [1, 2, 3, 4].map(|index| shared.get(index).copied().flatten()) else {
            return;
        };
        let factor: Vec<f32> = scale.iter().zip(variance).map(|(s, v)| s / (v + self.epsilon).sqrt()).collect();
        let addend: Vec<f32> = bias.iter().zip(mean).zip(&factor).map(|((b, m), a)| b - m * a).collect();
        let side_by_side = self.traversal.strides[0] == 1;
        let repeat = |values: Vec<f32>| match side_by_side {
            true => values.repeat(self.copies),
            false => values.iter().flat_map(|value| [*value; RUN]).collect(),
        };
        (self.factor, self.addend) = (repeat(factor), repeat(addend));
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.isa.run(
            #[inline(always)]
            || match self.activation {
                Activation::Identity => self.write(inputs, output, Identity),
                Activation::Relu => self.write(inputs, output, Relu),
                Activation::LeakyRelu { alpha } => self.write(inputs, output, LeakyRelu(alpha)),
                Activation::Clip { low, high } => self.write(inputs, output, Clip(low, high)),
            },
        );
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output, output_gradient: g, input_gradients: gradients, .. } = call;
        // The identity's derivative reads nothing.
        let known = match self.activation {
            Activation::Identity => g,
            _ if self.shortcut => output,
            _ => inputs[0],
        };
        self.isa.run(
            #[inline(always)]
            || match self.activation {
                Activation::Identity => self.pull_back(known, g, gradients, Identity),
                Activation::Relu => self.pull_back(known, g, gradients, Relu),
                Activation::LeakyRelu { alpha } => self.pull_back(known, g, gradients, LeakyRelu(alpha)),
                Activation::Clip { low, high } => self.pull_back(known, g, gradients, Clip(low, high)),
            },
        );
        if gradients.iter().skip(1).take(4).any(Option::is_some) {
            self.parameter_gradients(inputs, g, gradients);
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        !self.shortcut
    }

    fn backward_needs_output(&self) -> bool {
        self.shortcut && self.activation != Activation::Identity
    }
}

#[inline(always)]
fn write(stretch: Stretch<'_>, x: &[f32], y: &mut [f32], function: impl Function) {
    let n = y.len();
    let (x, a, b) = (&x[..n], &stretch.factor[..n], &stretch.addend[..n]);
    for i in 0..n {
        y[i] = function.value(x[i] * a[i] + b[i]);
    }
}

#[inline(always)]
fn write_with(stretch: Stretch<'_>, x: &[f32], shortcut: &[f32], y: &mut [f32], function: impl Function) {
    let n = y.len();
    let (x, a, b, r) = (&x[..n], &stretch.factor[..n], &stretch.addend[..n], &shortcut[..n]);
    for i in 0..n {
        y[i] = function.value(x[i] * a[i] + b[i] + r[i]);
    }
}

/// The gradient of z, times a if `SCALED`. `known` is y if `FROM_OUTPUT`, else x.
#[inline(always)]
fn pull<const FROM_OUTPUT: bool, const SCALED: bool, const ACCUMULATE: bool>(
    stretch: Stretch<'_>,
    known: &[f32],
    g: &[f32],
    target: &mut [f32],
    function: impl Function,
) {
    let n = target.len();
    let (known, g, a, b) = (&known[..n], &g[..n], &stretch.factor[..n], &stretch.addend[..n]);
    for i in 0..n {
        let through = g[i] * function.slope(if FROM_OUTPUT { known[i] } else { known[i] * a[i] + b[i] });
        let part = if SCALED { through * a[i] } else { through };
        target[i] = if ACCUMULATE { target[i] + part } else { part };
    }
}

fn add(gradient: &mut Option<Gradient<'_>>, channel: usize, part: f32) {
    if let Some(gradient) = gradient {
        let kept = if gradient.accumulate { gradient.values[channel] } else { 0.0 };
        gradient.values[channel] = kept + part;
    }
}
