//! From ranges to scales and zero points.

use super::params::QuantParams;
use crate::tensor::DataType;

/// Smallest scale: far from subnormal, and its reciprocal far from infinity.
const SMALLEST: f32 = 1e-20;

fn sound(scale: f64) -> f32 {
    let scale = scale as f32;
    if scale.is_finite() && scale >= SMALLEST { scale } else { 1.0 }
}

/// Params of an activation over `[low, high]`, widened to hold 0. Asymmetric, or symmetric about 0 with zero point 0.
pub fn activation(low: f32, high: f32, data_type: DataType, symmetric: bool) -> QuantParams {
    let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
    let (least, most) = data_type.integer_range().unwrap_or((0.0, 255.0));
    if symmetric {
        let scale = sound(low.abs().max(high) / most);
        return QuantParams { scale: vec![scale], zero_point: vec![0], axis: None, data_type };
    }
    let scale = sound((high - low) / (most - least));
    let zero_point = (least - low / f64::from(scale)).round_ties_even().clamp(least, most);
    QuantParams { scale: vec![scale], zero_point: vec![zero_point as i32], axis: None, data_type }
}

/// The largest scale with which the type and zero point of `params` hold nothing outside `bounds`. A bound of 0 does not
/// depend on the scale.
pub fn largest_scale(bounds: (f32, f32), params: &QuantParams) -> f32 {
    let (least, most) = params.data_type.integer_range().unwrap_or((0.0, 255.0));
    let zero_point = f64::from(params.zero_point.first().copied().unwrap_or(0));
    let side = |bound: f32, levels: f64| Some(f64::from(bound) / levels).filter(|scale| *scale > 0.0).unwrap_or(f64::INFINITY);
    let largest = side(bounds.0, least - zero_point).min(side(bounds.1, most - zero_point));
    // Rounded down: one step of float32 too much is too much.
    let rounded = largest as f32;
    if f64::from(rounded) > largest { rounded.next_down() } else { rounded }
}

/// Symmetric params of weights with shape `shape`, per channel along `axis`: the largest magnitude becomes ±127.
pub fn weight(elements: &[f32], shape: &[usize], axis: Option<usize>) -> QuantParams {
    let channels = axis.map_or(1, |axis| shape[axis]);
    let inner: usize = axis.map_or(elements.len(), |axis| shape[axis + 1..].iter().product());
    let mut largest = vec![0.0f32; channels];
    for (index, element) in elements.iter().enumerate() {
        let channel = &mut largest[index / inner.max(1) % channels];
        *channel = channel.max(element.abs());
    }
    let scale: Vec<f32> = largest.into_iter().map(|most| sound(f64::from(most) / 127.0)).collect();
    QuantParams { zero_point: vec![0; scale.len()], scale, axis, data_type: DataType::I8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_errors_stay_within_half_a_step() {
        for (low, high) in [(0.0f32, 6.0), (-1.0, 3.0), (-5.0, -1.0), (0.5, 2.0), (0.0, 0.0), (-1e-30, 1e-30)] {
            let params = activation(low, high, DataType::U8, false);
            let (scale, zero) = (params.scale[0], params.zero_point[0] as f32);
            assert!(scale > 0.0 && (0.0..=255.0).contains(&zero));
            let back = |x: f32| (((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero) * scale;
            assert_eq!(back(0.0), 0.0);
            for step in 0..=20 {
                let x = low + (high - low) * step as f32 / 20.0;
                assert!((back(x) - x).abs() <= scale * 0.5001 + 1e-29, "{low} {high} {x}");
            }
        }
    }

    #[test]
    fn dead_channels_get_scale_one() {
        let params = weight(&[1.0, -2.54, 0.0, 0.0], &[2, 2], Some(0));
        assert_eq!(params.scale, [2.54 / 127.0, 1.0]);
    }

    #[test]
    fn the_largest_scale_stays_within_a_clip() {
        let params = activation(0.0, 5.0, DataType::U8, false);
        let scale = largest_scale((0.0, 6.0), &params);
        assert!(255.0 * f64::from(scale) <= 6.0 && 255.0 * f64::from(scale.next_up()) > 6.0);
        assert_eq!(largest_scale((f32::NEG_INFINITY, f32::INFINITY), &params), f32::INFINITY);
        let symmetric = activation(-1.0, 1.0, DataType::I8, true);
        assert!((largest_scale((0.0, 6.0), &symmetric) - 6.0 / 127.0).abs() < 1e-8);
        assert_eq!(largest_scale((-2.0, f32::INFINITY), &symmetric), 2.0 / 128.0);
    }
}
