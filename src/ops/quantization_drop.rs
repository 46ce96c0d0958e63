//! Quantization that is left out at random.

use super::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use crate::kernels::Isa;

/// Each element is x or what quantization made of it, with even odds, over inputs (x, quantized, state). `state` is one number
/// that all images share: below 0 nothing is left out; else it seeds the choice, which the element's own bits and place
/// make differ from image to image. Exists while a network is tuned, never in a file.
///
/// Paper: Wei et al. 2022 (QDrop), arXiv:2203.05740, eq. 8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantizationDrop;

impl QuantizationDrop {
    /// What seeds the choice where the state is this; `None` where nothing is left out.
    pub fn seed(state: f32) -> Option<u32> {
        (state >= 0.0).then_some(state as u32)
    }

    /// Whether element `index` of a sample keeps its value.
    #[inline(always)]
    pub fn keeps(x: f32, index: usize, seed: u32) -> bool {
        let mixed = (x.to_bits() ^ seed ^ (index as u32).wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
        (mixed ^ (mixed >> 15)).wrapping_mul(0xC2B2_AE35) >> 31 == 1
    }
}

struct Drop {
    state: f32,
    isa: Isa,
}

#[inline(always)]
fn choose(x: &[f32], quantized: &[f32], seed: u32, output: &mut [f32]) {
    let n = output.len();
    let (x, quantized) = (&x[..n], &quantized[..n]);
    for i in 0..n {
        output[i] = if QuantizationDrop::keeps(x[i], i, seed) { x[i] } else { quantized[i] };
    }
}

/// Adds the gradient to the elements whose choice was `kept`.
#[inline(always)]
fn pass(x: &[f32], gradient: &[f32], seed: u32, kept: bool, target: &mut [f32]) {
    let n = target.len();
    let (x, gradient) = (&x[..n], &gradient[..n]);
    for i in 0..n {
        target[i] += if QuantizationDrop::keeps(x[i], i, seed) == kept { gradient[i] } else { 0.0 };
    }
}

impl Kernel for Drop {
    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        self.state = shared.get(2).copied().flatten().and_then(|state| state.first().copied()).unwrap_or(-1.0);
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        match QuantizationDrop::seed(self.state) {
            None => output.copy_from_slice(&inputs[1][..output.len()]),
            Some(seed) => self.isa.run(
                #[inline(always)]
                || choose(inputs[0], inputs[1], seed, output),
            ),
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let BackwardCall { inputs, output_gradient, input_gradients, .. } = call;
        for (index, gradient) in input_gradients.iter_mut().enumerate().take(2) {
            let Some(gradient) = gradient else { continue };
            let target = gradient.open();
            match QuantizationDrop::seed(self.state) {
                None if index == 0 => {}
                None => target.iter_mut().zip(output_gradient).for_each(|(target, g)| *target += g),
                Some(seed) => self.isa.run(
                    #[inline(always)]
                    || pass(inputs[0], output_gradient, seed, index == 0, target),
                ),
            }
        }
    }
}

impl Operator for QuantizationDrop {
    fn name(&self) -> &str {
        "QuantizationDrop"
    }

    fn domain(&self) -> &str {
        "zeroq"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default()
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        Ok(vec![Fact::new(x.data_type, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let (x, quantized) = (&site.required(0)?.layout, &site.required(1)?.layout);
        if x != quantized || site.output(0) != Some(x) {
            return Err("its inputs and its output must lie alike in memory".into());
        }
        Ok(Implementation::Compute(Box::new(Drop { state: -1.0, isa: site.isa })))
    }
}
