//! How far sets of images are from what a network was trained on, layer by layer.
//!
//! Paper: Haroush et al. 2020, arXiv:1912.01274, section 3.2: the loss that images are synthesized with, as a measure of given
//! ones. It hardly minds a class that is missing or too frequent, so that classes are counted beside it.

use serde::Serialize;

pub use super::assessment::evenness;
use super::assessment::{Tally, mean_distance, scratch_for, site_distance, survey};
use super::goal::{Scores, Site, found};
use super::loss::{Gaussian, StatisticsLoss};
use super::losses::{ForwardKl, ReverseKl};
use super::sites;
use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::execution::tape::ChannelSums;
use crate::execution::{self, observe};
use crate::graph::Graph;
use crate::passes::{batch_norm_statistics, single_sample};
use crate::progress::Progress;
use crate::random::Random;

/// What a network says of one set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similarity {
    pub images: usize,
    /// Mean over layers and channels of KL(set ‖ stored): the measure that sets are ranked by.
    pub distance: f64,
    /// Standard error of that, since another set of so many images of the same kind would have another distance; `None`
    /// below 8 images.
    ///
    /// The deviation of random halves: each differs from the set as the set does from its source (half-samples, McCarthy 1969).
    pub error: Option<f64>,
    /// KL(stored ‖ set), the direction that the paper prints.
    pub forward_distance: f64,
    /// In execution order.
    pub layers: Vec<LayerDistance>,
    pub order: Option<Order>,
    /// Images of each class that the network takes them for; `None` where it is no classifier.
    pub predicted: Option<Vec<usize>>,
    /// Entropy of `predicted` over the greatest that it can have.
    pub evenness: Option<f64>,
}

/// One BatchNormalization.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerDistance {
    pub node: String,
    /// KL(set ‖ stored), mean over channels.
    pub distance: f64,
}

/// How far the first half of a set is from the second one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Order {
    /// Mean over layers of the symmetric Kullback-Leibler divergence of the two.
    pub halves: f64,
    /// The same of random halves: their mean, and their deviation.
    pub random_halves: f64,
    pub deviation: f64,
}

impl Order {
    /// Whether the halves differ by more than chance makes them differ, and by enough to matter.
    pub fn is_sorted(&self) -> bool {
        self.halves > self.random_halves + 5.0 * self.deviation && self.halves > 2.0 * self.random_halves
    }
}

/// Fewest images whose halves say something.
const FEWEST: usize = 8;
/// Random halves to compare with.
const SPLITS: usize = 20;
/// Images between two looks at the clock and the keyboard.
const AT_ONCE: usize = 512;

/// A network with the statistics that it has stored.
pub struct Yardstick {
    graph: Graph,
    sites: Vec<Site>,
    names: Vec<String>,
    scores: Option<Scores>,
    config: execution::Config,
}

impl Yardstick {
    /// # Errors
    /// If `graph` has no statistics that say something.
    pub fn new(graph: &Graph, config: execution::Config, progress: &dyn Progress) -> Result<Self> {
        let graph = single_sample(graph)?;
        let sites = sites::informative(&graph, progress)?;
        if sites.is_empty() {
            let advice = "give an export that keeps its BatchNormalization with --stats-from; `zeroq inspect` tells how to make one";
            return Err(Error::Usage(format!("the model has no BatchNormalization statistics to hold images against: {advice}")));
        }
        let stored = batch_norm_statistics(&graph)?;
        let name = |site: &Site| stored.iter().find(|other| other.input == site.value).map(|other| other.name.clone());
        let names = sites.iter().map(|site| name(site).unwrap_or_default()).collect();
        Ok(Yardstick { scores: Scores::find(&graph), graph, sites, names, config })
    }

    /// Measures the images of `parts` as one set.
    ///
    /// # Errors
    /// If the network cannot be computed as far as its last BatchNormalization, or there are no images.
    pub fn measure(&self, parts: &[CalibrationSet], progress: &dyn Progress) -> Result<Similarity> {
        let images = parts.iter().map(CalibrationSet::len).sum();
        let mut tally = self.tally(parts);
        let mut halves = Halves::new(images, &self.sites);
        let (mut sums, mut scratch) = (sums_for(&self.sites), scratch_for(&self.sites));
        let mut first = 0;
        for group in parts.iter().flat_map(groups) {
            progress.check()?;
            survey(&self.graph, &self.sites, tally.as_mut(), &group, &self.config, &mut |sample, of_sites| {
                for (sums, values) in sums.iter_mut().zip(of_sites) {
                    sums.clear();
                    sums.add_sample(values, &mut scratch, self.config.isa);
                }
                halves.add(first + sample, &sums);
            })?;
            first += group.len();
            progress.step("");
        }
        Ok(self.conclude(&halves, tally))
    }

