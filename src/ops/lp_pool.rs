//! LpPool and GlobalLpPool.

use super::operator::{Fact, Facts, Implementation, Operator, Refusal, Site};
use super::pooling::{Padding, Window};
use super::{Attributes, NodeForm, Parsed, reduction};
use crate::kernels::pool::Pooling;

/// Length of what stands under a sliding window: the p-th root of the sum of p-th powers of magnitudes.
#[derive(Clone, Debug, PartialEq)]
pub struct LpPool {
    pub window: Window,
    pub p: i64,
}

/// Length of each channel: `[N, C, …]` to `[N, C, 1, …]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GlobalLpPool {
    pub p: i64,
}

fn take_power(attributes: &mut Attributes, opset: i64) -> Result<i64, Refusal> {
    // The first version wrote it as a number with a fraction.
    let p = if opset < 2 { attributes.take_float("p", 2.0)? as i64 } else { attributes.take_int("p", 2)? };
    if p > 0 { Ok(p) } else { Err(format!("p={p} is not positive")) }
}

impl LpPool {
    /// # Errors
    /// If an attribute is wrong or not supported.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let NodeForm { mut attributes, opset, .. } = form;
        let p = take_power(&mut attributes, opset)?;
        let window = Window::take(&mut attributes)?;
        attributes.finish()?;
        Ok(Parsed::plain(LpPool { window, p }))
    }
}

impl GlobalLpPool {
    /// # Errors
    /// If an attribute is wrong or not known.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let NodeForm { mut attributes, opset, .. } = form;
        let p = take_power(&mut attributes, opset)?;
        attributes.finish()?;
        Ok(Parsed::plain(GlobalLpPool { p }))
    }
}

impl Operator for LpPool {
    fn name(&self) -> &str {
        "LpPool"
    }

    fn attributes(&self) -> Attributes {
        self.window.attributes().int("p", self.p)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        self.window.infer(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        self.window.implement(site, Pooling::Length { p: self.p as f32 })
    }
}

impl Operator for GlobalLpPool {
    fn name(&self) -> &str {
        "GlobalLpPool"
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("p", self.p)
    }

    fn infer(&self, inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
        reduction::infer_spatial(inputs)
    }

    fn implement(&self, site: &Site<'_>) -> Result<Implementation, Refusal> {
        let kernel = site.required(0)?.layout.shape.get(2..).unwrap_or_default().to_vec();
        let ones = vec![1; kernel.len()];
        let window = Window { kernel, strides: ones.clone(), dilations: ones, padding: Padding::Valid, ceil_mode: false };
        window.implement(site, Pooling::Length { p: self.p as f32 })
    }
}
