//! Calibration images: what takes the place of data.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::elements::Elements;
use crate::error::Result;

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

    /// The samples `range` alone; they are shared, not copied.
    pub fn slice(&self, range: std::ops::Range<usize>) -> CalibrationSet {
        let inputs = self.inputs.iter().map(|input| Samples { elements: input.elements.slice(range.clone()), ..input.clone() });
        CalibrationSet { inputs: inputs.collect(), provenance: self.provenance.clone() }
    }
}
