use super::attributes::Attributes;
use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Layout, Operator, Refusal, Site};
use super::{NodeForm, Parsed};
use crate::graph::Dim;
use crate::kernels::Isa;

/// (x − mean) / √(variance + epsilon) · scale + bias with stored statistics. Inputs x, scale, bias, mean, variance.
///
/// Paper: Ioffe, Szegedy 2015, arXiv:1502.03167.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormalization {
    pub epsilon: f32,
}

impl BatchNormalization {
    /// A node in training mode is read as inference: exporters leave the mode set, and the stored statistics are there.
    ///
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let epsilon = attributes.take_float("epsilon", 1e-5)?;
        let _ = (attributes.take_float("momentum", 0.9)?, attributes.take_int("training_mode", 0)?, attributes.take_int("is_test", 1)?);
        if attributes.take_int("spatial", 1)? != 1 {
            return Err("spatial=0 is not supported".to_string());
        }
        attributes.0.remove("consumed_inputs");
        attributes.finish()?;
        if epsilon < 0.0 {
            return Err(format!("epsilon={epsilon} is negative"));
        }
        Ok(Parsed::plain(BatchNormalization { epsilon }))
    }

    /// Factor and shift of each channel: y = factor · x + shift.
    pub fn affine(&self, scale: &[f32], bias: &[f32], mean: &[f32], variance: &[f32]) -> Vec<(f64, f64)> {
        let channel = |c: usize| {
            let factor = f64::from(scale[c]) / (f64::from(variance[c]) + f64::from(self.epsilon)).sqrt();
            (factor, f64::from(bias[c]) - f64::from(mean[c]) * factor)
        };
        (0..scale.len()).map(channel).collect()
    }
}

struct BatchNormKernel {
    operator: BatchNormalization,
    factor: Vec<f32>,
    shift: Vec<f32>,
    isa: Isa,
}

#[inline(always)]
fn apply(factor: &[f32], shift: &[f32], input: &[f32], output: &mut [f32]) {
    for (x, y) in input.chunks_exact(factor.len()).zip(output.chunks_exact_mut(factor.len())) {
        for (((y, x), factor), shift) in y.iter_mut().zip(x).zip(factor).zip(shift) {
            *y = x * factor + shift;
        }
    }
}

#[inline(always)]
fn apply_gradient(factor: &[f32], gradient: &[f32], target: &mut [f32], accumulate: bool) {
    for (g, t) in gradient.chunks_exact(factor.len()).zip(target.chunks_exact_mut(factor.len())) {
        for ((t, g), factor) in t.iter_mut().zip(g).zip(factor) {
            *t = if accumulate { *t } else { 0.0 } + g * factor;
        }
    }
}

impl Kernel for BatchNormKernel {
    fn prepare(&mut self, shared: &[Option<&[f32]>]) {
        if let [_, Some(scale), Some(bias), Some(mean), Some(variance), ..] = shared {
            let affine = self.operator.affine(scale, bias, mean, variance);
            self.factor = affine.iter().map(|(factor, _)| *factor as f32).collect();
            self.shift = affine.iter().map(|(_, shift)| *shift as f32).collect();
        }
    }

    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        self.isa.run(|| apply(&self.factor, &self.shift, inputs[0], output));
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        if let Some(Some(gradient)) = call.input_gradients.first_mut() {
            let accumulate = gradient.accumulate;
            self.isa.run(|| apply_gradient(&self.factor, call.output_gradient, gradient.values, accumulate));
        }
    }

    fn backward_needs_inputs(&self) -> bool {
        false
    }
}

impl Operator for BatchNormalization {
    fn name(&self) -> &str {
        "BatchNormalization"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().float("epsilon", self.epsilon)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let x = inputs.required(0)?;
        if x.rank() < 2 {
            return Err(format!("its input has rank {}, it needs at least 2", x.rank()));
        }
        for index in 1..5 {
            let parameter = inputs.required(index)?;
            if parameter.rank() != 1 {
                return Err(format!("input {index} has rank {}, it needs 1", parameter.rank()));
            }
            if let (Dim::Known(channels), Dim::Known(len)) = (&x.shape[1], &parameter.shape[0])
                && channels != len
            {
                return Err(format!("input {index} has {len} channels, the data {channels}"));
            }
        }
        Ok(vec![Fact::new(x.data_type, x.shape.clone())])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let x = site.required(0)?;
        let contiguous = x.layout == Layout::activation(&x.layout.shape) && (x.layout.shape.len() > 2 || x.layout.shape[0] == 1);
        for index in 1..5 {
            if !site.required(index)?.shared {
                return Err(format!("input {index} must be constant"));
            }
        }
        if !contiguous && x.layout.shape.len() != 2 {
            return Err("its input is not an activation".to_string());
        }
        let kernel = BatchNormKernel { operator: *self, factor: vec![], shift: vec![], isa: site.isa };
        Ok(Implementation::Compute(Box::new(kernel)))
    }
}
