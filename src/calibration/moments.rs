//! What BatchNormalization tells of values without any sample.

use std::collections::HashMap;

use super::histogram::Histogram;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::kernels::elementwise::Elementwise;
use crate::ops::{
    Add, AveragePool, BatchNormalization, Clip, Concat, Elu, Flatten, GlobalAveragePool, HardSigmoid, HardSwish, LeakyRelu, PRelu, Relu,
    Reshape, Sigmoid, Softplus, Tanh,
};
use crate::quantization::clip_bounds;
use crate::tensor::TensorData;

/// A normal distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Normal {
    pub mean: f64,
    pub deviation: f64,
}

/// Distributions of the channels of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments(HashMap<ValueId, Vec<Normal>>);

/// Places that a function of a normal number is averaged over, and how many deviations they reach.
const PLACES: usize = 481;
const REACH: f64 = 6.0;

/// How often the mean counts in a histogram.
const MOST_COUNTED: f64 = 1e6;

fn places() -> impl Iterator<Item = f64> {
    (0..PLACES).map(|place| REACH * (2.0 * place as f64 / (PLACES - 1) as f64 - 1.0))
}

impl Normal {
    /// Mean and deviation of f(x).
    pub fn through(self, function: &dyn Fn(f64) -> f64) -> Normal {
        let (mut weights, mut mean, mut square) = (0.0, 0.0, 0.0);
        for z in places() {
            let (weight, y) = ((-0.5 * z * z).exp(), function(self.mean + self.deviation * z));
            (weights, mean, square) = (weights + weight, mean + weight * y, square + weight * y * y);
        }
        let mean = mean / weights;
        Normal { mean, deviation: (square / weights - mean * mean).max(0.0).sqrt() }
    }
}

impl Moments {
    /// The outputs of all BatchNormalizations of `graph`: the shift is their mean, the magnitude of the factor their
    /// deviation. Folding keeps these values.
    pub fn of_batch_norms(graph: &Graph) -> Moments {
        let moments = |(_, node): (NodeId, &Node)| {
            node.is::<BatchNormalization>()?;
            let list = |index: usize| graph.constant(node.input(index)?)?.to_f32();
            let channels = list(1)?.into_iter().zip(list(2)?);
            let normal = |(factor, shift): (f32, f32)| Normal { mean: f64::from(shift), deviation: f64::from(factor.abs()) };
            Some((node.output(0)?, channels.map(normal).collect()))
        };
        Moments(graph.nodes().filter_map(moments).collect())
    }

    pub fn of(&self, value: ValueId) -> Option<&[Normal]> {
        self.0.get(&value).map(Vec::as_slice)
    }

    pub fn set(&mut self, value: ValueId, channels: Vec<Normal>) {
        self.0.insert(value, channels);
    }

    /// Channels of `value` were multiplied by `factors` > 0.
    pub fn scale(&mut self, value: ValueId, factors: &[f32]) {
        for (normal, factor) in self.0.get_mut(&value).into_iter().flatten().zip(factors) {
            normal.mean *= f64::from(*factor);
            normal.deviation *= f64::from(*factor);
        }
    }

    /// Every channel of `value` became `copies`, one beside the other.
    pub fn repeat(&mut self, value: ValueId, copies: usize) {
        if let Some(channels) = self.0.get_mut(&value) {
            *channels = channels.iter().flat_map(|normal| std::iter::repeat_n(*normal, copies)).collect();
        }
    }

    /// `amounts` were subtracted from the channels of `value`.
    pub fn lower(&mut self, value: ValueId, amounts: &[f64]) {
        for (normal, amount) in self.0.get_mut(&value).into_iter().flatten().zip(amounts) {
            normal.mean -= amount;
        }
    }

    /// These and what follows from them for other values of `graph`: behind functions of single elements, as of DFQ's
    /// clipped normal numbers; behind additions, as of independent normal numbers; behind concatenations and means. What
    /// follows from none stays unknown.
    ///
    /// Paper: Nagel et al. 2019 (DFQ), arXiv:1906.04721, section 4.2 and appendix C; sums and other functions are ours.
    pub fn spread(mut self, graph: &Graph) -> Moments {
        for (value, channels) in &mut self.0 {
            // Channels that were added have weights of zero.
            channels.resize(channel_count(graph, *value).unwrap_or(channels.len()), Normal::default());
        }
        for (_, node) in graph.nodes() {
            let Some(output) = node.output(0).filter(|output| !self.0.contains_key(output)) else { continue };
            let found = self.behind(graph, node);
            if let Some(channels) = found.filter(|channels| channel_count(graph, output) == Some(channels.len())) {
                self.0.insert(output, channels);
            }
        }
        self
    }

