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

/// Mean of a group, and one over its deviation.
fn moments(group: &[Place], x: &[f32], epsilon: f32) -> (f32, f32) {
    let count = group.len() as f64;
    let at = |place: &Place| f64::from(x[place.from as usize]);
    let mean = group.iter().map(at).sum::<f64>() / count;
    let variance = group.iter().map(|place| (at(place) - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, (1.0 / (variance + f64::from(epsilon)).sqrt()) as f32)
}

impl Normalization {
    fn moments(&self, group: &[Place], x: &[f32]) -> (f32, f32) {
        moments(group, x, self.epsilon)
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

/// Which moment of a group is an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Mean,
    /// 1 / √(variance + ε).
    InverseDeviation,
}

/// One moment of each group, in place `to` of its first element.
pub struct Moments {
    pub places: Vec<Place>,
    pub size: usize,
    pub epsilon: f32,
    pub moment: Moment,
}

impl Kernel for Moments {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for group in self.places.chunks(self.size.max(1)) {
            let (mean, factor) = moments(group, inputs[0], self.epsilon);
            output[group[0].to as usize] = if self.moment == Moment::Mean { mean } else { factor };
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
        let Some(Some(gradient)) = input_gradients.first_mut() else { return };
        let (x, target) = (inputs[0], gradient.open());
        for group in self.places.chunks(self.size.max(1)) {
            let (mean, factor) = moments(group, x, self.epsilon);
            let given = output_gradient[group[0].to as usize] / group.len() as f32;
            for Place { from, .. } in group {
                let slope = if self.moment == Moment::Mean { 1.0 } else { -factor.powi(3) * (x[*from as usize] - mean) };
                target[*from as usize] += given * slope;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::operator::Gradient;

    #[test]
    fn gradients_of_moments_are_their_differences() {
        let places = (0..6).map(|at| Place { from: [3, 0, 4, 1, 5, 2][at], to: at as u32 / 3, parameter: 0 });
        let places: Vec<Place> = places.collect();
        let x = [0.3f32, -1.2, 0.7, 2.0, 0.1, -0.4];
        for moment in [Moment::Mean, Moment::InverseDeviation] {
            let kernel = Moments { places: places.clone(), size: 3, epsilon: 1e-3, moment };
            let given = [0.7, -1.3];
            let loss = |x: &[f32]| {
                let mut output = [0.0; 2];
                kernel.forward(&[x], &mut output, &mut []);
                output.iter().zip(given).map(|(y, g)| f64::from(y * g)).sum::<f64>()
            };
            let mut found = [0.0; 6];
            let mut gradients = [Some(Gradient { values: &mut found, accumulate: false })];
            let call =
                BackwardCall { inputs: &[&x], output: &[], output_gradient: &given, input_gradients: &mut gradients, scratch: &mut [] };
            kernel.backward(call);
            for (index, found) in found.iter().enumerate() {
                let [more, less] = [0.01, -0.01].map(|step| {
                    let mut moved = x;
                    moved[index] += step;
                    loss(&moved)
                });
                let wanted = (more - less) / 0.02;
                assert!((f64::from(*found) - wanted).abs() < 2e-3, "{moment:?} {index}: {found} instead of {wanted}");
            }
        }
    }
}
