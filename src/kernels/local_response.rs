//! Local response normalization across channels.

use super::softmax::Lines;
use crate::ops::operator::{BackwardCall, Kernel, Layout};

/// y = x / (bias + alpha / size · Σ x² over `size` neighbouring channels) ^ beta.
pub struct LocalResponse {
    pub size: usize,
    pub alpha: f32,
    pub beta: f32,
    pub bias: f32,
    channels: usize,
    input: Lines,
    output: Lines,
}

impl LocalResponse {
    /// The layouts have one shape, with channels as dimension 1.
    pub fn new(input: &Layout, output: &Layout, size: usize, [alpha, beta, bias]: [f32; 3]) -> Self {
        let channels = input.shape[1];
        LocalResponse { size, alpha, beta, bias, channels, input: Lines::new(input, 1), output: Lines::new(output, 1) }
    }

    /// The channels that count for channel `c`.
    fn window(&self, c: usize) -> std::ops::Range<usize> {
        c.saturating_sub((self.size - 1) / 2)..(c + self.size / 2 + 1).min(self.channels)
    }

    /// What x is divided by, before the power.
    fn divisor(&self, x: &[f32], c: usize) -> f32 {
        let squares: f32 = self.window(c).map(|c| x[c * self.input.stride].powi(2)).sum();
        self.bias + self.alpha / self.size as f32 * squares
    }

    fn add_line(&self, x: &[f32], g: &[f32], dx: &mut [f32]) {
        for c in 0..self.channels {
            let (divisor, given) = (self.divisor(x, c), g[c * self.output.stride]);
            let power = divisor.powf(-self.beta);
            dx[c * self.input.stride] += given * power;
            let part = 2.0 * self.alpha * self.beta / self.size as f32 * given * x[c * self.input.stride] * power / divisor;
            self.window(c).for_each(|c| dx[c * self.input.stride] -= part * x[c * self.input.stride]);
        }
    }
}

impl Kernel for LocalResponse {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (from, to) in self.input.starts.iter().zip(&self.output.starts) {
            let (x, y) = (&inputs[0][*from..], &mut output[*to..]);
            for c in 0..self.channels {
                y[c * self.output.stride] = x[c * self.input.stride] * self.divisor(x, c).powf(-self.beta);
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let dx = gradient.open();
        for (from, to) in self.input.starts.iter().zip(&self.output.starts) {
            self.add_line(&call.inputs[0][*from..], &call.output_gradient[*to..], &mut dx[*from..]);
        }
    }
}
