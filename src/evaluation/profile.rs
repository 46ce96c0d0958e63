//! What each layer's precision costs and gains.

use serde::Serialize;

/// How much a network minds each layer's precision, one layer at a time, and the best that all layers can do together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Samples that noise was measured on.
    pub samples: usize,
    /// The layer that minds 4 bits most comes first.
    pub layers: Vec<LayerProfile>,
    /// From the smallest to the most exact, thinned out.
    pub frontier: Vec<FrontierPoint>,
}

/// Matrix products with the same weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerProfile {
    pub nodes: Vec<String>,
    pub operator: String,
    /// Number of weights.
    pub weights: u64,
    pub widths: Vec<WidthProfile>,
}

/// One layer at one width, all others in float.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WidthProfile {
    /// `4`, `8`, `16` or `float`.
    pub width: &'static str,
    pub weight_bytes: u64,
    /// Σ (r − c)² / Σ r² of the outputs, averaged over them.
    pub noise: f64,
    pub sqnr_db: f64,
}

/// An assignment of widths that no other beats in both weight bytes and noise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrontierPoint {
    pub weight_bytes: u64,
    pub average_bits: f64,
    /// As predicted: the noises of all layers add up.
    pub sqnr_db: f64,
}

/// What was chosen for a network of mixed precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MixedChoice {
    /// In the order of execution.
    pub layers: Vec<LayerChoice>,
    pub weight_bytes: u64,
    pub average_bits: f64,
    /// Of the untuned network.
    pub predicted_sqnr_db: f64,
    /// Of the tuned network, where a least one was asked for.
    pub measured_sqnr_db: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerChoice {
    pub nodes: Vec<String>,
    pub width: &'static str,
    pub weight_bytes: u64,
}
