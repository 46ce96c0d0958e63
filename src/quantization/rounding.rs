//! Rounding weights together instead of one by one.

/// Passes over a row, at most.
const SWEEPS: usize = 8;
/// Part of the mean diagonal that is added to the moments, so that no direction is free: samples are not the real data.
/// Measured on float16 networks with synthesized samples: 0.1 beats 1e-4 to 1e-2 and 0.3 to 3 on every one.
const RIDGE: f64 = 0.1;

/// Puts `row` onto a grid so that E[(Δ·v − e)²] is least, where Δ is the rounding error, v what the row is multiplied with
/// and e what its product lacks already: coordinate descent on Δ·M·Δ − 2 Δ·`pull`, with `moments` M = E[v vᵀ], row-major,
/// and `pull` = E[e v]. `round` gives the grid point nearest to a number; `step` the width of the grid there: where it is
/// wide, rounding comes first, and finer weights make up for it.
///
/// Paper: Nair and Suggala 2024 (CDQuant), arXiv:2406.17542, here on any grid.
pub fn round_row(row: &[f64], moments: &[f64], pull: &[f64], round: impl Fn(f64) -> f64, step: impl Fn(f64) -> f64) -> Vec<f64> {
    let size = row.len();
    let ridge = RIDGE * (0..size).map(|i| moments[i * size + i]).sum::<f64>() / size.max(1) as f64;
    let mut rounded: Vec<f64> = row.iter().map(|x| round(*x)).collect();
    let error: Vec<f64> = rounded.iter().zip(row).map(|(rounded, x)| rounded - x).collect();
    let mut slope: Vec<f64> = moments.chunks(size.max(1)).map(|row| row.iter().zip(&error).map(|(m, e)| m * e).sum()).collect();
    slope.iter_mut().zip(error.iter().zip(pull)).for_each(|(slope, (error, pull))| *slope += ridge * error - pull);
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|a, b| step(row[*b]).total_cmp(&step(row[*a])).then(a.cmp(b)));
    for _ in 0..SWEEPS {
        let mut moved = false;
        for &i in &order {
            let curvature = moments[i * size + i] + ridge;
            if curvature <= 0.0 {
                continue;
            }
            let better = round(rounded[i] - slope[i] / curvature);
            let change = better - rounded[i];
            if change != 0.0 && change.is_finite() {
                rounded[i] = better;
                slope.iter_mut().zip(&moments[i * size..(i + 1) * size]).for_each(|(slope, m)| *slope += m * change);
                slope[i] += ridge * change;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn energy(error: &[f64], moments: &[f64]) -> f64 {
        let size = error.len();
        (0..size * size).map(|i| error[i / size] * moments[i] * error[i % size]).sum()
    }

    #[test]
    fn errors_that_a_common_mean_would_add_up_cancel() {
        let mut random = Random::new(0, 0);
        let size = 24;
        // Inputs of mean 1 and deviation 0.3.
        let moments: Vec<f64> = (0..size * size).map(|i| if i / size == i % size { 1.09 } else { 1.0 }).collect();
        let (mut plain, mut together) = (0.0, 0.0);
        for _ in 0..50 {
            let row: Vec<f64> = (0..size).map(|_| f64::from(random.normal())).collect();
            let rounded = round_row(&row, &moments, &[0.0; 24], |x| (x * 8.0).round() / 8.0, |_| 0.125);
            assert!(rounded.iter().all(|x| (x * 8.0).fract() == 0.0));
            let error = |rounded: &[f64]| rounded.iter().zip(&row).map(|(a, b)| a - b).collect::<Vec<_>>();
            together += energy(&error(&rounded), &moments);
            plain += energy(&error(&row.iter().map(|x| (x * 8.0).round() / 8.0).collect::<Vec<_>>()), &moments);
        }
        assert!(together < 0.3 * plain, "{together} against {plain}");
    }

    #[test]
    fn independent_inputs_are_rounded_to_nearest() {
        let moments = [2.0, 0.0, 0.0, 3.0];
        assert_eq!(round_row(&[0.4, 1.6], &moments, &[0.0; 2], f64::round, |_| 1.0), [0.0, 2.0]);
    }

    #[test]
    fn what_the_product_lacks_is_made_up_for() {
        let moments = [2.0, 0.0, 0.0, 3.0];
        // The product lacks 0.3 · v[0].
        assert_eq!(round_row(&[0.4, 1.6], &moments, &[0.6, 0.0], f64::round, |_| 1.0), [1.0, 2.0]);
    }
}