    /// How often each number of `value` is expected, up to six deviations away; `None` where that is not known. Behind a
    /// function of single elements that is exact for normal numbers in front of it. To be asked of what [`Moments::spread`]
    /// returns.
    pub fn histogram(&self, graph: &Graph, value: ValueId) -> Option<Histogram> {
        let node = graph.producer(value).map(|(_, node)| node);
        let before = node.filter(|node| function(graph, node, 0).is_some()).and_then(|node| self.of(node.input(0)?));
        let channels = before.or_else(|| self.of(value))?;
        if channels.iter().all(|normal| normal.deviation == 0.0) {
            return None;
        }
        let mut histogram = Histogram::default();
        for (channel, normal) in channels.iter().enumerate() {
            let through = match before {
                Some(_) => Some(function(graph, node?, channel)?),
                None => None,
            };
            for z in places() {
                let x = normal.mean + normal.deviation * z;
                let count = (MOST_COUNTED * (-0.5 * z * z).exp()).round().max(1.0);
                histogram.add_often(through.as_ref().map_or(x, |function| function(x)) as f32, count as u64);
            }
        }
        Some(histogram)
    }

    fn behind(&self, graph: &Graph, node: &Node) -> Option<Vec<Normal>> {
        let x = self.of(node.input(0)?)?;
        if node.is::<Add>().is_some() {
            let sum = |(a, b): (&Normal, &Normal)| Normal { mean: a.mean + b.mean, deviation: a.deviation.hypot(b.deviation) };
            let y = self.of(node.input(1)?)?;
            return (x.len() == y.len()).then(|| x.iter().zip(y).map(sum).collect());
        }
        if let Some(concat) = node.is::<Concat>() {
            let parts: Option<Vec<&[Normal]>> = node.inputs.iter().map(|input| self.of((*input)?)).collect();
            let rank = graph.value(node.output(0)?).shape.as_ref()?.len() as i64;
            return parts.filter(|_| concat.axis.rem_euclid(rank) == 1).map(|parts| parts.concat());
        }
        if node.is::<GlobalAveragePool>().is_some() {
            return Some(x.iter().map(|normal| Normal { deviation: 0.0, ..*normal }).collect());
        }
        // Of a Reshape, `spread` takes what keeps the number of channels.
        let moved = node.is::<Reshape>().is_some() || node.is::<Flatten>().is_some();
        if moved || node.is::<AveragePool>().is_some_and(|pool| !pool.count_include_pad || !pool.window.is_padded()) {
            return Some(x.to_vec());
        }
        let through = |(channel, normal): (usize, &Normal)| Some(normal.through(function(graph, node, channel)?.as_ref()));
        x.iter().enumerate().map(through).collect()
    }
}

/// Channels of `[N, C, ...]`.
pub(super) fn channel_count(graph: &Graph, value: ValueId) -> Option<usize> {
    graph.value(value).shape.as_ref()?.get(1)?.known()
}

