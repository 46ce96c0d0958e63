//! Groups of elements brought to mean 0 and variance 1, then scaled and shifted.

use crate::ops::operator::{BackwardCall, Kernel};

/// Where one element is read and written, and which scale and shift it takes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub from: u32,
    pub to: u32,
    pub parameter: u32,
}

/// y = scale · (x − mean) / √(variance + ε) + shift with the mean and variance of each group. Inputs: x, scale, shift.
pub struct Normalization {
    /// Group after group.
    pub places: Vec<Place>,
    /// Elements of a group.
    pub size: usize,
    pub epsilon: f32,
}

impl Normalization {
    /// Mean, and one over the deviation.
    fn moments(&self, group: &[Place], x: &[f32]) -> (f32, f32) {
        let count = group.len() as f64;
        let at = |place: &Place| f64::from(x[place.from as usize]);
        let mean = group.iter().map(at).sum::<f64>() / count;
        let variance = group.iter().map(|place| (at(place) - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, (1.0 / (variance + f64::from(self.epsilon)).sqrt()) as f32)
    }

    fn groups(&self) -> impl Iterator<Item = &[Place]> {
        self.places.chunks(self.size.max(1))
    }
}

impl Kernel for Normalization {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        let (x, scale) = (inputs[0], inputs[1]);
        let shift = |at: u32| inputs.get(2).and_then(|shift| shift.get(at as usize)).copied().unwrap_or(0.0);
        for group in self.groups() {
            let (mean, factor) = self.moments(group, x);
            for Place { from, to, parameter } in group {
                output[*to as usize] = (x[*from as usize] - mean) * factor * scale[*parameter as usize] + shift(*parameter);
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
        let (x, scale) = (inputs[0], inputs[1]);
        let mut targets: Vec<Option<&mut [f32]>> =
            input_gradients.iter_mut().map(|gradient| gradient.as_mut().map(|gradient| gradient.open())).collect();
        for group in self.groups() {
            let (mean, factor) = self.moments(group, x);
            let normal = |place: &Place| (x[place.from as usize] - mean) * factor;
            let inner = |place: &Place| output_gradient[place.to as usize] * scale[place.parameter as usize];
            let count = group.len() as f32;
            let level = group.iter().map(inner).sum::<f32>() / count;
            let slope = group.iter().map(|place| inner(place) * normal(place)).sum::<f32>() / count;
            for place in group {
                let given = output_gradient[place.to as usize];
                let parts = [
                    (place.from, factor * (inner(place) - level - normal(place) * slope)),
                    (place.parameter, given * normal(place)),
                    (place.parameter, given),
                ];
                for (target, (at, part)) in targets.iter_mut().zip(parts) {
                    target.iter_mut().for_each(|target| target[at as usize] += part);
                }
            }
        }
    }
}
