//! From ranges to scales and zero points.

use rayon::prelude::*;

use super::channels::Channels;
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

/// Symmetric params of weights with shape `shape`, per channel along `axis`. Of 8 bits and more, the largest magnitude
/// becomes the largest number; of 4 bits, what lies beyond the scale of least error is cut off.
pub fn weight(elements: &[f32], shape: &[usize], axis: Option<usize>, data_type: DataType) -> QuantParams {
    let channels = Channels::of(shape, axis);
    let (least, most) = data_type.integer_range().unwrap_or((-128.0, 127.0));
    let scale = |channel: usize| {
        let largest = channels.slices(elements, channel).flatten().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let full = f64::from(largest) / most;
        let part = || best_part(&channels.row(elements, channel), full, (least, most));
        sound(if data_type == DataType::I4 { full * part() } else { full })
    };
    let scale: Vec<f32> = (0..channels.count).into_par_iter().map(scale).collect();
    QuantParams { zero_point: vec![0; scale.len()], scale, axis, data_type }
}

/// Coarsens 8-bit weights so that their magnitudes are `largest` at most.
pub fn limit_weights(params: &mut QuantParams, largest: u8) {
    if params.data_type == DataType::I8 && f32::from(largest) < 127.0 {
        params.scale.iter_mut().for_each(|scale| *scale *= 127.0 / f32::from(largest));
    }
}

/// The power of an error that counts: between the mean square, which cuts too little off, and the largest error.
///
/// Papers: Li et al. 2021 (BRECQ), arXiv:2102.05426; Jeon et al. 2023 (GENIE), arXiv:2212.04780; the number is that of
/// their published code.
const ERROR_POWER: f64 = 2.4;

/// The part of scale `full`, from a fifth to all of it, with which `elements` err least on `range`.
fn best_part(elements: &[f32], full: f64, (least, most): (f64, f64)) -> f64 {
    let error = |part: f64| -> f64 {
        let scale = full * part;
        let one = |x: f64| ((x / scale).round_ties_even().clamp(least, most) * scale - x).abs().powf(ERROR_POWER);
        elements.iter().map(|x| one(f64::from(*x))).sum()
    };
    let best = |parts: &mut dyn Iterator<Item = i32>| {
        let tried = parts.map(|percent| (error(f64::from(percent) / 100.0), percent));
        tried.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(100, |(_, percent)| percent)
    };
    let coarse = best(&mut (20..=100).rev().step_by(4));
    f64::from(best(&mut (coarse - 3..=coarse + 3).filter(|percent| *percent <= 100))) / 100.0
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
        for (data_type, wanted) in [(DataType::I8, 2.54 / 127.0), (DataType::I16, 2.54 / 32767.0)] {
            assert_eq!(weight(&[1.0, -2.54, 0.0, 0.0], &[2, 2], Some(0), data_type).scale, [wanted, 1.0]);
        }
        assert_eq!(weight(&[1.0, -2.54, 0.0, 0.0], &[2, 2], Some(0), DataType::I4).scale[1], 1.0);
    }

    #[test]
    fn four_bits_cut_off_what_would_make_the_others_coarse() {
        let mut random = crate::random::Random::new(3, 0);
        let elements: Vec<f32> = (0..1000).map(|_| random.normal()).collect();
        let params = weight(&elements, &[1000], None, DataType::I4);
        let largest = elements.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert!(params.scale[0] < 0.95 * largest / 7.0 && params.scale[0] > 0.3 * largest / 7.0, "{} of {largest}", params.scale[0]);
        let error = |scale: f32| {
            let one = |x: &f32| ((x / scale).round_ties_even().clamp(-8.0, 7.0) * scale - x).abs().powf(2.4);
            elements.iter().map(one).sum::<f32>()
        };
        assert!([0.8, 0.9, 1.1, 1.25].iter().all(|part| error(part * params.scale[0]) >= error(params.scale[0])));
        // One negative outlier alone is best met by −8.
        assert!(weight(&[-0.8, 0.1, 0.2, -0.3], &[4], None, DataType::I4).scale[0] < 0.8 / 7.5);
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
