//! How near a set of images is to what a model was trained on, and how much it covers.

use serde::Serialize;

use super::goal::{Scores, Site, found};
use super::loss::StatisticsLoss;
use super::losses::ReverseKl;
use super::sites;
use crate::calibration::CalibrationSet;
use crate::error::Result;
use crate::execution::tape::ChannelSums;
use crate::execution::{self, observe};
use crate::graph::{Graph, ValueId, known_shape};
use crate::ops::{Gemm, MatMul};
use crate::passes::single_sample;
use crate::progress::Silent;

/// What a model says of a set of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Assessment {
    /// Mean over layers and channels of KL(set ‖ stored) at the inputs of the BatchNormalizations; `None` where there are none.
    ///
    /// Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.2, taken as a measure of similarity; the reverse direction.
    pub distance: Option<f64>,
    /// `None` where the model is no classifier.
    pub diversity: Option<Diversity>,
}

/// How much of what a classifier knows the images show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diversity {
    /// Classes that the model tells apart.
    pub classes: usize,
    /// Those that at least one image is taken for.
    pub classes_found: usize,
    /// Entropy of the histogram of classes over the greatest that so many images can have; 1 if they are equally frequent.
    pub evenness: f64,
    /// Mean cosine of the features of two images, where a matrix makes scores of features, else of their scores.
    pub similarity: f64,
}

/// Assesses `set` on `graph`, which still has its BatchNormalizations.
///
/// # Errors
/// If the graph cannot be computed as far as its last BatchNormalization.
pub fn assess(graph: &Graph, set: &CalibrationSet, config: &execution::Config) -> Result<Assessment> {
    let graph = single_sample(graph)?;
    let sites = sites::informative(&graph, &Silent)?;
    let scores = Scores::find(&graph);
    if let Some(scores) = scores
        && let Ok(assessment) = assess_on(&graph, &sites, Some(scores), set, config)
    {
        return Ok(assessment);
    }
    assess_on(&graph, &sites, None, set, config)
}

/// Distance of `set` from the statistics that `graph` has stored, alone; `None` where it has none.
///
/// # Errors
/// As [`assess`].
pub fn distance(graph: &Graph, set: &CalibrationSet, config: &execution::Config) -> Result<Option<f64>> {
    let graph = single_sample(graph)?;
    let sites = sites::informative(&graph, &Silent)?;
    Ok(assess_on(&graph, &sites, None, set, config)?.distance)
}

fn assess_on(
    graph: &Graph,
    sites: &[Site],
    scores: Option<Scores>,
    set: &CalibrationSet,
    config: &execution::Config,
) -> Result<Assessment> {
    let mut sums: Vec<ChannelSums> = sites.iter().map(|site| ChannelSums::new(site.stored.len())).collect();
    let mut scratch = scratch_for(sites);
    let mut tally = scores.map(|scores| Tally::new(graph, scores));
    survey(graph, sites, tally.as_mut(), set, config, &mut |_, of_sites| {
        sums.iter_mut().zip(of_sites).for_each(|(sums, values)| sums.add_sample(values, &mut scratch, config.isa));
    })?;
    let distance = (!sites.is_empty()).then(|| mean_distance(&ReverseKl, sites, &sums));
    Ok(Assessment { distance, diversity: tally.map(Tally::diversity) })
}

/// Numbers for [`ChannelSums::add_sample`] to work in at any of `sites`.
pub(super) fn scratch_for(sites: &[Site]) -> Vec<f32> {
    vec![0.0; 2 * sites.iter().map(|site| site.stored.len()).max().unwrap_or(0)]
}

/// Distance of what was found at one site from what is stored there.
pub(super) fn site_distance(loss: &dyn StatisticsLoss, site: &Site, sums: &ChannelSums) -> f64 {
    loss.distance(&found(site, sums).collect::<Vec<_>>(), &site.stored).value
}

/// Mean of [`site_distance`] over all sites.
pub(super) fn mean_distance(loss: &dyn StatisticsLoss, sites: &[Site], sums: &[ChannelSums]) -> f64 {
    let total: f64 = sites.iter().zip(sums).map(|(site, sums)| site_distance(loss, site, sums)).sum();
    total / sites.len().max(1) as f64
}

