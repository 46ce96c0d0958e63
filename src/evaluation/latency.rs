//! How long files take beside each other in ONNX Runtime.

use serde::Serialize;

use super::batches::Batches;
use super::engine::Subject;
use super::onnx_runtime::OnnxRuntime;
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::progress::{Progress, Silent};

/// Time of a file as a part of that of another, run in turn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ratio {
    pub median: f64,
    /// Bounds of the median, which 95 of 100 such measurements hold; `None` where there are too few runs to say.
    pub interval: Option<(f64, f64)>,
    pub verdict: Speed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Speed {
    Faster,
    Slower,
    /// The interval comes within 1 % of 1, or there is none.
    NotToldApart,
}

/// Seconds of the runs that one file has in its turn, at most: to take turns after every run would keep caches from both.
const TURN: f64 = 0.01;
/// Runs in a turn, at most.
const MOST_RUNS: usize = 200;
/// Blocks of rounds whose ratios are taken for independent: what disturbs the machine lasts longer than one round.
pub(super) const BLOCKS: usize = 25;
/// Chance that the median lies beyond the interval.
const RISK: f64 = 0.05;

/// Two sessions of one file differ by up to half of this, which the places of their weights in memory make.
const LEAST_DIFFERENCE: f64 = 0.01;

/// Times of `files` as parts of that of the first one, on the first sample of `set`.
///
/// # Errors
/// If ONNX Runtime cannot run one of them.
pub fn race(files: &[Subject<'_>], set: &CalibrationSet) -> Result<Vec<Ratio>> {
    let mut engines = files.iter().map(OnnxRuntime::new).collect::<Result<Vec<_>>>()?;
    let set = set.slice(0..1);
    // What one file takes at once the others get too.
    let batches = engines.iter().map(|engine| Batches::of(engine, &set)).collect::<Result<Vec<_>>>()?;
    let set = batches.into_iter().flatten().next().map_or(Ok(set.clone()), |batches| batches.join(&set))?;
    let mut first = vec![Vec::new(); engines.len()];
    round(&mut engines, &set, 0, 1, &mut first)?;
    let turn = turn(first.into_iter().flatten().fold(0.0, f64::max));
    let times = measure(&mut engines, &set, BLOCKS * turn, turn, &Silent)?;
    Ok(times.iter().map(|second| Ratio::new(&times[0], second)).collect())
}

/// Runs in one turn of a file whose runs take about `seconds`.
pub(super) fn turn(seconds: f64) -> usize {
    ((TURN / seconds.max(1e-9)) as usize).clamp(1, MOST_RUNS)
}

/// Seconds of `runs` runs of each engine, `turn` at a time.
///
/// # Errors
/// If one of them fails.
pub(super) fn measure(
    engines: &mut [OnnxRuntime],
    set: &CalibrationSet,
    runs: usize,
    turn: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>> {
    progress.begin("measure", runs.div_ceil(turn));
    let mut times: Vec<Vec<f64>> = vec![Vec::with_capacity(runs); engines.len()];
    for (index, first) in (0..runs).step_by(turn).enumerate() {
        round(engines, set, index, turn.min(runs - first), &mut times)?;
        progress.step("");
    }
    progress.end();
    Ok(times)
}

/// Each file `turn` times, there and back again, so that none always comes after the same one. The first run after another file
/// does not count.
///
/// # Errors
/// If one of them fails.
pub(super) fn round(engines: &mut [OnnxRuntime], set: &CalibrationSet, index: usize, turn: usize, times: &mut [Vec<f64>]) -> Result<()> {
    let count = engines.len();
    for place in 0..count {
        let file = if index.is_multiple_of(2) { place } else { count - 1 - place };
        if count > 1 {
            engines[file].seconds(set)?;
        }
        for _ in 0..turn {
            times[file].push(engines[file].seconds(set)?);
        }
    }
    Ok(())
}

impl Ratio {
    /// Whether the file is faster by more than measurements err, and by enough to matter.
    pub fn is_faster(&self) -> bool {
        self.verdict == Speed::Faster
    }

    /// The least that the ratio may be, as far as the measurement tells.
    pub fn least(&self) -> f64 {
        self.interval.map_or(self.median, |(low, _)| low)
    }

    /// Of times measured in turn.
    pub(super) fn new(first: &[f64], second: &[f64]) -> Self {
        let blocks = first.len().clamp(1, BLOCKS);
        let bound = |block: usize| block * first.len() / blocks;
        let of = |times: &[f64], block: usize| median(times[bound(block)..bound(block + 1)].to_vec());
        let mut ratios: Vec<f64> = (0..blocks).map(|block| of(second, block) / of(first, block)).collect();
        ratios.sort_by(f64::total_cmp);
        let interval = beyond(blocks).map(|beyond| (ratios[beyond], ratios[blocks - 1 - beyond]));
        let verdict = match interval {
            Some((_, high)) if high < 1.0 - LEAST_DIFFERENCE => Speed::Faster,
            Some((low, _)) if low > 1.0 + LEAST_DIFFERENCE => Speed::Slower,
            _ => Speed::NotToldApart,
        };
        Ratio { median: median(ratios), interval, verdict }
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.interval {
            Some((low, high)) => write!(f, "{:.3} (95 % confidence: {low:.3} to {high:.3})", self.median),
            None => write!(f, "{:.3} (too few runs to say how sure that is)", self.median),
        }
    }
}

/// How many of `count` numbers may be left out at each end so that the median of their source is still between the others, but
/// for [`RISK`]; whatever their distribution is. `None` where they are too few.
fn beyond(count: usize) -> Option<usize> {
    // Numbers below the median are a toss of coins.
    let mut chance = 0.5f64.powi(i32::try_from(count).ok()?);
    let (mut total, mut most) = (0.0, None);
    for left_out in 0..count / 2 {
        total += chance;
        if 2.0 * total > RISK {
            break;
        }
        most = Some(left_out);
        chance *= (count - left_out) as f64 / (left_out + 1) as f64;
    }
    most
}

/// The upper one of two in the middle; not a number where there are none.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A candidate, and its time beside that of the one it was held against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    pub candidate: String,
    pub against: String,
    pub ratio: Ratio,
}

impl Trial {
    pub fn new(candidate: &str, against: &str, ratio: Ratio) -> Trial {
        Trial { candidate: candidate.to_string(), against: against.to_string(), ratio }
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} takes {} of the time of {}", self.candidate, self.ratio, self.against)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn as_many_are_left_out_as_tables_of_the_median_say() {
        // Conover, Practical Nonparametric Statistics: ranks r and n + 1 − r of the two-sided 95 % interval; r is one more.
        for (count, expected) in [(5, None), (6, Some(0)), (9, Some(1)), (15, Some(3)), (20, Some(5)), (25, Some(7))] {
            assert_eq!(beyond(count), expected, "{count}");
        }
    }

    #[test]
    fn files_are_told_apart_by_more_than_noise_alone() {
        let mut random = Random::new(3, 0);
        let mut measure = |factor: f64, runs: usize| -> Ratio {
            let mut times = |factor: f64| (0..runs).map(|_| factor * f64::from(1.0 + 0.05 * random.normal())).collect::<Vec<_>>();
            let (first, second) = (times(1.0), times(factor));
            Ratio::new(&first, &second)
        };
        assert_eq!((measure(0.9, 500).verdict, measure(1.1, 500).verdict), (Speed::Faster, Speed::Slower));
        assert_eq!((measure(0.5, 5).interval, measure(0.5, 5).verdict), (None, Speed::NotToldApart));
        let missed = |ratio: &Ratio| ratio.interval.is_some_and(|(low, high)| low > 1.0 || high < 1.0);
        let wrong = (0..400).filter(|_| missed(&measure(1.0, 100))).count();
        assert!((4..=36).contains(&wrong), "{wrong} of 400, where about 4 % are due");
        assert_eq!(measure(0.995, 5000).verdict, Speed::NotToldApart);
    }
}
