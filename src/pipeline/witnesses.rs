//! Samples that do not share what was assumed when the others were made, for the self-check to judge by.

use super::Config;
use super::prepared::Prepared;
use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::error::Result;
use crate::random::Random;
use crate::synthesis::input::Input;
use crate::synthesis::input_range::PixelRange;

/// Samples of one source.
pub(super) struct Witness {
    pub source: String,
    /// Whether the result must be good on them, which nobody can ask where a range is not certain.
    pub judged: bool,
    pub set: CalibrationSet,
}

/// Samples of each source.
const COUNT: usize = 16;
/// How far the seeds of witnesses are from that of the run.
const OTHER_SEED: u64 = 2 << 32;
/// Contrasts that samples are seen with, and brightness that is added, as a part of the range.
const CONTRASTS: [f32; 4] = [0.7, 0.85, 1.15, 1.3];
const BRIGHTNESS: [f32; 3] = [-0.1, 0.0, 0.1];

/// Procedural samples, which need no model; those of the check with another contrast and brightness; and, where the range of an
/// input is not certain, procedural samples in the range that fits next best.
pub(super) fn witnesses(prepared: &Prepared, config: &Config) -> Result<Vec<Witness>> {
    let inputs = &prepared.inputs;
    let seed = config.seed.wrapping_add(OTHER_SEED);
    let mut found = vec![Witness { source: "procedural".into(), judged: true, set: procedural(inputs, seed, 0)? }];
    if let Some(unseen) = &prepared.unseen {
        found.push(Witness { source: "other contrast and brightness".into(), judged: true, set: shifted(unseen, inputs)? });
    }
    let others: Vec<Input> = inputs.iter().map(|input| elsewhere(input).unwrap_or_else(|| input.clone())).collect();
    if others != *inputs {
        let names: Vec<&str> = others.iter().zip(inputs).filter(|(a, b)| a != b).map(|(other, _)| other.range.name.as_str()).collect();
        found.push(Witness {
            judged: false,
            source: format!("in the range that fits next best ({})", names.join(", ")),
            set: procedural(&others, seed, 1)?,
        });
    }
    Ok(found)
}

/// The input in the range that fits next best, where its own is not certain and that one is as plausible as to be covered.
fn elsewhere(input: &Input) -> Option<Input> {
    let (range, _) = input.finding.runner_up.as_ref().filter(|_| !input.finding.certainty.is_sure())?;
    let ((low, high), (least, most)) = (input.range.hull(), range.ends());
    (low <= least && most <= high).then(|| Input { range: range.clone(), ..input.clone() })
}

fn procedural(inputs: &[Input], seed: u64, stream: u64) -> Result<CalibrationSet> {
    let samples = inputs.iter().enumerate().map(|(index, input)| {
        let mut random = Random::new(seed, stream << 32 | index as u64);
        Samples::new(&input.name, input.shape.clone(), (0..COUNT).flat_map(|_| input.procedural(&mut random)).collect())
    });
    Ok(CalibrationSet { inputs: samples.collect::<Result<_>>()?, provenance: Provenance::default() })
}

/// Within what is valid.
fn shifted(set: &CalibrationSet, inputs: &[Input]) -> Result<CalibrationSet> {
    let count = set.len().min(COUNT);
    let samples = set.inputs.iter().zip(inputs).map(|(samples, input)| {
        let mut elements = Vec::with_capacity(count * input.len());
        for index in 0..count {
            let (contrast, brightness) = (CONTRASTS[index % CONTRASTS.len()], BRIGHTNESS[index / CONTRASTS.len() % BRIGHTNESS.len()]);
            let seen = samples.sample(index)?;
            let mean = seen.iter().sum::<f32>() / seen.len().max(1) as f32;
            let (low, high) = input.range.hull();
            let by = brightness * width(&input.range);
            elements.extend(input.settled(seen.iter().map(|x| (mean + contrast * (x - mean) + by).clamp(low, high)).collect()));
        }
        Samples::new(&samples.name, samples.shape.clone(), elements)
    });
    Ok(CalibrationSet { inputs: samples.collect::<Result<_>>()?, provenance: Provenance::default() })
}

fn width(range: &PixelRange) -> f32 {
    let (low, high) = range.ends();
    high - low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthesis::ranges::{Certainty, Finding};

    #[test]
    fn a_range_that_may_be_is_tried_where_it_is_covered() {
        let signed = PixelRange::uniform("signed", -1.0, 1.0);
        let mut input = Input::new("x", vec![1, 1, 4, 4], PixelRange::uniform("unit", 0.0, 1.0).reaching(-1.0, 1.0));
        input.finding = Finding { runner_up: Some((signed.clone(), 0.4)), ..Finding::plain(Certainty::Unsure) };
        assert_eq!(elsewhere(&input).unwrap().range, signed);
        input.finding.certainty = Certainty::Found;
        assert!(elsewhere(&input).is_none());
        input.finding = Finding { runner_up: Some((PixelRange::uniform("byte", 0.0, 255.0), 0.4)), ..Finding::plain(Certainty::Unsure) };
        assert!(elsewhere(&input).is_none());
    }

    #[test]
    fn shifted_samples_stay_valid_and_differ() {
        let input = Input::new("x", vec![1, 1, 8, 8], PixelRange::uniform("unit", 0.0, 1.0));
        let set = procedural(std::slice::from_ref(&input), 1, 0).unwrap();
        let moved = shifted(&set, std::slice::from_ref(&input)).unwrap();
        let (low, high) = moved.inputs[0].range().unwrap();
        assert!(low >= 0.0 && high <= 1.0);
        assert!((0..COUNT).all(|index| set.inputs[0].sample(index).unwrap() != moved.inputs[0].sample(index).unwrap()));
    }
}
