//! Weighted sums of elements, along one dimension after another: what Resize computes.

use super::operator::{BackwardCall, Kernel, Layout};

/// Places in memory, and their weights.
pub(super) type Terms = Vec<(u32, f32)>;

/// Indices along one dimension, and their weights.
pub(super) type Taps = Vec<(usize, f32)>;

/// Each output element is a weighted sum of input elements.
pub(super) struct Mix {
    /// Places and weights, and the place of the output element; `None` where that is `fill`.
    pub terms: Vec<(Option<Terms>, u32)>,
    pub fill: f32,
}

impl Kernel for Mix {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        for (terms, to) in &self.terms {
            let mixed = |terms: &Terms| terms.iter().map(|(from, weight)| inputs[0][*from as usize] * weight).sum();
            output[*to as usize] = terms.as_ref().map_or(self.fill, mixed);
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let Some(Some(gradient)) = call.input_gradients.first_mut() else { return };
        let target = gradient.open();
        for (terms, to) in &self.terms {
            let terms = terms.iter().flatten();
            terms.for_each(|(from, weight)| target[*from as usize] += weight * call.output_gradient[*to as usize]);
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

/// For every output element in row-major order, offsets and weights over all dimensions; `None` outside of the image.
pub(super) fn mix(layout: &Layout, taps: &[Vec<Option<Taps>>]) -> Vec<Option<Terms>> {
    let mut all = vec![Some(vec![(0u32, 1.0f32)])];
    for (stride, taps) in layout.strides.iter().zip(taps) {
        let cross = |terms: &Option<Terms>, more: &Option<Taps>| -> Option<Terms> {
            let more = more.as_ref()?;
            let pairs = terms.as_ref()?.iter().flat_map(|(at, a)| more.iter().map(move |(i, b)| (at + (i * stride) as u32, a * b)));
            Some(pairs.filter(|(_, weight)| *weight != 0.0).collect())
        };
        all = all.iter().flat_map(|terms| taps.iter().map(move |more| cross(terms, more))).collect();
    }
    all
}
