//! Quantizers with straight-through gradients, and rounding that is learned.

use candle_core::{Result, Tensor};

use super::step::{Call, Step, align, along, fit, mask, required};

/// Adding and taking away 1.5 · 2²³ rounds an f32 below 2²² to the nearest integer, ties to even, on any device.
const ROUNDING: f64 = 12_582_912.0;

/// Levels beyond which [`ROUNDING`] is not exact.
pub(super) const MOST_LEVELS: f64 = 1_048_576.0;

/// q = clamp(round(x / scale) + zero point); `axis` is that of several scales, the batch included.
pub(super) struct Quantize {
    pub axis: usize,
    pub low: f64,
    pub high: f64,
}

impl Quantize {
    /// x / scale, and the level that it is nearest to.
    fn level(&self, inputs: &[Option<Tensor>]) -> Result<(Tensor, Tensor)> {
        let x = required(inputs, 0)?;
        let within = 2.0 * MOST_LEVELS;
        let part = x.broadcast_div(&parameter(inputs, 1, self.axis)?)?;
        let rounded = ((part.clamp(-within, within)? + ROUNDING)? - ROUNDING)?;
        Ok((part, with_zero_point(rounded, inputs, self.axis, Tensor::broadcast_add)?))
    }
}

impl Step for Quantize {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        self.level(inputs)?.1.clamp(self.low, self.high)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (part, level) = self.level(call.inputs)?;
        let inside = (mask(level.ge(self.low))? * mask(level.le(self.high))?)?;
        let passed = (inside * call.gradient)?;
        let scale = parameter(call.inputs, 1, self.axis)?;
        let by_x = passed.broadcast_div(&scale)?;
        let by_scale = || (&by_x * &part)?.neg()?.reshape(call.gradient.dims());
        wanted(call, self.axis, &by_x, &by_scale, &passed)
    }
}

/// x = (q − zero point) · scale.
pub(super) struct Dequantize {
    pub axis: usize,
}

impl Step for Dequantize {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        with_zero_point(required(inputs, 0)?.clone(), inputs, self.axis, Tensor::broadcast_sub)?
            .broadcast_mul(&parameter(inputs, 1, self.axis)?)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let by_q = call.gradient.broadcast_mul(&parameter(call.inputs, 1, self.axis)?)?;
        let level = with_zero_point(required(call.inputs, 0)?.clone(), call.inputs, self.axis, Tensor::broadcast_sub)?;
        let by_scale = || call.gradient * &level;
        wanted(call, self.axis, &by_q, &by_scale, &by_q.neg()?)
    }
}

/// A quantizer and its dequantizer with the same parameters, over inputs (x, scale, zero point).
pub(super) struct FakeQuantize {
    pub quantize: Quantize,
}

impl FakeQuantize {
    fn parts(&self) -> (&Quantize, Dequantize) {
        (&self.quantize, Dequantize { axis: self.quantize.axis })
    }

    /// On CUDA scales and zero points `[2, …]`, for one kernel.
    #[cfg(feature = "cuda")]
    fn on_card(&self, inputs: &[Option<Tensor>]) -> Result<Option<(Tensor, (f32, f32))>> {
        let scale = required(inputs, 1)?;
        if !scale.device().is_cuda() {
            return Ok(None);
        }
        let factors = Tensor::stack(&[scale.flatten_all()?, required(inputs, 2)?.flatten_all()?], 0)?;
        Ok(Some((factors, (self.quantize.low as f32, self.quantize.high as f32))))
    }
}