/// Runs `set`: `visit(sample, elements)` gets what each of `sites` holds, `tally` the scores.
pub(super) fn survey(
    graph: &Graph,
    sites: &[Site],
    mut tally: Option<&mut Tally>,
    set: &CalibrationSet,
    config: &execution::Config,
    visit: &mut dyn FnMut(usize, &[&[f32]]),
) -> Result<()> {
    let mut values: Vec<ValueId> = sites.iter().map(|site| site.value).collect();
    values.extend(tally.iter().flat_map(|tally| [tally.scores, tally.features]));
    if values.is_empty() {
        return Ok(());
    }
    observe(graph, &values, set, config, &mut |sample, elements| {
        let (of_sites, of_scores) = elements.split_at(sites.len());
        visit(sample, of_sites);
        if let (Some(tally), [scores, features]) = (tally.as_deref_mut(), of_scores) {
            tally.add(scores, features);
        }
    })
}

/// What the scores are a linear function of, or the scores.
fn features(graph: &Graph, scores: Scores) -> ValueId {
    let last = graph.producer(scores.value).map(|(_, node)| node);
    let linear = last.filter(|node| node.is::<Gemm>().is_some() || node.is::<MatMul>().is_some());
    linear.and_then(|node| node.input(0)).filter(|value| graph.constant(*value).is_none()).unwrap_or(scores.value)
}

/// What a classifier takes images for.
#[derive(Clone)]
pub(super) struct Tally {
    scores: ValueId,
    features: ValueId,
    /// Images of each class.
    pub(super) histogram: Vec<usize>,
    /// Of the features of all images, each of length 1.
    sum: Vec<f64>,
}

impl Tally {
    pub(super) fn new(graph: &Graph, scores: Scores) -> Self {
        let features = features(graph, scores);
        let shape = graph.value(features).shape.as_deref().and_then(known_shape);
        let sum = vec![0.0; shape.map_or(0, |shape| shape.iter().product())];
        Tally { scores: scores.value, features, histogram: vec![0; scores.classes], sum }
    }

    fn add(&mut self, scores: &[f32], features: &[f32]) {
        // The first of equals, as everywhere.
        let greatest = (0..scores.len()).rev().max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        self.histogram[greatest.unwrap_or(0)] += 1;
        let length = features.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
        self.sum.iter_mut().zip(features).for_each(|(sum, x)| *sum += f64::from(*x) / length);
    }

    pub(super) fn diversity(self) -> Diversity {
        let images = self.histogram.iter().sum::<usize>().max(1) as f64;
        let squares: f64 = self.sum.iter().map(|x| x * x).sum();
        Diversity {
            classes: self.histogram.len(),
            classes_found: self.histogram.iter().filter(|count| **count > 0).count(),
            evenness: evenness(&self.histogram),
            // Of all pairs of two different images; |Σ u|² counts each image with itself too.
            similarity: if images > 1.0 { (squares - images) / (images * (images - 1.0)) } else { 1.0 },
        }
    }
}

/// Entropy of a histogram over the greatest that so many images can have; 1 if all classes are equally frequent.
pub fn evenness(histogram: &[usize]) -> f64 {
    let images = histogram.iter().sum::<usize>().max(1) as f64;
    let frequent = histogram.iter().filter(|count| **count > 0).map(|count| *count as f64 / images);
    let entropy: f64 = frequent.map(|part| -part * part.ln()).sum();
    entropy / images.min(histogram.len() as f64).max(2.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;

    fn tally(images: &[([f32; 3], [f32; 2])]) -> Diversity {
        let graph = Sketch::new(&[1, 3]).plain("y", "Softmax", "x").outputs("y");
        let scores = Scores { value: graph.inputs[0], classes: 3 };
        let mut tally = Tally { sum: vec![0.0; 2], ..Tally::new(&graph, scores) };
        images.iter().for_each(|(scores, features)| tally.add(scores, features));
        tally.diversity()
    }

    #[test]
    fn diversity_is_that_of_the_classes_and_features() {
        let same = tally(&[([1.0, 0.0, 0.0], [2.0, 0.0]), ([3.0, 1.0, 0.0], [1.0, 0.0])]);
        assert_eq!((same.classes, same.classes_found), (3, 1));
        assert!(same.evenness.abs() < 1e-9 && (same.similarity - 1.0).abs() < 1e-9);
        let apart = tally(&[([1.0, 0.0, 0.0], [2.0, 0.0]), ([0.0, 1.0, 0.0], [0.0, 1.0])]);
        assert_eq!(apart.classes_found, 2);
        assert!((apart.evenness - 1.0).abs() < 1e-9 && apart.similarity.abs() < 1e-9);
    }
}
