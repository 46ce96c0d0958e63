//! What a recipe says: where images start, what is changed, and what they are held against.

use super::goal::Scores;
use super::input::Input;
use super::loss::{ImageLoss, OutputLoss, StatisticsLoss};
use super::losses;
use super::source::SourceKind;
use super::sources;
use crate::graph::Graph;

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

/// What images are held against where a network has no BatchNormalization left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assumption {
    /// Classes for pictures in colour where the network is a classifier, nothing for other such pictures, and standard
    /// statistics for all other inputs, of which procedural images say least.
    Automatic,
    /// Nothing: images stay as they start.
    None,
    /// Mean 0 and deviation 1 before every activation, what BatchNormalization starts with: over ten trained networks the mean
    /// of |γ| is 0.2 to 1.7, that of β −0.3 to 0.1.
    Standard,
    /// The moments that natural pictures have there, as far as they can be computed from weights and biases.
    Propagated,
    /// Smooth pictures of random classes, by the losses of Inception; no statistics.
    ///
    /// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.1 (Inception).
    Classes,
}

/// Weights of the cross-entropy to random classes and of smoothness, in the recipe `inception` too.
const CLASSES: (f64, f64) = (1.0, 5.0);

/// How images are made.
#[derive(Clone, Debug)]
pub struct Method {
    /// Its name, for provenance.
    pub recipe: String,
    pub start: Start,
    pub source: SourceKind,
    pub statistics: Option<&'static dyn StatisticsLoss>,
    pub pool: Pool,
    pub assumption: Assumption,
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
    /// Sizes of pictures at most: the full one, after its half, after its quarter, where the network takes these.
    pub stages: usize,
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
            assumption: Assumption::Automatic,
            first_layer: 1.0,
            input_statistics: false,
            image_losses: Vec::new(),
            output_losses: Vec::new(),
            low_pass: None,
            rate: 0.035,
            stages: 1,
            batch: None,
        }
    }
}

impl Method {
    /// The same for a network without BatchNormalization: the assumption chosen, and losses that need no statistics.
    pub(super) fn without_statistics(&self, graph: &Graph, inputs: &[Input]) -> Method {
        let coloured = inputs.iter().all(|input| input.image_channels() == Some(3));
        let plain = self.image_losses.is_empty() && self.output_losses.is_empty();
        let assumption = match self.assumption {
            Assumption::Automatic if !coloured => Assumption::Standard,
            Assumption::Automatic if plain && Scores::find(graph).is_some() => Assumption::Classes,
            Assumption::Automatic => Assumption::None,
            asked => asked,
        };
        let mut method = Method { assumption, ..self.clone() };
        if assumption == Assumption::Classes {
            method.statistics = None;
            method.image_losses = vec![(losses::of_images()[0], CLASSES.1)];
            method.output_losses = vec![(losses::of_outputs()[0], CLASSES.0)];
        }
        method
    }

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
