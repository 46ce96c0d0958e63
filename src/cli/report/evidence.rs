//! What a page shows beside the figures of a report.

use std::collections::BTreeMap;

use super::distances::Distances;
use super::gallery::{Gallery, galleries};
use crate::error::Result;
use crate::evaluation::{Curve, Profile, Stopwatch};
use crate::onnx::Model;
use crate::pipeline::{Config, Quantized, ValueRange};
use crate::progress::Progress;
use crate::quantization::KernelForecast;

pub struct Evidence {
    /// One for each input.
    pub galleries: Vec<Gallery>,
    pub distances: Distances,
    pub curves: Vec<Curve>,
    pub ranges: Vec<ValueRange>,
    pub kernels: Vec<KernelForecast>,
    pub profile: Option<Profile>,
    /// What the result says of how it was made.
    pub settings: BTreeMap<String, String>,
}

impl Evidence {
    /// Looks at `work`, which was made of `original`, on images that were `given` or synthesized.
    ///
    /// # Errors
    /// If samples cannot be read back, or the work was interrupted.
    pub fn gather(original: &Model, work: &Quantized, given: bool, config: &Config, stopwatch: &Stopwatch<'_>) -> Result<Self> {
        stopwatch.begin("look at the images", 0);
        let evidence = Evidence {
            galleries: galleries(&work.samples, &work.inputs)?,
            distances: Distances::measure(&original.graph, work, given, config)?,
            curves: stopwatch.curves(),
            ranges: work.ranges.clone(),
            kernels: work.kernels.clone(),
            profile: work.profile.clone(),
            settings: work.model.metadata_of("zeroq."),
        };
        stopwatch.end();
        Ok(evidence)
    }
}
