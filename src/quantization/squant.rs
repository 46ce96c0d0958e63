//! Rounding without data: errors of the weights of one output cancel.

/// Rounds `levels`, the weights of one output in units of their scale, to whole numbers within `range` (both bounds whole)
/// so that the errors of all of them add up to at most ½, those of each `kernel` consecutive ones (the weights of one input
/// channel) to at most 1, and no weight moves farther than to the second nearest level. Starting at the nearest levels,
/// each kernel flips those of its weights that were hardest to round until its sum is at most ½; then whole kernels do the
/// same for the output, one flip each. What lies beyond `range` and is cut off counts as an error too; where it is more
/// than the others can make up for, the sums stay larger.
///
/// Inputs with a common mean, which activations behind a Relu have, are what this is best for.
///
/// Paper: Guo et al. 2022 (SQuant), arXiv:2202.07471, algorithms 1 to 3.
pub fn round_output(levels: &[f32], kernel: usize, range: (f64, f64)) -> Vec<f32> {
    let mut rounded: Vec<f64> = levels.iter().map(|level| f64::from(*level).round_ties_even().clamp(range.0, range.1)).collect();
    let kernel = kernel.max(1);
    let kernels = levels.chunks(kernel).zip(rounded.chunks_mut(kernel));
    let open: Vec<Kernel> = kernels.map(|(levels, rounded)| round_kernel(levels, rounded, range)).collect();
    let sum: f64 = open.iter().map(|kernel| kernel.error).sum();
    let mut order: Vec<usize> = (0..open.len()).filter(|index| open[*index].next.is_some() && open[*index].error * sum > 0.0).collect();
    order.sort_by(|a, b| open[*b].error.abs().total_cmp(&open[*a].error.abs()).then(a.cmp(b)));
    for index in order.into_iter().take(surplus(sum)) {
        if let Some(element) = open[index].next {
            rounded[index * kernel + element] -= sum.signum();
        }
    }
    rounded.into_iter().map(|level| level as f32).collect()
}

/// What is left of the error of a kernel, and the weight that, moved by one against it, leaves the least error.
struct Kernel {
    error: f64,
    next: Option<usize>,
}

/// How many steps of 1 bring `sum` to at most ½.
fn surplus(sum: f64) -> usize {
    (sum.abs() - 0.5).ceil().max(0.0) as usize
}

fn round_kernel(levels: &[f32], rounded: &mut [f64], range: (f64, f64)) -> Kernel {
    let errors: Vec<f64> = rounded.iter().zip(levels).map(|(rounded, level)| rounded - f64::from(*level)).collect();
    let sum: f64 = errors.iter().sum();
    let sign = sum.signum();
    let may_flip = |index: &usize| errors[*index] * sign > 0.0 && (range.0..=range.1).contains(&(rounded[*index] - sign));
    let mut order: Vec<usize> = (0..errors.len()).filter(may_flip).collect();
    order.sort_by(|a, b| errors[*b].abs().total_cmp(&errors[*a].abs()).then(a.cmp(b)));
    let flips = surplus(sum).min(order.len());
    order[..flips].iter().for_each(|index| rounded[*index] -= sign);
    let error = sum - sign * flips as f64;
    // Flipped once too often: the last one goes back first.
    let next = if error * sign < 0.0 { flips.checked_sub(1) } else { Some(flips) };
    Kernel { error, next: next.and_then(|place| order.get(place).copied()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const RANGE: (f64, f64) = (-8.0, 7.0);

    fn rows(count: usize, size: usize, deviation: f32) -> Vec<Vec<f32>> {
        let mut random = Random::new(5, 0);
        (0..count).map(|_| (0..size).map(|_| random.normal() * deviation).collect()).collect()
    }

    fn nearest(levels: &[f32]) -> Vec<f32> {
        levels.iter().map(|level| level.round_ties_even().clamp(-8.0, 7.0)).collect()
    }

    fn error(rounded: &[f32], levels: &[f32]) -> f64 {
        rounded.iter().zip(levels).map(|(a, b)| f64::from(*a) - f64::from(*b)).sum()
    }

    #[test]
    fn sums_of_errors_stay_within_their_bounds() {
        for (size, kernel) in [(9, 9), (72, 9), (75, 25), (64, 1), (1, 1), (12, 3)] {
            for levels in rows(200, size, 2.0) {
                let rounded = round_output(&levels, kernel, (-128.0, 127.0));
                assert!(error(&rounded, &levels).abs() <= 0.5 + 1e-5, "output of {size}: {}", error(&rounded, &levels));
                for (rounded, levels) in rounded.chunks(kernel).zip(levels.chunks(kernel)) {
                    assert!(error(rounded, levels).abs() <= 1.0 + 1e-5, "kernel of {kernel}: {}", error(rounded, levels));
                }
                assert!(rounded.iter().zip(&levels).all(|(a, b)| a.fract() == 0.0 && (a - b).abs() <= 1.0));
            }
        }
    }

    #[test]
    fn a_kernel_alone_stays_within_half_a_step() {
        for levels in rows(200, 9, 2.0) {
            let mut rounded: Vec<f64> = levels.iter().map(|level| f64::from(level.round_ties_even())).collect();
            let left = round_kernel(&levels, &mut rounded, (-128.0, 127.0)).error;
            let rounded: Vec<f32> = rounded.into_iter().map(|level| level as f32).collect();
            assert!(left.abs() <= 0.5 && (error(&rounded, &levels) - left).abs() < 1e-5);
        }
    }

    #[test]
    fn inputs_with_a_common_mean_lose_less_than_with_nearest_levels() {
        let mut random = Random::new(6, 0);
        let (mut plain, mut balanced) = (0.0, 0.0);
        for levels in rows(100, 72, 2.0) {
            let inputs: Vec<f32> = (0..72).map(|_| 1.0 + 0.5 * random.normal()).collect();
            let product = |weights: &[f32]| weights.iter().zip(&inputs).map(|(w, x)| w * x).sum::<f32>();
            let lost = |rounded: Vec<f32>| (product(&rounded) - product(&levels)).powi(2);
            plain += lost(nearest(&levels));
            balanced += lost(round_output(&levels, 9, RANGE));
        }
        assert!(balanced < 0.6 * plain, "{balanced} against {plain}");
    }

    #[test]
    fn what_is_cut_off_is_made_up_for_and_nothing_leaves_the_range() {
        // 8.6 is cut off at 7; 0.4 and 0.3 make up for it, the others are as near as they can be.
        assert_eq!(round_output(&[8.6, 0.4, 0.3, 1.0], 4, RANGE), [7.0, 1.0, 1.0, 1.0]);
        assert_eq!(round_output(&[9.0, 7.0, -8.0], 1, RANGE), [7.0, 7.0, -8.0]);
        assert_eq!(round_output(&[20.0; 3], 3, RANGE), [7.0; 3]);
        assert_eq!(round_output(&[], 9, RANGE), [0.0f32; 0]);
    }
}
