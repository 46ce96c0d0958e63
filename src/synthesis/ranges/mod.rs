//! Which input ranges the stored statistics of the first BatchNormalizations speak for, and how sure that is.
//!
//! Where the first BatchNormalization follows linearly from an input, its stored means are linear in the means of the input, and its
//! stored variances in the input's variance, under textures that are alike to what such inputs hold. Every usual range is a
//! hypothesis about both, and so is any other mean and deviation; the more a hypothesis allows, the less it explains (the
//! evidence of MacKay 1992, *Bayesian interpolation*).

mod candidates;
mod deep;
mod evidence;
mod finding;
mod response;
#[cfg(test)]
mod tests;
mod words;

use super::Config;
use super::goal::Site;
use super::input::Input;
use super::input_range::PixelRange;
use crate::error::Result;
use crate::graph::Graph;
use crate::progress::Progress;
use candidates::{anything, candidates};
use evidence::{Verdict, log_sum};
pub use finding::{Certainty, Finding};
use response::Response;
pub use words::{advice, doubt, shown};

/// Probability, among the usual ranges, from which one is certain.
const CERTAIN: f64 = 0.9;
/// Probability from which that it is something else makes a range uncertain.
const DOUBT: f64 = 0.3;
/// How usual it is that an input has no usual range.
const UNUSUAL: f64 = 0.15;
/// Probability from which a range is covered by the quantizer of the input, where there is doubt.
const COVERED: f64 = 0.05;
/// Times wider than the likeliest that a range is at most which is covered too: beyond, too few levels would be left.
const WIDEST: f32 = 8.0;
/// Probability that a deviation is larger still than the largest that is reckoned with.
const UNLIKELY: f64 = 0.05;
/// Deviations to both sides of the mean that are valid where a picture's range was estimated, and where an input is no picture.
const REACH_OF_PICTURE: f64 = 4.0;
const REACH: f64 = 6.0;

/// Gives each of the inputs `open` the range that the statistics speak for.
///
/// # Errors
/// If something in front of a first BatchNormalization cannot be computed.
pub fn find_ranges(
    graph: &Graph,
    sites: &[Site],
    inputs: &mut [Input],
    open: &[usize],
    config: &Config,
    progress: &dyn Progress,
) -> Result<()> {
    let mut left = Vec::new();
    for index in open {
        match Response::of(graph, sites, inputs, *index, config)?.filter(|response| !response.equations.is_empty()) {
            Some(response) => decide(&mut inputs[*index], &response),
            None => left.push(*index),
        }
    }
    if !left.is_empty() {
        deep::guess(graph, sites, inputs, &left, config)?;
    }
    open.iter().for_each(|index| words::tell(&inputs[*index], progress));
    Ok(())
}

/// A range and how much speaks for it.
struct Weighed {
    range: PixelRange,
    evidence: f64,
    verdict: Verdict,
}

fn decide(input: &mut Input, response: &Response) {
    let columns = response.equations[0].gains.len();
    let picture = input.image_channels().is_some();
    let weigh = |candidate: candidates::Candidate| {
        let verdict = candidate.hypothesis(columns).judge(response);
        Weighed { evidence: candidate.prior.ln() + verdict.evidence, range: candidate.range, verdict }
    };
    let mut usual: Vec<Weighed> = candidates(input.image_channels()).into_iter().map(weigh).collect();
    usual.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
    let unusual: Vec<Verdict> = anything(columns, picture).iter().map(|hypothesis| hypothesis.judge(response)).collect();
    let prior = UNUSUAL.ln() - (unusual.len() as f64).ln();
    let of_unusual = prior + log_sum(&unusual.iter().map(|verdict| verdict.evidence).collect::<Vec<_>>());
    let all = log_sum(&usual.iter().map(|weighed| weighed.evidence).chain([of_unusual]).collect::<Vec<_>>());
    let share = |evidence: f64| (evidence - all).exp();
    let estimated = estimated_range(&unusual, response, input);
    let Some(likeliest) = unusual.into_iter().max_by(|a, b| a.evidence.total_cmp(&b.evidence)) else { return };
    match usual.first() {
        Some(best) if best.evidence >= of_unusual => {
            let among = log_sum(&usual.iter().map(|weighed| weighed.evidence).collect::<Vec<_>>());
            let doubted = share(of_unusual) >= DOUBT;
            let certain = (best.evidence - among).exp() >= CERTAIN && !doubted;
            let mut others: Vec<(&PixelRange, f64)> =
                usual.iter().skip(1).map(|weighed| (&weighed.range, share(weighed.evidence))).collect();
            others.push((&estimated, share(of_unusual)));
            others.sort_by(|a, b| b.1.total_cmp(&a.1));
            let covered = others.iter().filter(|(_, share)| *share >= COVERED && !certain).map(|(range, _)| *range);
            let range = covering(&best.range, covered);
            input.finding = Finding {
                certainty: if certain { Certainty::Found } else { Certainty::Unsure },
                probability: Some(share(best.evidence)),
                runner_up: others.first().map(|(range, share)| ((*range).clone(), *share)),
                spread: Some((mean(&best.verdict.means), best.verdict.deviation)),
            };
            input.range = range;
        }
        best => {
            input.finding = Finding {
                certainty: Certainty::Estimated,
                probability: Some(share(of_unusual)),
                runner_up: best.map(|best| (best.range.clone(), share(best.evidence))),
                spread: Some((mean(&likeliest.means), likeliest.deviation)),
            };
            input.range = estimated;
        }
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

/// What speaks from mean and deviation themselves; so many deviations are valid that it is enough if the true one is among the largest
/// that are likely.
fn estimated_range(verdicts: &[Verdict], response: &Response, input: &Input) -> PixelRange {
    let all = log_sum(&verdicts.iter().map(|verdict| verdict.evidence).collect::<Vec<_>>());
    let Some(likeliest) = verdicts.iter().max_by(|a, b| a.evidence.total_cmp(&b.evidence)) else { return input.range.clone() };
    let mut above = 0.0;
    let largest = verdicts.iter().rev().find(|verdict| {
        above += (verdict.evidence - all).exp();
        above >= UNLIKELY
    });
    let (reach, deviations) = match input.image_channels() {
        Some(3) => (REACH_OF_PICTURE, vec![likeliest.deviation; likeliest.means.len()]),
        _ => (REACH, response.deviations(likeliest)),
    };
    let reach = reach * largest.map_or(1.0, |largest| largest.deviation / likeliest.deviation).max(1.0);
    let spreads: Vec<(f32, f32)> =
        likeliest.means.iter().zip(deviations).map(|(mean, deviation)| (*mean as f32, deviation as f32)).collect();
    PixelRange::spread("estimated", &spreads, reach as f32)
}

/// `range`, with what else may be true as valid too.
fn covering<'a>(range: &PixelRange, others: impl Iterator<Item = &'a PixelRange>) -> PixelRange {
    let (low, high) = range.hull();
    let near = others.map(PixelRange::ends).filter(|(least, most)| most - least <= WIDEST * (high - low));
    let (low, high) = near.fold((low, high), |(low, high), (least, most)| (low.min(least), high.max(most)));
    range.clone().reaching(low, high)
}