/// What `node` does to each element of channel `channel`.
pub(super) fn function(graph: &Graph, node: &Node, channel: usize) -> Option<Box<dyn Fn(f64) -> f64>> {
    fn of<F: Elementwise<1> + Clone>(function: Option<&F>) -> Option<Box<dyn Fn(f64) -> f64>> {
        let function = function?.clone();
        Some(Box::new(move |x| f64::from(function.value([x as f32]))))
    }
    if node.is::<Clip>().is_some() {
        let (low, high) = clip_bounds(graph, node)?;
        return Some(Box::new(move |x| x.max(f64::from(low)).min(f64::from(high))));
    }
    if node.is::<PRelu>().is_some() {
        let slopes = graph.constant(node.input(1)?).and_then(TensorData::to_f32)?;
        let slope = if slopes.len() == 1 { slopes[0] } else { *slopes.get(channel)? };
        return Some(Box::new(move |x| if x >= 0.0 { x } else { f64::from(slope) * x }));
    }
    let rectifiers = of(node.is::<Relu>()).or_else(|| of(node.is::<LeakyRelu>())).or_else(|| of(node.is::<Elu>()));
    let gates = || of(node.is::<Sigmoid>()).or_else(|| of(node.is::<HardSigmoid>())).or_else(|| of(node.is::<Tanh>()));
    rectifiers.or_else(gates).or_else(|| of(node.is::<HardSwish>())).or_else(|| of(node.is::<Softplus>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, noise};
    use crate::ops::Attributes;

    /// Φ by its series.
    fn below(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x * (2 * n - 1) as f64 / (2 * n * (2 * n + 1)) as f64;
            sum += term;
        }
        0.5 + sum / std::f64::consts::TAU.sqrt()
    }

    #[test]
    fn a_clipped_normal_number_has_the_mean_of_the_paper() {
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        for (mean, deviation) in [(0.0, 1.0), (1.0, 0.5), (-2.0, 1.0), (3.0, 2.0), (0.3, 1e-3)] {
            let normal = Normal { mean, deviation };
            let (from, to) = ((0.0 - mean) / deviation, (6.0 - mean) / deviation);
            if from > -4.0 {
                let wanted = deviation * density(from) + mean * (1.0 - below(from));
                assert!((normal.through(&|x| x.max(0.0)).mean - wanted).abs() < 1e-4 * deviation, "{mean} {deviation}");
            }
            if from.abs() < 4.0 && to.abs() < 4.0 {
                let inside = deviation * (density(from) - density(to)) + mean * (below(to) - below(from));
                let wanted = inside + 6.0 * (1.0 - below(to));
                assert!((normal.through(&|x| x.clamp(0.0, 6.0)).mean - wanted).abs() < 1e-4 * deviation, "{mean} {deviation}");
            }
        }
        let same = Normal { mean: -0.7, deviation: 0.4 }.through(&|x| x);
        assert!((same.mean + 0.7).abs() < 1e-9 && (same.deviation - 0.4).abs() < 1e-6);
    }

    #[test]
    fn what_is_said_of_activations_is_what_samples_show() {
        let sketch = Sketch::new(&[0, 3, 16, 16]).norm("n", "x", 3).plain("r", "Relu", "n").norm("m", "x", 3);
        let sketch = sketch.plain("s", "HardSwish", "m").node("l", "LeakyRelu", "m", Attributes::default());
        let sketch = sketch.node("c", "Concat", "r s", Attributes::default().int("axis", 1)).plain("g", "GlobalAveragePool", "c");
        let mut graph = sketch.plain("f", "Flatten", "g").outputs("f l");
        // The norms get the statistics of the noise that they will see.
        for name in ["n_mean", "m_mean", "n_var", "m_var"] {
            let number = if name.ends_with("var") { 1.0f32 } else { 0.0 };
            graph.set_constant(graph.find_value(name).unwrap(), TensorData::vector(vec![number; 3]));
        }
        let moments = Moments::of_batch_norms(&graph).spread(&graph);
        let values = ["f", "l"].map(|name| graph.find_value(name).unwrap());
        let mut means = [vec![0.0f64; 6], vec![0.0f64; 3]];
        let set = noise(&graph, 32);
        crate::execution::observe(&graph, &values, &set, &Default::default(), &mut |_, elements| {
            for (means, elements) in means.iter_mut().zip(elements) {
                let part = means.len() as f64 / (elements.len() * 32) as f64;
                for row in elements.chunks(means.len()) {
                    means.iter_mut().zip(row).for_each(|(mean, x)| *mean += part * f64::from(*x));
                }
            }
        })
        .unwrap();
        for (value, means) in values.iter().zip(&means) {
            for (normal, mean) in moments.of(*value).unwrap().iter().zip(means) {
                assert!((normal.mean - mean).abs() < 0.05, "{} against {mean}", normal.mean);
            }
        }
        assert!(moments.of(graph.inputs[0]).is_none());
    }

    #[test]
    fn expected_counts_are_those_of_samples() {
        let sketch = Sketch::new(&[0, 3, 16, 16]).norm("n", "x", 3).node("l", "LeakyRelu", "n", Attributes::default());
        let mut graph = sketch.plain("g", "GlobalAveragePool", "l").outputs("g");
        for (name, number) in [("n_mean", 0.0f32), ("n_var", 1.0)] {
            graph.set_constant(graph.find_value(name).unwrap(), TensorData::vector(vec![number; 3]));
        }
        let (moments, set) = (Moments::of_batch_norms(&graph).spread(&graph), noise(&graph, 64));
        let [before, after, mean] = ["n", "l", "g"].map(|name| graph.find_value(name).unwrap());
        let seen = crate::calibration::histograms(&graph, &[before, after], &set, &Default::default(), &crate::progress::Silent).unwrap();
        for (value, seen) in [before, after].into_iter().zip(&seen) {
            let expected = moments.histogram(&graph, value).unwrap();
            for observer in ["mse", "percentile"].map(|name| crate::calibration::observers::find(name).unwrap()) {
                let (a, b) = (observer.range(&expected, 15.0, 1.0), observer.range(seen, 15.0, 1.0));
                assert!((a.0 - b.0).abs() < 0.1 * b.1 && (a.1 / b.1 - 1.0).abs() < 0.1, "{}: {a:?} {b:?}", observer.name());
            }
            assert!(expected.range().1 > seen.range().1, "six deviations are within: {:?}", expected.range());
        }
        assert!(moments.histogram(&graph, mean).is_none() && moments.histogram(&graph, graph.inputs[0]).is_none());
    }
}