impl Step for FakeQuantize {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some((factors, range)) = self.on_card(inputs)? {
            return super::cuda::fake_quantize(required(inputs, 0)?, &factors, self.quantize.axis, range);
        }
        let (quantize, dequantize) = self.parts();
        let level = quantize.forward(inputs)?;
        dequantize.forward(&[&[Some(level)], &inputs[1..]].concat())
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        #[cfg(feature = "cuda")]
        if let Some((factors, range)) = self.on_card(call.inputs)?
            && !call.wants(2)
        {
            let x = required(call.inputs, 0)?;
            let (by_x, by_scale) = super::cuda::fake_quantize_back(x, &factors, call.gradient, self.quantize.axis, range)?;
            return wanted(call, self.quantize.axis, &by_x, &|| Ok(by_scale.clone()), &by_x);
        }
        let (quantize, dequantize) = self.parts();
        let level = quantize.forward(call.inputs)?;
        let of_level = [&[Some(level.clone())], &call.inputs[1..]].concat();
        let all = [true, call.wants(1), call.wants(2)];
        let last = Call { inputs: &of_level, output: call.output, gradient: call.gradient, wanted: &all };
        let mut found = dequantize.backward(&last)?;
        let gradient = required(&found, 0)?.clone();
        let first = Call { inputs: call.inputs, output: &level, gradient: &gradient, wanted: call.wanted };
        let earlier = quantize.backward(&first)?;
        found[0] = earlier[0].clone();
        for index in 1..3 {
            if let (Some(late), Some(early)) = (&found[index], &earlier[index]) {
                found[index] = Some((late + early)?);
            }
        }
        Ok(found)
    }
}

/// Scale or zero point, to broadcast along `axis` of input 0.
fn parameter(inputs: &[Option<Tensor>], index: usize, axis: usize) -> Result<Tensor> {
    along(required(inputs, index)?, axis, required(inputs, 0)?.rank())
}

fn with_zero_point(
    x: Tensor,
    inputs: &[Option<Tensor>],
    axis: usize,
    apply: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if inputs.get(2).is_some_and(Option::is_some) { apply(&x, &parameter(inputs, 2, axis)?) } else { Ok(x) }
}

/// The gradients of input 0, of the scale and of the zero point that are wanted.
fn wanted(
    call: &Call<'_>,
    axis: usize,
    first: &Tensor,
    by_scale: &dyn Fn() -> Result<Tensor>,
    by_zero_point: &Tensor,
) -> Result<Vec<Option<Tensor>>> {
    let sum = |gradient: &Tensor, index: usize| -> Result<Tensor> {
        fit(gradient, &parameter(call.inputs, index, axis)?)?.reshape(required(call.inputs, index)?.dims())
    };
    let mut found = vec![None, None, None];
    if call.wants(0) {
        found[0] = Some(first.clone());
    }
    if call.wants(1) {
        found[1] = Some(sum(&by_scale()?, 1)?);
    }
    if call.wants(2) {
        found[2] = Some(sum(by_zero_point, 2)?);
    }
    Ok(found)
}

/// q = clamp(base + clamp(1.2 · sigmoid(v) − 0.1)), as [`crate::ops::SoftRound`].
pub(super) struct SoftRound {
    pub low: f64,
    pub high: f64,
}

impl SoftRound {
    /// The sigmoid of v, how far up that rounds, and the level before it is clamped.
    fn level(&self, inputs: &[Option<Tensor>]) -> Result<(Tensor, Tensor, Tensor)> {
        let (base, v) = (required(inputs, 0)?, required(inputs, 1)?);
        let sigmoid = (v.neg()?.exp()? + 1.0)?.recip()?;
        let part = sigmoid.affine(1.2, -0.1)?;
        let rank = base.rank().max(v.rank());
        let level = align(base, rank)?.broadcast_add(&align(&part.clamp(0.0, 1.0)?, rank)?)?;
        Ok((sigmoid, part, level))
    }
}

impl Step for SoftRound {
    fn forward(&self, inputs: &[Option<Tensor>]) -> Result<Tensor> {
        self.level(inputs)?.2.clamp(self.low, self.high)
    }

    fn backward(&self, call: &Call<'_>) -> Result<Vec<Option<Tensor>>> {
        let (sigmoid, part, level) = self.level(call.inputs)?;
        let within = (mask(level.gt(self.low))? * mask(level.lt(self.high))?)?;
        let open = (mask(part.gt(0.0))? * mask(part.lt(1.0))?)?;
        let rank = call.gradient.rank();
        let passed = (within.broadcast_mul(&align(&open, rank)?)? * call.gradient)?;
        let slope = align(&(&sigmoid * (1.0 - &sigmoid)?)?, rank)?;
        let mut found = vec![None, None];
        if call.wants(0) {
            found[0] = Some(fit(&passed, required(call.inputs, 0)?)?);
        }
        if call.wants(1) {
            found[1] = Some(fit(&(passed.broadcast_mul(&slope)? * 1.2)?, required(call.inputs, 1)?)?);
        }
        Ok(found)
    }
}
