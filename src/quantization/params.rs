//! The numbers of one quantizer.

use crate::tensor::DataType;

/// q = saturate(round_half_even(x / scale) + zero_point); x ≈ (q − zero_point) · scale.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantParams {
    /// One number, or one per channel along `axis`. Positive, finite, never subnormal.
    pub scale: Vec<f32>,
    pub zero_point: Vec<i32>,
    /// Per channel along this dimension, or per tensor.
    pub axis: Option<usize>,
    pub data_type: DataType,
}
