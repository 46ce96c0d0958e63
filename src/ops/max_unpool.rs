//! MaxUnpool.

use super::operator::{BackwardCall, Fact, Facts, Implementation, Kernel, Operator, Refusal, Site};
use super::pooling::{Padding, Window};
use super::reordered::row_major;
use super::unary::{numeric, output};
use super::{Attributes, NodeForm, Parsed};
use crate::graph::Dim;

/// Undoes MaxPool: each element of input 0 goes where input 1, the indices of MaxPool, say, and zeros everywhere else. Input 2,
/// if given, is the shape of the result, which the indices then count through, as they do in ONNX Runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxUnpool {
    pub window: Window,
}

/// # Errors
/// If an attribute is wrong or not known.
pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
    let mut attributes = form.attributes;
    let window = Window::take(&mut attributes)?;
    attributes.finish()?;
    Ok(Parsed::plain(MaxUnpool { window }))
}

impl MaxUnpool {
    /// The size that was pooled to `pooled`.
    fn unpooled(&self, axis: usize, pooled: usize) -> Result<usize, Refusal> {
        let Window { kernel, strides, padding, .. } = &self.window;
        let Padding::Explicit(pads) = padding else { return Err("auto_pad is not known to it".to_string()) };
        let reach = pooled.checked_sub(1).map(|steps| steps.saturating_mul(strides[axis]).saturating_add(kernel[axis]));
        let size = reach.and_then(|reach| reach.checked_sub(pads[axis] + pads[axis + kernel.len()]));
        size.ok_or_else(|| format!("a dimension of {pooled} is too small for its pads"))
    }
}

impl Operator for MaxUnpool {
    fn name(&self) -> &str {
        "MaxUnpool"
    }

    fn attributes(&self) -> Attributes {
        let attributes = self.window.attributes();
        Attributes(attributes.0.into_iter().filter(|(name, _)| matches!(name.as_str(), "kernel_shape" | "strides" | "pads")).collect())
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        let (x, indices) = (numeric(inputs, 0)?, inputs.required(1)?);
        if x.rank() != indices.rank() || x.rank() != self.window.kernel.len() + 2 {
            return Err(format!("kernel_shape={:?} does not fit inputs of rank {} and {}", self.window.kernel, x.rank(), indices.rank()));
        }
        if let Some(wanted) = inputs.get(2) {
            let shape = match wanted.integers() {
                Some(sizes) => super::rearrange::sizes(&sizes)?.into_iter().map(Dim::Known).collect(),
                None => vec![Dim::Unknown; x.rank()],
            };
            let differs = |(own, wanted): (&Dim, &Dim)| own.known().zip(wanted.known()).is_some_and(|(own, wanted)| own != wanted);
            if shape.len() != x.rank() || x.shape.iter().zip(&shape).take(2).any(differs) {
                return Err("its shape does not fit the images and channels of its input".to_string());
            }
            return Ok(vec![Fact::new(x.data_type, shape)]);
        }
        let mut shape = x.shape.clone();
        for (axis, dim) in shape[2..].iter_mut().enumerate() {
            *dim = match dim.known() {
                Some(size) => Dim::Known(self.unpooled(axis, size)?),
                None => Dim::Unknown,
            };
        }
        Ok(vec![Fact::new(x.data_type, shape)])
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        if site.required(0)?.layout.shape != site.required(1)?.layout.shape {
            return Err("values and indices differ in shape".to_string());
        }
        output(site)?;
        Ok(Implementation::Compute(row_major(site, 0, Unpool)))
    }
}

struct Unpool;

impl Kernel for Unpool {
    fn forward(&self, inputs: &[&[f32]], output: &mut [f32], _scratch: &mut [f32]) {
        output.fill(0.0);
        for (x, index) in inputs[0].iter().zip(inputs[1]) {
            if let Some(y) = output.get_mut(*index as usize) {
                *y = *x;
            }
        }
    }

    fn backward(&self, call: BackwardCall<'_, '_>) {
        let mut gradients = call.input_gradients.iter_mut();
        if let Some(Some(gradient)) = gradients.next() {
            let dx = gradient.open();
            // Of several elements at one place the last is what remains.
            let mut taken = vec![false; call.output_gradient.len()];
            for (dx, index) in dx.iter_mut().zip(call.inputs[1]).rev() {
                let place = *index as usize;
                if taken.get_mut(place).is_some_and(|taken| !std::mem::replace(taken, true)) {
                    *dx += call.output_gradient[place];
                }
            }
        }
        gradients.flatten().for_each(|gradient| {
            gradient.open();
        });
    }
}
