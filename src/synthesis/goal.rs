//! What images are held against.

use super::input::Input;
use super::loss::{Gaussian, StatisticsLoss};
use super::method::Method;
use crate::error::{Error, Result};
use crate::execution::tape::ChannelSums;
use crate::graph::{Graph, ValueId, known_shape};
use crate::kernels::Isa;
use crate::ops::{LogSoftmax, Softmax};

/// Stored statistics of one BatchNormalization input.
#[derive(Clone, Debug)]
pub struct Site {
    pub value: ValueId,
    /// Per channel; variances hold the layer's epsilon.
    pub stored: Vec<Gaussian>,
    pub epsilon: f64,
}

/// Mean and deviation of natural pictures, as parts of the valid range: those of ImageNet, over all channels.
pub const NATURAL: (f32, f32) = (0.449, 0.226);

/// A goal for one graph.
pub struct Goal<'a> {
    pub method: &'a Method,
    /// Where statistics are held against stored ones; empty where none are.
    pub sites: Vec<Site>,
    weights: Vec<f64>,
    scores: Option<Scores>,
}

/// Scores of classes, before any softmax.
#[derive(Clone, Copy, Debug)]
pub struct Scores {
    pub value: ValueId,
    pub classes: usize,
}

impl Scores {
    /// Those of the first output, where that is one number for each class. `graph` takes one sample.
    pub fn find(graph: &Graph) -> Option<Scores> {
        let output = *graph.outputs.first()?;
        let shape = known_shape(graph.value(output).shape.as_deref()?)?;
        let [1, classes] = shape[..] else { return None };
        if classes < 2 {
            return None;
        }
        let last = graph.producer(output).map(|(_, node)| node);
        let softmax = last.filter(|node| node.is::<Softmax>().is_some() || node.is::<LogSoftmax>().is_some());
        Some(Scores { value: softmax.and_then(|node| node.input(0)).unwrap_or(output), classes })
    }
}

impl<'a> Goal<'a> {
    /// # Errors
    /// If the method judges scores, and the model has none.
    pub fn new(graph: &Graph, sites: &[Site], inputs: &[Input], method: &'a Method) -> Result<Self> {
        let mut goal = Goal { method, sites: Vec::new(), weights: Vec::new(), scores: None };
        if method.statistics.is_some() {
            goal.sites = sites.to_vec();
            goal.weights = vec![1.0; sites.len()];
            goal.weights.iter_mut().take(1).for_each(|weight| *weight = method.first_layer);
            if method.input_statistics {
                goal.add_inputs(graph, inputs);
            }
        }
        if !method.output_losses.is_empty() {
            let scores = Scores::find(graph).filter(|scores| !goal.sites.iter().any(|site| site.value == scores.value));
            goal.scores = Some(scores.ok_or_else(|| Error::Usage("losses on scores need a classifier: an output [N, classes]".into()))?);
        }
        Ok(goal)
    }

    /// What the losses of `method` say of `scores`, and nothing else.
    pub fn on_scores(method: &'a Method, scores: Scores) -> Self {
        Goal { method, sites: Vec::new(), weights: Vec::new(), scores: Some(scores) }
    }

    /// The inputs as layers of their own, where channels are where statistics expect them.
    fn add_inputs(&mut self, graph: &Graph, inputs: &[Input]) {
        for (value, input) in graph.inputs.iter().zip(inputs) {
            let Some(channels) = input.image_channels().filter(|channels| input.shape[1] == *channels) else { continue };
            let of = |channel: usize| {
                let (low, high) = input.range.of(channel);
                let natural = |part: f32| f64::from(part * (high - low));
                Gaussian { mean: f64::from(low) + natural(NATURAL.0), variance: natural(NATURAL.1).powi(2).max(1e-12) }
            };
            self.sites.push(Site { value: *value, stored: (0..channels).map(of).collect(), epsilon: 1e-8 });
            self.weights.push(1.0);
        }
    }

