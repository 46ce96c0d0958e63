//! Moving elements: the kernel of every operator that is an index map, and of values that leave one layout for another.

use crate::ops::operator::{BackwardCall, FILL, Kernel, Layout};

/// `len` neighbours in memory that stay neighbours.
#[derive(Clone, Copy)]
struct Run {
    to: u32,
    input: u32,
    from: u32,
    len: u32,
}

/// Copies runs of elements from any of its inputs.
pub struct Move {
    runs: Vec<Run>,
    /// Set where some output elements come from no input.
    fill: Option<f32>,
}

impl Move {
    /// `map` as in `Implementation::Move`: for each output element in row-major order, its place among the row-major
    /// elements of all present inputs one after another. `inputs` holds `None` where an input is omitted.
    pub fn new(map: &[u32], fill: f32, inputs: &[Option<&Layout>], output: &Layout) -> Option<Self> {
        let mut sources = Vec::new();
        for (index, layout) in inputs.iter().enumerate() {
            let offsets = layout.map(Layout::offsets).unwrap_or_default();
            sources.extend(offsets.into_iter().map(|offset| (index as u32, offset as u32)));
        }
        let mut by_memory = vec![FILL; map.len()];
        for (entry, to) in map.iter().zip(output.offsets()) {
            *by_memory.get_mut(to)? = *entry;
        }
        let mut runs: Vec<Run> = Vec::new();
        let mut covered = 0;
        for (to, entry) in by_memory.iter().enumerate().filter(|(_, entry)| **entry != FILL) {
            let (input, from) = *sources.get(*entry as usize)?;
            covered += 1;
            match runs.last_mut() {
                Some(run) if run.input == input && run.from + run.len == from && run.to + run.len == to as u32 => run.len += 1,
                _ => runs.push(Run { to: to as u32, input, from, len: 1 }),
            }
        }
        Some(Move { runs, fill: (covered < map.len()).then_some(fill) })
    }
}

impl Kernel for Move {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        if let Some(fill) = self.fill {
            output.fill(fill);
        }
        for run in &self.runs {
            let (to, from, len) = (run.to as usize, run.from as usize, run.len as usize);
            if len == 1 {
                output[to] = inputs[run.input as usize][from];
            } else {
                output[to..to + len].copy_from_slice(&inputs[run.input as usize][from..from + len]);
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        for (index, gradient) in call.input_gradients.iter_mut().enumerate() {
            let Some(gradient) = gradient else { continue };
            let target = gradient.open();
            for run in self.runs.iter().filter(|run| run.input as usize == index) {
                let (to, from, len) = (run.to as usize, run.from as usize, run.len as usize);
                for (target, g) in target[from..from + len].iter_mut().zip(&call.output_gradient[to..to + len]) {
                    *target += g;
                }
            }
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::operator::Gradient;

    #[test]
    fn moves_between_layouts_and_back() {
        // Concat of two [1, 2, 2, 1] values along channels, channels last in memory, with one filled element.
        let part = Layout::activation(&[1, 2, 2, 1]);
        let whole = Layout::activation(&[1, 4, 2, 1]);
        let map = [0, 1, 2, 3, 4, 5, 6, FILL];
        let kernel = Move::new(&map, 9.0, &[Some(&part), Some(&part)], &whole).unwrap();
        let mut output = vec![0.0; 8];
        kernel.forward(&[&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]], &mut output, &mut []);
        assert_eq!(output, [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 9.0]);
        let mut gradient = vec![1.0; 4];
        let mut gradients = [None, Some(Gradient { values: &mut gradient, accumulate: true })];
        let inputs: [&[f32]; 2] = [&[], &[]];
        let call =
            BackwardCall { inputs: &inputs, output: &[], output_gradient: &output, input_gradients: &mut gradients, scratch: &mut [] };
        kernel.backward(call);
        assert_eq!(gradient, [6.0, 7.0, 8.0, 1.0]);
    }
}
