//! What LayerNormalization, InstanceNormalization and GroupNormalization share: groups of elements that lie together in
//! row-major order, brought to mean 0 and variance 1.

use super::operator::{Fact, Facts, Implementation, Refusal, Site};
use super::unary::{numeric, output};
use crate::kernels::normalization::{Normalization, Place};

/// One output like input 0. Further outputs, which only training reads, stay without a value.
///
/// # Errors
/// If an input is missing or of another type.
pub fn infer(inputs: &Facts<'_>) -> Result<Vec<Fact>, Refusal> {
    let (x, _) = (numeric(inputs, 0)?, numeric(inputs, 1)?);
    Ok(vec![Fact::new(x.data_type, x.shape.clone())])
}

/// `size` is that of a group; `parameters` gives the place of scale and shift for every element in row-major order.
///
/// # Errors
/// If an input is missing.
pub fn implement(site: &Site<'_>, size: usize, parameters: Vec<usize>, epsilon: f32) -> Result<Implementation, Refusal> {
    let (input, output) = (&site.required(0)?.layout, output(site)?);
    let places = input.offsets().into_iter().zip(output.offsets()).zip(parameters);
    let places = places.map(|((from, to), parameter)| Place { from: from as u32, to: to as u32, parameter: parameter as u32 }).collect();
    Ok(Implementation::Compute(Box::new(Normalization { places, size, epsilon })))
}

/// As [`implement`] for `[N, C, …]` whose channels stand in groups of `channels` each; scale and shift are `[C]`, or one for
/// each group.
///
/// # Errors
/// If an input is missing or does not fit.
pub fn implement_channels(site: &Site<'_>, channels: usize, epsilon: f32) -> Result<Implementation, Refusal> {
    let shape = &site.required(0)?.layout.shape;
    let [_, all, spatial @ ..] = shape.as_slice() else { return Err(format!("input of rank {} has no channels", shape.len())) };
    let pixels: usize = spatial.iter().product();
    let given = site.required(1)?.layout.len();
    if site.get(2).is_some_and(|shift| shift.layout.len() != given) {
        return Err("scale and bias differ in length".to_string());
    }
    let per_parameter = match all.checked_div(given) {
        Some(1) => 1,
        Some(several) if several == channels && several * given == *all => channels,
        _ => return Err(format!("{given} scales do not fit {all} channels")),
    };
    let elements: usize = shape.iter().product();
    let parameters = (0..elements).map(|at| at / pixels.max(1) % all.max(&1) / per_parameter).collect();
    implement(site, channels * pixels, parameters, epsilon)
}