    /// Whether there is anything to reach.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty() && self.scores.is_none() && self.method.image_losses.is_empty()
    }

    /// Where gradients enter.
    pub fn seeds(&self) -> Vec<ValueId> {
        self.sites.iter().map(|site| site.value).chain(self.scores.map(|scores| scores.value)).collect()
    }

    pub fn classes(&self) -> Option<usize> {
        self.scores.map(|scores| scores.classes)
    }

    /// Loss of one image's scores; writes its derivatives.
    pub fn judge_scores(&self, scores: &[f32], label: usize, gradient: &mut [f32]) -> f64 {
        let mut total = 0.0;
        let mut of_one = vec![0.0; scores.len()];
        gradient.fill(0.0);
        for (loss, weight) in &self.method.output_losses {
            total += weight * loss.distance(scores, label, &mut of_one);
            gradient.iter_mut().zip(&of_one).for_each(|(sum, g)| *sum += *weight as f32 * g);
        }
        total
    }

    pub fn statistics(&self) -> Option<Statistics<'_>> {
        let loss = self.method.statistics.filter(|_| !self.sites.is_empty())?;
        Some(Statistics { loss, sites: &self.sites, weights: &self.weights })
    }
}

/// The part of a goal that concerns channel statistics.
pub struct Statistics<'a> {
    loss: &'static dyn StatisticsLoss,
    sites: &'a [Site],
    weights: &'a [f64],
}

impl Statistics<'_> {
    /// `share` of the weighted mean distance over the sites, and what it pulls at each.
    pub fn pulls<'s>(&self, sums: impl Iterator<Item = &'s ChannelSums>, share: f64) -> (f64, Vec<Pull>) {
        let all: f64 = self.weights.iter().sum();
        let (mut total, mut pulls) = (0.0, Vec::with_capacity(self.sites.len()));
        for ((site, sums), weight) in self.sites.iter().zip(sums).zip(self.weights) {
            let share = share * weight / all;
            let found: Vec<Gaussian> = found(site, sums).collect();
            let distance = self.loss.distance(&found, &site.stored);
            total += share * distance.value;
            let scale = share / sums.count;
            let a =
                |(slope, found): (&super::loss::Slope, &Gaussian)| (scale * (slope.by_mean - 2.0 * found.mean * slope.by_variance)) as f32;
            pulls.push(Pull {
                a: distance.slopes.iter().zip(&found).map(a).collect(),
                b: distance.slopes.iter().map(|slope| (scale * 2.0 * slope.by_variance) as f32).collect(),
            });
        }
        (total, pulls)
    }
}

/// What `sums` say of each channel of a site; variances hold the layer's epsilon.
pub fn found<'a>(site: &'a Site, sums: &'a ChannelSums) -> impl Iterator<Item = Gaussian> + 'a {
    sums.moments().map(|(mean, variance)| Gaussian { mean, variance: variance + site.epsilon })
}

/// Gradient a + b·x per channel, which a loss on statistics gives every element x of a site.
pub struct Pull {
    a: Vec<f32>,
    b: Vec<f32>,
}

#[cfg(feature = "candle")]
impl Pull {
    /// a, per channel.
    pub fn constant(&self) -> &[f32] {
        &self.a
    }

    /// b, per channel.
    pub fn by_value(&self) -> &[f32] {
        &self.b
    }
}

impl Pull {
    /// Adds the gradient of `values`, channels contiguous, to `target`.
    pub fn add(&self, values: &[f32], target: &mut [f32], isa: Isa) {
        isa.run(
            #[inline(always)]
            || add_pull(values, &self.a, &self.b, target),
        );
    }
}

#[inline(always)]
fn add_pull(values: &[f32], a: &[f32], b: &[f32], target: &mut [f32]) {
    for (row, target) in values.chunks_exact(a.len()).zip(target.chunks_exact_mut(a.len())) {
        for (((x, t), a), b) in row.iter().zip(target).zip(a).zip(b) {
            *t += a + b * x;
        }
    }
}