    /// How many steps [`Yardstick::measure`] takes.
    pub fn steps(parts: &[CalibrationSet]) -> usize {
        parts.iter().map(|part| part.len().div_ceil(AT_ONCE)).sum()
    }

    /// `None` where classes cannot be told.
    fn tally(&self, parts: &[CalibrationSet]) -> Option<Tally> {
        let scores = self.scores?;
        let probe = parts.iter().find(|part| !part.is_empty())?.slice(0..1);
        observe(&self.graph, &[scores.value], &probe, &self.config, &mut |_, _| {}).ok()?;
        Some(Tally::new(&self.graph, scores))
    }

    fn conclude(&self, halves: &Halves, tally: Option<Tally>) -> Similarity {
        let (all, sites) = (&halves.all, &self.sites);
        let layer = |(index, site): (usize, &Site)| LayerDistance {
            node: self.names[index].clone(),
            distance: site_distance(&ReverseKl, site, &all[index]),
        };
        let predicted = tally.map(|tally| tally.histogram);
        Similarity {
            images: halves.images,
            distance: mean_distance(&ReverseKl, sites, all),
            error: halves.error(sites),
            forward_distance: mean_distance(&ForwardKl, sites, all),
            layers: sites.iter().enumerate().map(layer).collect(),
            order: halves.order(sites),
            evenness: predicted.as_deref().map(evenness),
            predicted,
        }
    }
}

fn groups(part: &CalibrationSet) -> impl Iterator<Item = CalibrationSet> + '_ {
    (0..part.len()).step_by(AT_ONCE).map(|first| part.slice(first..part.len().min(first + AT_ONCE)))
}

fn sums_for(sites: &[Site]) -> Vec<ChannelSums> {
    sites.iter().map(|site| ChannelSums::new(site.stored.len())).collect()
}

/// Sums of a set, and of one half of each of some splits: the first is the order that images come in.
struct Halves {
    images: usize,
    all: Vec<ChannelSums>,
    splits: Vec<Split>,
}

struct Split {
    /// Whether an image belongs to the half.
    belongs: Vec<bool>,
    half: Vec<ChannelSums>,
}

impl Halves {
    fn new(images: usize, sites: &[Site]) -> Self {
        let splits = if images < FEWEST { 0 } else { 1 + SPLITS };
        let split = |index: usize| {
            let order = if index == 0 { (0..images).collect() } else { Random::new(0, index as u64).permutation(images) };
            Split { belongs: order.into_iter().map(|place| place < images / 2).collect(), half: sums_for(sites) }
        };
        Halves { images, all: sums_for(sites), splits: (0..splits).map(split).collect() }
    }

    fn add(&mut self, image: usize, sums: &[ChannelSums]) {
        let halves = self.splits.iter_mut().filter(|split| split.belongs[image]).map(|split| &mut split.half);
        for half in halves.chain([&mut self.all]) {
            half.iter_mut().zip(sums).for_each(|(half, sums)| half.add(sums));
        }
    }

    fn other(&self, split: &Split) -> Vec<ChannelSums> {
        self.all.iter().zip(&split.half).map(|(all, half)| difference(all, half)).collect()
    }

    fn error(&self, sites: &[Site]) -> Option<f64> {
        let random = self.splits.get(1..)?;
        let distances = random
            .iter()
            .flat_map(|split| [mean_distance(&ReverseKl, sites, &split.half), mean_distance(&ReverseKl, sites, &self.other(split))]);
        Some(mean_and_deviation(&distances.collect::<Vec<_>>()).1)
    }

    fn order(&self, sites: &[Site]) -> Option<Order> {
        let (ordered, random) = self.splits.split_first()?;
        let apart = |split: &Split| divergence(sites, &split.half, &self.other(split));
        let (random_halves, deviation) = mean_and_deviation(&random.iter().map(apart).collect::<Vec<_>>());
        Some(Order { halves: apart(ordered), random_halves, deviation })
    }
}

