//! Products of two operands, summed over indices that the output does not have.

use crate::ops::operator::{BackwardCall, Kernel};

/// `y[to] += Π operands`, for all combinations of indices: places of the output and of each operand, term by term.
pub struct Contraction {
    /// Places in the output and in the operands; one operand stands alone.
    pub terms: Vec<(u32, [u32; 2])>,
    pub pair: bool,
}

impl Kernel for Contraction {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        output.fill(0.0);
        for (to, [a, b]) in &self.terms {
            let second = if self.pair { inputs[1][*b as usize] } else { 1.0 };
            output[*to as usize] += inputs[0][*a as usize] * second;
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
        for (operand, gradient) in input_gradients.iter_mut().enumerate() {
            let Some(gradient) = gradient else { continue };
            let target = gradient.open();
            for (to, places) in &self.terms {
                let other = if self.pair { inputs[1 - operand][places[1 - operand] as usize] } else { 1.0 };
                target[places[operand] as usize] += output_gradient[*to as usize] * other;
            }
        }
    }
}
