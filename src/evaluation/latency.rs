//! How long files take beside each other in ONNX Runtime.

use super::engine::Subject;
use super::onnx_runtime::OnnxRuntime;
use crate::calibration::CalibrationSet;
use crate::error::Result;

/// Time of a file beside that of another.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ratio {
    /// Median over the rounds.
    pub median: f64,
    /// Standard error of that median, as far as the rounds tell.
    pub noise: f64,
}

impl Ratio {
    /// Whether the file is faster by more than measurements err, and by enough to matter.
    pub fn is_faster(&self) -> bool {
        self.median < 1.0 - (3.0 * self.noise).max(LEAST_GAIN)
    }
}

/// What is gained below this is not worth a choice.
const LEAST_GAIN: f64 = 0.01;
const ROUNDS: usize = 15;
/// Seconds that one file runs for in a round, about, and the most runs that take place for that.
const TURN: f64 = 0.01;
const MOST_RUNS: usize = 64;

/// Times of `files` beside that of the first one, one sample at a time, taking turns: what disturbs the machine for a while
/// disturbs all of them.
///
/// # Errors
/// If ONNX Runtime cannot run one of them.
pub fn race(files: &[Subject<'_>], set: &CalibrationSet) -> Result<Vec<Ratio>> {
    let mut engines = files.iter().map(OnnxRuntime::new).collect::<Result<Vec<_>>>()?;
    let set = set.slice(0..1);
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); engines.len()];
    for round in 0..ROUNDS {
        for turn in 0..engines.len() {
            // There and back again, so that no file always comes after the same one.
            let index = if round % 2 == 0 { turn } else { engines.len() - 1 - turn };
            times[index].push(turn_of(&mut engines[index], &set)?);
        }
    }
    let first = times[0].clone();
    Ok(times.iter().map(|times| ratio(times.iter().zip(&first).map(|(a, b)| a / b).collect())).collect())
}

/// Seconds of the median of some runs, the first of which does not count.
fn turn_of(engine: &mut OnnxRuntime, set: &CalibrationSet) -> Result<f64> {
    let estimate = engine.seconds(set)?.max(1e-6);
    let runs = ((TURN / estimate) as usize).clamp(1, MOST_RUNS);
    let times = (0..runs).map(|_| engine.seconds(set)).collect::<Result<Vec<_>>>()?;
    Ok(median(times))
}

fn ratio(ratios: Vec<f64>) -> Ratio {
    let middle = median(ratios.clone());
    let deviation = median(ratios.iter().map(|ratio| (ratio - middle).abs()).collect());
    // 1.4826: from the median deviation of a normal distribution to its standard deviation; 1.2533: from the error of a
    // mean to that of a median.
    Ratio { median: middle, noise: 1.2533 * 1.4826 * deviation / (ratios.len() as f64).sqrt() }
}

/// The upper one of two in the middle; not a number where there are none.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A candidate, and its time beside that of the one it was held against.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Trial {
    pub candidate: String,
    pub against: String,
    pub ratio: f64,
    pub noise: f64,
}

impl Trial {
    pub fn new(candidate: &str, against: &str, ratio: Ratio) -> Trial {
        Trial { candidate: candidate.to_string(), against: against.to_string(), ratio: ratio.median, noise: ratio.noise }
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} takes {:.3} ± {:.3} of the time of {}", self.candidate, self.ratio, self.noise, self.against)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_faster_beyond_noise_counts() {
        let quiet = ratio(vec![0.90, 0.91, 0.89, 0.90, 0.92]);
        assert!((quiet.median - 0.90).abs() < 1e-9 && quiet.is_faster(), "{quiet:?}");
        let loud = ratio(vec![0.90, 1.20, 0.70, 1.00, 0.95]);
        assert!((loud.median - 0.95).abs() < 1e-9 && !loud.is_faster(), "{loud:?}");
        assert!(!ratio(vec![0.995; 5]).is_faster() && !ratio(vec![1.0; 5]).is_faster());
        assert!(ratio(vec![0.9, 0.9, 50.0, 0.9, 0.9]).is_faster(), "one disturbed round changes nothing");
    }
}