/// Sums of what is in `all` and not in `half`.
fn difference(all: &ChannelSums, half: &ChannelSums) -> ChannelSums {
    let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
    ChannelSums {
        count: all.count - half.count,
        sum: minus(&all.sum, &half.sum),
        sum_of_squares: minus(&all.sum_of_squares, &half.sum_of_squares),
    }
}

/// Mean over the layers of the symmetric divergence of two sets.
fn divergence(sites: &[Site], one: &[ChannelSums], other: &[ChannelSums]) -> f64 {
    let of = |(site, (one, other)): (&Site, (&ChannelSums, &ChannelSums))| {
        let (one, other): (Vec<Gaussian>, Vec<Gaussian>) = (found(site, one).collect(), found(site, other).collect());
        0.5 * (ReverseKl.distance(&one, &other).value + ReverseKl.distance(&other, &one).value)
    };
    sites.iter().zip(one.iter().zip(other)).map(of).sum::<f64>() / sites.len().max(1) as f64
}

fn mean_and_deviation(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{Provenance, Samples};
    use crate::graph::sketch::Sketch;
    use crate::progress::Silent;

    /// `images` of one channel whose noise is about `mean(index)`.
    fn set(images: usize, mean: impl Fn(usize) -> f32) -> CalibrationSet {
        let mut random = Random::new(7, 0);
        let elements = (0..images * 192).map(|index| mean(index / 192) + random.normal()).collect();
        let samples = Samples::new("x", vec![1, 3, 8, 8], elements).unwrap();
        CalibrationSet { inputs: vec![samples], provenance: Provenance::default() }
    }

    fn measure(parts: &[CalibrationSet]) -> Similarity {
        let yardstick = Yardstick::new(&Sketch::residual(), execution::Config::default(), &Silent).unwrap();
        yardstick.measure(parts, &Silent).unwrap()
    }

    #[test]
    fn sorted_images_are_told_from_shuffled_ones() {
        let sorted = |index: usize| if index < 32 { -0.5 } else { 0.5 };
        let mixed = |index: usize| if index.is_multiple_of(2) { -0.5 } else { 0.5 };
        for (name, of, expected) in
            [("sorted", set(64, sorted), true), ("mixed", set(64, mixed), false), ("alike", set(64, |_| 0.0), false)]
        {
            let order = measure(&[of]).order.unwrap();
            assert_eq!(order.is_sorted(), expected, "{name}: {order:?}");
        }
        assert_eq!(measure(&[set(7, sorted)]).order, None);
    }

    #[test]
    fn parts_are_measured_as_one_set() {
        let (whole, parts) = (set(300, |_| 0.2), [set(300, |_| 0.2).slice(0..70), set(300, |_| 0.2).slice(70..300)]);
        assert_eq!(measure(&[whole]), measure(&parts));
    }

    #[test]
    fn the_distance_is_that_of_the_assessment_and_the_mean_of_its_layers() {
        let (set, graph) = (set(20, |_| 0.2), Sketch::residual());
        let found = measure(std::slice::from_ref(&set));
        let assessed = super::super::distance(&graph, &set, &execution::Config::default()).unwrap().unwrap();
        let mean = found.layers.iter().map(|layer| layer.distance).sum::<f64>() / found.layers.len() as f64;
        assert!((found.distance - assessed).abs() < 1e-12 && (found.distance - mean).abs() < 1e-12, "{found:?}");
        assert!(found.layers.iter().all(|layer| !layer.node.is_empty()));
    }

    #[test]
    fn the_error_is_that_of_sets_of_the_same_kind() {
        let many = set(64 * 40, |index| ((index * 37 % 11) as f32 - 5.0) / 5.0);
        let found: Vec<Similarity> = (0..40).map(|index| measure(&[many.slice(64 * index..64 * (index + 1))])).collect();
        let (_, deviation) = mean_and_deviation(&found.iter().map(|one| one.distance).collect::<Vec<_>>());
        let told = found.iter().map(|one| one.error.unwrap()).sum::<f64>() / 40.0;
        assert!((0.5..2.0).contains(&(told / deviation)), "{told} told, {deviation} found");
    }
}
