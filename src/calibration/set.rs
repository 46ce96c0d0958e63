//! Calibration images: what takes the place of data.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::elements::Elements;
use crate::error::Result;

/// Ends of the ranges that pictures have, whatever they show: parts of one, of both signs, bytes, and ImageNet's.
const PICTURES: [(f32, f32); 4] = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-2.118, 2.641)];
/// Part of such a range that samples fill which have it.
const FILLED: f32 = 0.9;
/// Deviations from the mean that other inputs may have.
const DEVIATIONS: f64 = 6.0;

/// One input of the network over all samples of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Name of the graph input.
    pub name: String,
    /// Shape of one sample with its leading batch dimension, for example `[1, 3, 224, 224]`.
    pub shape: Vec<usize>,
    /// Row-major elements of each sample.
    pub elements: Elements,
}

impl Samples {
    /// Samples whose row-major `elements` stand one after another.
    ///
    /// # Errors
    /// If they are many, and the system's temporary folder cannot take them.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, elements: Vec<f32>) -> Result<Self> {
        let elements = Elements::of(shape.iter().product(), elements)?;
        Ok(Samples { name: name.into(), shape, elements })
    }

    /// Elements of one sample.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Row-major elements of one sample.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn sample(&self, index: usize) -> Result<Cow<'_, [f32]>> {
        self.elements.sample(index)
    }

    /// What the input may hold, as far as these samples tell: all that they hold, and for other than pictures, which fill a
    /// range that has ends, six deviations from their mean. What is never below zero stays there.
    ///
    /// # Errors
    /// If samples cannot be read back.
    pub fn likely_range(&self) -> Result<(f32, f32)> {
        let (low, high) = self.range()?;
        let fills = |(least, most): (f32, f32)| low >= least && high <= most && high - low >= FILLED * (most - least);
        if PICTURES.iter().any(|range| fills(*range)) {
            return Ok((low, high));
        }
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for index in 0..self.elements.len() {
            for x in self.sample(index)?.iter().map(|x| f64::from(*x)) {
                (sum, squares, count) = (sum + x, squares + x * x, count + 1.0);
            }
        }
        let mean = sum / f64::max(count, 1.0);
        let reach = DEVIATIONS * (squares / f64::max(count, 1.0) - mean * mean).max(0.0).sqrt();
        let likely = (low.min((mean - reach) as f32), high.max((mean + reach) as f32));
        Ok((if low >= 0.0 { low } else { likely.0 }, if high <= 0.0 { high } else { likely.1 }))
    }

    /// Smallest and largest element.
    ///
    /// # Errors
    /// If samples cannot be read back.
    pub fn range(&self) -> Result<(f32, f32)> {
        (0..self.elements.len()).try_fold((f32::INFINITY, f32::NEG_INFINITY), |range, index| {
            Ok(self.sample(index)?.iter().fold(range, |(low, high), x| (x.min(low), x.max(high))))
        })
    }
}

/// Where a set comes from, so that it can be made again. Written into every file made with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Provenance {
    /// `synthesized`, `assumed`, `dead-leaves`, `gaussian`, or `files`.
    pub source: String,
    pub seed: Option<u64>,
    pub steps: Option<usize>,
    /// SHA-256 of the model that the images were made for.
    pub model_sha256: Option<String>,
    /// SHA-256 of the sibling whose statistics were matched, where that is another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics_sha256: Option<String>,
    /// Version of zeroq that made the set.
    pub version: String,
    /// How the images were made.
    pub recipe: Option<String>,
    pub isa: Option<String>,
}

/// Samples for every input of a network, in the order of the graph's inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationSet {
    pub inputs: Vec<Samples>,
    pub provenance: Provenance,
}

impl CalibrationSet {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.inputs.first().map_or(0, |input| input.elements.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// With the samples of `other`, which has the same inputs, spread evenly among them.
    ///
    /// # Errors
    /// If samples cannot be read back or stored.
    pub fn interleave(&self, other: &CalibrationSet) -> Result<CalibrationSet> {
        let (own, all) = (self.len(), self.len() + other.len());
        let inputs = self.inputs.iter().zip(&other.inputs).map(|(samples, others)| {
            let mut elements = Elements::zeros(samples.sample_len(), all)?;
            for place in 0..all {
                // As many of the own ones as their share of the places so far.
                let (before, after) = (place * own / all, (place + 1) * own / all);
                let sample = if after > before { samples.sample(before)? } else { others.sample(place - before)? };
                elements.write(place, &sample)?;
            }
            Ok(Samples { elements, ..samples.clone() })
        });
        Ok(CalibrationSet { inputs: inputs.collect::<Result<_>>()?, provenance: self.provenance.clone() })
    }

    /// The samples `range` alone; they are shared, not copied.
    pub fn slice(&self, range: std::ops::Range<usize>) -> CalibrationSet {
        let inputs = self.inputs.iter().map(|input| Samples { elements: input.elements.slice(range.clone()), ..input.clone() });
        CalibrationSet { inputs: inputs.collect(), provenance: self.provenance.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(elements: Vec<f32>) -> CalibrationSet {
        CalibrationSet { inputs: vec![Samples::new("x", vec![1, 1], elements).unwrap()], provenance: Provenance::default() }
    }

    #[test]
    fn pictures_have_ends_and_other_inputs_six_deviations() {
        let range = |elements: Vec<f32>| set(elements).inputs[0].likely_range().unwrap();
        let even = |low: f32, high: f32| (0..=100).map(|i| low + (high - low) * i as f32 / 100.0).collect::<Vec<f32>>();
        assert_eq!((range(even(0.0, 1.0)), range(even(-2.1, 2.6)), range(even(3.0, 250.0))), ((0.0, 1.0), (-2.1, 2.6), (3.0, 250.0)));
        let (low, high) = range(even(-0.3, 0.3));
        assert!((low + 1.05).abs() < 0.01 && (high - 1.05).abs() < 0.01, "{low} {high}");
        let (low, high) = range(even(0.0, 20.0));
        assert!(low == 0.0 && high > 40.0, "{low} {high}");
    }

    #[test]
    fn interleaved_samples_keep_their_order_and_are_spread_evenly() {
        let joined = set((0..6).map(|i| i as f32).collect()).interleave(&set(vec![-1.0, -2.0])).unwrap();
        let found: Vec<f32> = (0..joined.len()).map(|index| joined.inputs[0].sample(index).unwrap()[0]).collect();
        assert_eq!(found, [-1.0, 0.0, 1.0, 2.0, -2.0, 3.0, 4.0, 5.0]);
        assert_eq!(set(vec![1.0]).interleave(&set(Vec::new())).unwrap(), set(vec![1.0]));
    }
}
