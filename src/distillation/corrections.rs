//! What is set right before anything is tuned: in closed form, without gradients.

use super::Lesson;
use super::bias_correction::{Corrected, add_biases, correct_biases, correct_biases_by_moments};
use crate::calibration::Moments;
use crate::emit::{Student, balance_weights};
use crate::error::Result;
use crate::execution;
use crate::graph::Graph;
use crate::progress::Progress;

/// How weights are rounded before they are tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Nearest,
    Squant,
}

impl Rounding {
    pub const ALL: [Rounding; 2] = [Rounding::Nearest, Rounding::Squant];

    pub fn name(self) -> &'static str {
        match self {
            Rounding::Nearest => "nearest",
            Rounding::Squant => "squant",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Rounding::Nearest => "Each weight by itself",
            Rounding::Squant => "So that errors cancel within each kernel and each output channel",
        }
    }
}

/// Where the mean errors come from that biases make up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasCorrection {
    None,
    Analytic,
    Empirical,
}

impl BiasCorrection {
    pub const ALL: [BiasCorrection; 3] = [BiasCorrection::None, BiasCorrection::Analytic, BiasCorrection::Empirical];

    pub fn name(self) -> &'static str {
        match self {
            BiasCorrection::None => "none",
            BiasCorrection::Analytic => "analytic",
            BiasCorrection::Empirical => "empirical",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            BiasCorrection::None => "Biases start as they are",
            BiasCorrection::Analytic => "From BatchNormalization and the errors of the weights, without samples",
            BiasCorrection::Empirical => "Measured on the samples, layer after layer",
        }
    }
}

/// What is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrections {
    /// Whether what activations always have becomes a bias, before ranges are found.
    pub absorb_bias: bool,
    pub rounding: Rounding,
    pub bias: BiasCorrection,
}

impl Corrections {
    /// Gives quantized products without a bias one of zeros, where biases are to be corrected.
    pub fn add_biases(self, graph: &mut Graph, student: &mut Student) {
        if self.bias != BiasCorrection::None {
            add_biases(graph, student);
        }
    }

    /// What is left to correct once weights and biases were reconstructed: what is measured.
    pub fn after_reconstruction(self, progress: &dyn Progress) -> Corrections {
        if self.bias == BiasCorrection::Analytic {
            progress.note("biases were not corrected from BatchNormalization, since reconstruction has tuned them");
        }
        let bias = if self.bias == BiasCorrection::Empirical { self.bias } else { BiasCorrection::None };
        Corrections { rounding: Rounding::Nearest, bias, ..self }
    }
}

/// Samples whose mean errors can be trusted.
const LEAST_SAMPLES: usize = 16;

/// Rounds the weights of `graph` and corrects its biases. `moments` are of values of the teacher.
///
/// # Errors
/// If either graph cannot be computed.
pub fn correct(
    lesson: Lesson<'_>,
    graph: &mut Graph,
    moments: &Moments,
    corrections: Corrections,
    config: &execution::Config,
    progress: &dyn Progress,
) -> Result<()> {
    let Lesson { teacher, student, set, .. } = lesson;
    if corrections.rounding == Rounding::Squant {
        balance_weights(graph, student)?;
    }
    let (found, reason) = match corrections.bias {
        BiasCorrection::None => (Corrected::default(), ""),
        BiasCorrection::Empirical if set.len() < LEAST_SAMPLES => {
            progress.warn("the samples are too few to measure mean errors on: biases were not corrected");
            return Ok(());
        }
        BiasCorrection::Empirical => (correct_biases(teacher, graph, student, set, config, progress)?, "they cannot have one"),
        BiasCorrection::Analytic => {
            let found = correct_biases_by_moments(teacher, graph, student, &moments.clone().spread(teacher))?;
            (found, "BatchNormalization tells nothing of their inputs")
        }
    };
    if found.left > 0 {
        progress.note(&format!("biases of {} of {} layers were not corrected: {reason}", found.left, found.layers + found.left));
    }
    Ok(())
}
