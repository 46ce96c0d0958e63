//! What a recipe says: where images start, what is changed, and what they are held against.

use super::loss::{ImageLoss, OutputLoss, StatisticsLoss};
use super::losses;
use super::source::SourceKind;
use super::sources;

/// What pixels are before the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Procedural pictures.
    DeadLeaves,
    /// Independent normal noise with the mean and deviation of natural pictures.
    Gaussian,
}

/// What the statistics are taken over that are held against the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    Batch,
    /// Every image for itself.
    ///
    /// Paper: Cai et al. 2020 (ZeroQ), arXiv:2001.00281, as their code does it.
    Image,
    /// The batch and all batches before it, so that the set matches as a whole.
    ///
    /// Paper: Ilan et al. 2023, arXiv:2310.05613, section 3.1; there all batches take turns, here one follows the other.
    Set,
}

/// How images are made.
#[derive(Clone, Debug)]
pub struct Method {
    /// Its name, for provenance.
    pub recipe: String,
    pub start: Start,
    pub source: SourceKind,
    pub statistics: Option<&'static dyn StatisticsLoss>,
    pub pool: Pool,
    /// Weight of the first BatchNormalization, relative to the others.
    pub first_layer: f64,
    /// Whether the input's own mean and deviation are held against those of natural pictures, as one more layer.
    pub input_statistics: bool,
    /// With weights; the statistics have weight 1.
    pub image_losses: Vec<(&'static dyn ImageLoss, f64)>,
    pub output_losses: Vec<(&'static dyn OutputLoss, f64)>,
    /// Deviation, in pixels, of the Gaussian blur through which the network sees the pixels, and which finished images keep.
    ///
    /// Paper: Kim et al. 2025 (SynQ), the low-pass filter; there a Fourier one, on finished images alone.
    pub low_pass: Option<f32>,
    /// Largest step of a pixel, as a part of its range.
    pub rate: f32,
    /// Images whose statistics are matched together; chosen from the model if not said.
    pub batch: Option<usize>,
}

impl Default for Method {
    fn default() -> Self {
        Method {
            recipe: "default".to_string(),
            start: Start::DeadLeaves,
            source: sources::all()[0],
            statistics: Some(losses::of_statistics()[0]),
            pool: Pool::Batch,
            first_layer: 1.0,
            input_statistics: false,
            image_losses: Vec::new(),
            output_losses: Vec::new(),
            low_pass: None,
            rate: 0.035,
            batch: None,
        }
    }
}

impl Method {
    /// Whether anything is held against a goal but the statistics of batches, by the default measure.
    pub(super) fn is_judged_by_distance(&self) -> bool {
        let usual = losses::of_statistics()[0].name();
        self.statistics.is_some_and(|loss| loss.name() == usual)
            && self.pool != Pool::Image
            && !self.input_statistics
            && self.image_losses.is_empty()
            && self.output_losses.is_empty()
    }
}
