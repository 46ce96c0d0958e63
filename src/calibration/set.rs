//! Calibration images: what takes the place of data.

use serde::{Deserialize, Serialize};

/// One input of the network over all samples of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Name of the graph input.
    pub name: String,
    /// Shape of one sample with its leading batch dimension, for example `[1, 3, 224, 224]`.
    pub shape: Vec<usize>,
    /// Row-major elements, one sample after another.
    pub elements: Vec<f32>,
}

impl Samples {
    /// Elements of one sample.
    pub fn sample_len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn sample(&self, index: usize) -> &[f32] {
        let len = self.sample_len();
        &self.elements[index * len..(index + 1) * len]
    }
}

/// Where a set comes from, so that it can be made again. Written into every file made with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
        self.inputs.first().map_or(0, |input| input.elements.len() / input.sample_len().max(1))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples `range` alone.
    pub fn slice(&self, range: std::ops::Range<usize>) -> CalibrationSet {
        let inputs = self.inputs.iter().map(|input| {
            let len = input.sample_len();
            Samples { elements: input.elements[range.start * len..range.end * len].to_vec(), ..input.clone() }
        });
        CalibrationSet { inputs: inputs.collect(), provenance: self.provenance.clone() }
    }
}
