//! How well what is supposed of an input explains the statistics that are stored behind it.

use super::response::{Equation, NEIGHBOURS, Response};

/// Noise of a stored mean, in deviations of its channel: running means follow weights that still move.
const MEAN_NOISE: f64 = 0.05;
/// Noise of the logarithm of a variance: no texture is that of the real inputs.
const VARIANCE_NOISE: f64 = 0.3;
/// Variances that count as independent witnesses.
const WITNESSES: f64 = 12.0;
/// Parts of the variance of colour pictures in which channels have nothing to do with each other.
const APART: [f64; 4] = [0.02, 0.06, 0.15, 0.5];
/// Steps of a deviation that is not known exactly, in units of its spread.
const STEPS: i32 = 6;

/// What may be true of an input: its mean and deviation, each as sure as its spread says.
#[derive(Clone, Debug)]
pub struct Hypothesis {
    /// Per channel.
    pub means: Vec<f64>,
    /// By how much all means may be off together, and each by itself.
    pub mean_spread: f64,
    pub channel_spread: f64,
    pub deviation: f64,
    /// Of the logarithm of the deviation.
    pub deviation_spread: f64,
    /// Whether it is a picture: neighbours are alike, and so are channels.
    pub picture: bool,
}

/// What comes of a hypothesis.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Logarithm of the probability of the statistics, but for a constant.
    pub evidence: f64,
    /// The means and the deviation that explain them best.
    pub means: Vec<f64>,
    pub deviation: f64,
    pub neighbours: f64,
}

impl Hypothesis {
    pub fn judge(&self, response: &Response) -> Verdict {
        let (of_means, means) = self.judge_means(response);
        let (of_variances, deviation, neighbours) = self.judge_variances(response, &means);
        Verdict { evidence: of_means + of_variances, means, deviation, neighbours }
    }

    /// The means are normal with a covariance of noise and a few directions, so that both the evidence and the best means follow
    /// in closed form (least squares with a prior).
    fn judge_means(&self, response: &Response) -> (f64, Vec<f64>) {
        let columns = response.equations.first().map_or(0, |equation| equation.gains.len());
        let mut directions = vec![vec![self.mean_spread; columns]];
        directions.extend((0..columns).map(|at| (0..columns).map(|column| if column == at { self.channel_spread } else { 0.0 }).collect()));
        let size = directions.len();
        let (mut matrix, mut side) = (vec![vec![0.0; size]; size], vec![0.0; size]);
        let (mut misfit, mut determinant) = (0.0, 0.0);
        for equation in &response.equations {
            let noise = (MEAN_NOISE * MEAN_NOISE) * equation.variance;
            let expected = equation.offset + dot(&equation.gains, &self.means);
            let off = equation.mean - expected;
            let along: Vec<f64> = directions.iter().map(|direction| dot(&equation.gains, direction)).collect();
            misfit += off * off / noise;
            determinant += noise.ln();
            for (row, a) in along.iter().enumerate() {
                side[row] += a * off / noise;
                along.iter().enumerate().for_each(|(column, b)| matrix[row][column] += a * b / noise);
            }
        }
        matrix.iter_mut().enumerate().for_each(|(at, row)| row[at] += 1.0);
        let (steps, logarithm) = solve(matrix, &side);
        let evidence = -0.5 * (misfit - dot(&side, &steps) + determinant + logarithm);
        let mean = |column: usize| self.means[column] + directions.iter().zip(&steps).map(|(way, step)| way[column] * step).sum::<f64>();
        (evidence, (0..columns).map(mean).collect())
    }

    /// Sums over all textures and deviations that the hypothesis allows.
    fn judge_variances(&self, response: &Response, means: &[f64]) -> (f64, f64, f64) {
        let level = means.iter().sum::<f64>() / means.len().max(1) as f64;
        let (mut evidences, mut best) = (Vec::new(), (f64::NEG_INFINITY, self.deviation, 0.0));
        let parts: &[f64] = if response.channels == 1 { &[0.0] } else { &APART };
        let parts = if self.picture || response.channels == 1 { parts } else { &[0.15, 0.5, 1.0] };
        for (texture, neighbours) in NEIGHBOURS.iter().enumerate() {
            for part in parts {
                for step in -STEPS..=STEPS {
                    let away = 2.5 * f64::from(step) / f64::from(STEPS);
                    let deviation = self.deviation * (away * self.deviation_spread).exp();
                    let of = |equation: &Equation| {
                        let power = (1.0 - part) * equation.alike[texture] + part * equation.apart[texture];
                        (deviation * deviation * power + level * level * equation.border).max(1e-300)
                    };
                    let off = response.equations.iter().map(|e| (e.variance / of(e)).ln().powi(2).min(4.0)).sum::<f64>();
                    let count = response.equations.len().max(1) as f64;
                    let witnesses = count.min(WITNESSES);
                    let misfit = witnesses * off / count / (VARIANCE_NOISE * VARIANCE_NOISE);
                    let evidence = -0.5 * (misfit + away * away) + self.prior_of(*neighbours);
                    evidences.push(evidence);
                    if evidence > best.0 {
                        best = (evidence, deviation, *neighbours);
                    }
                }
            }
        }
        (log_sum(&evidences) - (evidences.len() as f64).ln(), best.1, best.2)
    }

    /// Neighbouring pixels of pictures are alike: 1 − correlation is log-normal.
    fn prior_of(&self, neighbours: f64) -> f64 {
        if self.picture { -0.5 * (((1.0 - neighbours) / 0.07).ln() / 0.8).powi(2) } else { 0.0 }
    }
}

pub fn log_sum(terms: &[f64]) -> f64 {
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY { most } else { most + terms.iter().map(|term| (term - most).exp()).sum::<f64>().ln() }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves a positive definite system (Cholesky); returns the logarithm of its determinant too.
fn solve(mut matrix: Vec<Vec<f64>>, side: &[f64]) -> (Vec<f64>, f64) {
    let size = side.len();
    let (mut found, mut logarithm) = (side.to_vec(), 0.0);
    for at in 0..size {
        let pivot = (matrix[at][at] - matrix[at][..at].iter().map(|x| x * x).sum::<f64>()).max(1e-12).sqrt();
        logarithm += 2.0 * pivot.ln();
        matrix[at][at] = pivot;
        for below in at + 1..size {
            let known = dot(&matrix[below][..at], &matrix[at][..at]);
            matrix[below][at] = (matrix[below][at] - known) / pivot;
        }
        found[at] = (found[at] - dot(&matrix[at][..at], &found[..at])) / pivot;
    }
    for at in (0..size).rev() {
        let known: f64 = (at + 1..size).map(|below| matrix[below][at] * found[below]).sum();
        found[at] = (found[at] - known) / matrix[at][at];
    }
    (found, logarithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_and_its_determinant_told() {
        let (found, logarithm) = solve(vec![vec![4.0, 2.0], vec![2.0, 3.0]], &[8.0, 8.0]);
        assert!((found[0] - 1.0).abs() < 1e-12 && (found[1] - 2.0).abs() < 1e-12, "{found:?}");
        assert!((logarithm - 8.0f64.ln()).abs() < 1e-12);
    }
}
