//! How long files take in ONNX Runtime, one for itself or two beside each other.

use serde::Serialize;

use super::engine::Subject;
use super::latency::{BLOCKS, Ratio, measure, median, round, turn};
use super::onnx_runtime::{OnnxRuntime, library};
use super::report::{Cost, FileReport};
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// How often to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Runs that do not count; `None`: about half a second of them.
    pub warmup: Option<usize>,
    /// Runs of each file that count; `None`: about three seconds of them.
    pub runs: Option<usize>,
}

/// What `zeroq bench` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    pub schema: u32,
    pub command: &'static str,
    pub version: &'static str,
    pub engine: &'static str,
    /// Shapes of the inputs.
    pub inputs: Vec<(String, Vec<usize>)>,
    #[serde(flatten)]
    pub bench: Bench,
    pub warnings: Vec<String>,
    #[serde(flatten)]
    pub cost: Cost,
}

/// Times of one file or two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bench {
    pub warmup: usize,
    pub files: Vec<Timed>,
    /// Time of the second file as a part of that of the first; `None` where there is one file.
    pub ratio: Option<Ratio>,
}

/// Milliseconds that one run of a file takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed {
    pub model: FileReport,
    pub runs: usize,
    pub min_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub mean_ms: f64,
    pub deviation_ms: f64,
    /// Runs farther from the median than noise explains.
    pub outliers: usize,
}

/// Seconds of warming up and of measuring one file, where nobody says how often.
const WARMUP: f64 = 0.5;
const MEASURING: f64 = 3.0;
const RUNS: std::ops::RangeInclusive<usize> = 20..=5000;

/// Runs `files` in turn on the one sample of `set`, and times each run.
///
/// # Errors
/// If ONNX Runtime is not there or does not run one of them.
pub fn bench(files: &[(Subject<'_>, FileReport)], set: &CalibrationSet, plan: Plan, progress: &dyn Progress) -> Result<Bench> {
    require_library()?;
    let mut engines = files.iter().map(|(subject, _)| OnnxRuntime::new(subject)).collect::<Result<Vec<_>>>()?;
    let (warmup, estimate) = warm_up(&mut engines, set, plan.warmup, progress)?;
    let wanted = (MEASURING / estimate.max(1e-9)) as usize;
    let runs = plan.runs.unwrap_or(wanted.clamp(*RUNS.start(), *RUNS.end()));
    let times = measure(&mut engines, set, runs, turn(estimate).min((runs / BLOCKS).max(1)), progress)?;
    let timed = |(times, (_, model)): (&Vec<f64>, &(Subject<'_>, FileReport))| Timed::new(times, model.clone());
    let bench = Bench {
        warmup,
        files: times.iter().zip(files).map(timed).collect(),
        ratio: times.get(1).map(|second| Ratio::new(&times[0], second)),
    };
    bench.files.iter().filter_map(Timed::warning).for_each(|warning| progress.warn(&warning));
    Ok(bench)
}

/// # Errors
/// If no library of ONNX Runtime is named.
pub fn require_library() -> Result<()> {
    let advice = "set ORT_DYLIB_PATH to the shared library of onnxruntime; the Python wheel has one under onnxruntime/capi";
    let missing = || Error::Engine { engine: "ONNX Runtime".into(), reason: format!("is not named: {advice}") };
    library().map(drop).ok_or_else(missing)
}

/// How many rounds did not count, and about how many seconds the slowest file takes.
fn warm_up(engines: &mut [OnnxRuntime], set: &CalibrationSet, wanted: Option<usize>, progress: &dyn Progress) -> Result<(usize, f64)> {
    progress.begin("warm up", 0);
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); engines.len()];
    let spent = |times: &[Vec<f64>]| times.iter().map(|times| times.iter().sum::<f64>()).fold(0.0, f64::max);
    let enough = |times: &[Vec<f64>]| wanted.map_or(times[0].len() >= 3 && spent(times) > WARMUP, |wanted| times[0].len() >= wanted);
    while !enough(&times) {
        round(engines, set, times[0].len(), 1, &mut times)?;
    }
    let rounds = times[0].len();
    if rounds == 0 {
        round(engines, set, 0, 1, &mut times)?;
    }
    progress.end();
    Ok((rounds, times.into_iter().map(median).fold(0.0, f64::max)))
}

impl Timed {
    fn new(seconds: &[f64], model: FileReport) -> Self {
        let mut times: Vec<f64> = seconds.iter().map(|seconds| 1e3 * seconds).collect();
        times.sort_by(f64::total_cmp);
        // The nearest rank.
        let percentile = |part: f64| times[((part * times.len() as f64).ceil() as usize).clamp(1, times.len()) - 1];
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let squares: f64 = times.iter().map(|time| (time - mean).powi(2)).sum();
        Timed {
            model,
            runs: times.len(),
            min_ms: times[0],
            p50_ms: percentile(0.5),
            p90_ms: percentile(0.9),
            p99_ms: percentile(0.99),
            mean_ms: mean,
            deviation_ms: (squares / (times.len() as f64 - 1.0).max(1.0)).sqrt(),
            outliers: outliers(&times),
        }
    }

    fn warning(&self) -> Option<String> {
        let advice = "the machine was busy with something else; trust p50 and min, or measure again when it is quiet";
        (self.outliers * 100 > self.runs)
            .then(|| format!("{}: {} of {} runs are outliers: {advice}", self.model.path, self.outliers, self.runs))
    }
}

/// Times farther from the median than ten deviations, told by the median deviation.
///
/// Paper: Iglewicz and Hoaglin 1993, the modified Z-score, with the threshold of hyperfine.
fn outliers(times: &[f64]) -> usize {
    let middle = median(times.to_vec());
    let deviation = median(times.iter().map(|time| (time - middle).abs()).collect());
    times.iter().filter(|time| (*time - middle).abs() > 14.826 * deviation.max(f64::MIN_POSITIVE)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(seconds: &[f64]) -> Timed {
        Timed::new(seconds, FileReport { path: "m.onnx".into(), bytes: 0, sha256: String::new() })
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(|i| f64::from(i) / 1e3).collect();
        let all = timed(&hundred);
        let found = [all.min_ms, all.p50_ms, all.p90_ms, all.p99_ms, all.mean_ms];
        assert!(found.iter().zip([1.0, 50.0, 90.0, 99.0, 50.5]).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        let one = timed(&[0.002]);
        assert_eq!([one.min_ms, one.p50_ms, one.p99_ms, one.deviation_ms], [2.0, 2.0, 2.0, 0.0]);
    }

    #[test]
    fn what_disturbs_some_runs_is_told() {
        let mut times: Vec<f64> = (0..100).map(|i| 1.0 + f64::from(i % 7) * 0.01).collect();
        assert_eq!((timed(&times).outliers, timed(&times).warning()), (0, None));
        times[3] = 9.0;
        assert_eq!((timed(&times).outliers, timed(&times).warning()), (1, None));
        times[50] = 7.0;
        assert!(timed(&times).warning().unwrap().contains("2 of 100 runs are outliers"));
    }
}
