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

impl QuantParams {
    /// Smallest and largest number that the first channel can hold with `scale`.
    pub fn span(&self, scale: f32) -> (f64, f64) {
        let (least, most) = self.data_type.integer_range().unwrap_or((0.0, 255.0));
        let zero_point = f64::from(self.zero_point.first().copied().unwrap_or(0));
        (f64::from(scale) * (least - zero_point), f64::from(scale) * (most - zero_point))
    }
}
