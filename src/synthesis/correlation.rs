//! Sums of pixels that are correlated: the correlation falls by the same factor with every pixel, along each axis.

/// Row and column of every tap of a kernel, in pixels; of one axis, the column alone.
pub fn places(kernel: &[usize], dilations: &[usize]) -> Vec<Vec<usize>> {
    let mut places = vec![Vec::new()];
    for (size, dilation) in kernel.iter().zip(dilations) {
        places = places.iter().flat_map(|place| (0..*size).map(move |at| [&place[..], &[at * dilation]].concat())).collect();
    }
    places
}

/// Correlation of every two taps, the second kernel `shift` pixels further along the last axis.
pub fn correlations(places: &[Vec<usize>], neighbours: f64, shift: usize) -> Vec<f64> {
    let between = |a: &[usize], b: &[usize]| {
        let last = a.len() - 1;
        let apart = |(axis, (a, b)): (usize, (&usize, &usize))| a.abs_diff(b + if axis == last { shift } else { 0 });
        neighbours.powi(a.iter().zip(b).enumerate().map(apart).sum::<usize>() as i32)
    };
    places.iter().flat_map(|a| places.iter().map(move |b| between(a, b))).collect()
}

/// uᵀRu.
pub fn quadratic(u: &[f64], table: &[f64]) -> f64 {
    table.chunks(u.len()).zip(u).map(|(row, a)| a * row.iter().zip(u).map(|(r, b)| r * b).sum::<f64>()).sum()
}

pub fn ratio(neighbouring: f64, variance: f64) -> f64 {
    if variance > 0.0 { (neighbouring / variance).clamp(0.0, 0.999) } else { 0.0 }
}

/// Mean of all correlations in a window.
pub fn evenness(neighbours: f64, window: &[usize]) -> f64 {
    let along = |n: usize| {
        let pairs = (1..n).map(|apart| 2.0 * (n - apart) as f64 * neighbours.powi(apart as i32));
        (n as f64 + pairs.sum::<f64>()) / (n * n) as f64
    };
    window.iter().map(|n| along(*n)).product()
}

/// Mean and variance of the greatest of `count` standard normal numbers: its distribution is Φⁿ.
pub fn of_greatest(count: f64) -> (f64, f64) {
    let (step, mut below, mut phi, mut sums) = (0.01, 0.0f64, 0.0f64, [0.0f64; 2]);
    for index in -600..=600 {
        let z = f64::from(index) * step;
        phi += step * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let mass = phi.min(1.0).powf(count) - below;
        below += mass;
        sums = [sums[0] + mass * z, sums[1] + mass * z * z];
    }
    (sums[0], (sums[1] - sums[0] * sums[0]).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_sees_pixels_as_alike_as_they_are() {
        let places = places(&[2, 2], &[1, 1]);
        assert_eq!(places, [[0, 0], [0, 1], [1, 0], [1, 1]]);
        let mean = [0.25; 4];
        let variance = |neighbours: f64| quadratic(&mean, &correlations(&places, neighbours, 0));
        assert!((variance(1.0) - 1.0).abs() < 1e-12 && (variance(0.0) - 0.25).abs() < 1e-12);
        assert!((variance(0.6) - evenness(0.6, &[2, 2])).abs() < 1e-12);
    }

    #[test]
    fn the_greatest_of_four_normal_numbers_is_one_deviation_up() {
        let (shift, part) = of_greatest(4.0);
        assert!((shift - 1.029).abs() < 0.01 && (part - 0.492).abs() < 0.01, "{shift} {part}");
    }
}
