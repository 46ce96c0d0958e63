//! Mean and variance of every channel of every value, computed from those of the inputs without a single sample.
//!
//! Every channel is taken as normal, with a correlation between neighbours that falls by the same factor with every pixel;
//! channels of one picture go together, channels that a layer has made are taken as independent.
//!
//! Paper: Nagel et al. 2019, arXiv:1906.04721, section 4.2 and appendix C (moments of a clipped normal). There they start at
//! each BatchNormalization; here they go on from layer to layer, through weights and biases.

use std::collections::HashMap;

use super::correlation::{correlations, evenness, of_greatest, places, quadratic, ratio};
use super::goal::NATURAL;
use super::input::Input;
use super::loss::Gaussian;
use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::execution::{self, evaluate};
use crate::graph::{Dim, Graph, Node, ValueId, known_shape};
use crate::ops::{
    Add, AveragePool, BatchNormalization, Concat, Conv, Flatten, Gemm, GlobalAveragePool, Identity, MaxPool, Reshape, Sub, Sum,
};
use crate::tensor::DataType;

/// One channel: its mean and variance over all pixels of all samples, and the correlation of neighbouring pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channel {
    pub gaussian: Gaussian,
    pub neighbours: f64,
}

/// All channels of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    pub channels: Vec<Channel>,
    /// Correlation of two channels at the same pixel.
    pub across: f64,
}

/// Correlation of neighbouring pixels of natural pictures, and of their colours.
const NEIGHBOURS: f64 = 0.95;
const COLOURS: f64 = 0.9;
/// Places at which a function of a normal number is taken, and how far out they reach, in deviations.
const POINTS: usize = 65;
const REACH: f64 = 5.0;

impl Moments {
    /// What pictures in the range of `input` have; `None` where it is no picture with channels in dimension 1.
    pub fn natural(input: &Input) -> Option<Moments> {
        let count = input.image_channels().filter(|channels| input.shape[1] == *channels)?;
        let channel = |channel: usize| {
            let (low, high) = input.range.of(channel);
            let part = |part: f32| f64::from(part * (high - low));
            let gaussian = Gaussian { mean: f64::from(low) + part(NATURAL.0), variance: part(NATURAL.1).powi(2) };
            Channel { gaussian, neighbours: NEIGHBOURS }
        };
        Some(Moments { channels: (0..count).map(channel).collect(), across: COLOURS })
    }
}

/// Moments of all values of `graph`, which takes one sample, as far as they can be told from those of `inputs`: what lies
/// behind an operator without a rule is left out.
pub fn moments(graph: &Graph, inputs: &HashMap<ValueId, Moments>) -> HashMap<ValueId, Moments> {
    let mut known = inputs.clone();
    for (_, node) in graph.nodes() {
        if let (Some(output), Some(found)) = (node.output(0), Step { graph, node, known: &known }.moments()) {
            known.insert(output, found);
        }
    }
    known
}

/// One node on the way.
struct Step<'a> {
    graph: &'a Graph,
    node: &'a Node,
    known: &'a HashMap<ValueId, Moments>,
}

impl Step<'_> {
    fn moments(&self) -> Option<Moments> {
        let node = self.node;
        let varying: Vec<&Moments> = node.inputs.iter().flatten().filter_map(|value| self.known.get(value)).collect();
        let constants = node.inputs.iter().flatten().filter(|value| self.graph.constant(**value).is_some()).count();
        if varying.len() + constants != node.inputs.iter().flatten().count() {
            return None;
        }
        match varying[..] {
            [x] if node.is::<Conv>().is_some() => self.conv(x),
            [x] if node.is::<Gemm>().is_some() => self.gemm(x),
            [x] if node.is::<GlobalAveragePool>().is_some() => Some(averaged(x, &self.shape(0)?[2..])),
            [x] if node.is::<AveragePool>().is_some() => Some(averaged(x, &node.is::<AveragePool>()?.window.kernel)),
            [x] if node.is::<MaxPool>().is_some() => self.max_pool(x),
            [x] if [node.is::<Flatten>().is_some(), node.is::<Reshape>().is_some(), node.is::<Identity>().is_some()].contains(&true) => {
                self.reshaped(x)
            }
            [x] if is_of_single_elements(node) => self.mapped(x),
            _ if node.is::<Add>().is_some() || node.is::<Sum>().is_some() || node.is::<Sub>().is_some() => self.added(&varying, constants),
            _ if node.is::<Concat>().is_some_and(|concat| concat.axis == 1) && constants == 0 => {
                let across = varying.iter().map(|x| x.across).sum::<f64>() / varying.len().max(1) as f64;
                Some(Moments { channels: varying.iter().flat_map(|x| x.channels.iter().copied()).collect(), across })
            }
            _ => None,
        }
    }

    /// Sizes of input `index`.
    fn shape(&self, index: usize) -> Option<Vec<usize>> {
        self.graph.value(self.node.input(index)?).shape.as_deref().and_then(known_shape)
    }

    fn weights(&self) -> Option<(Vec<f32>, Vec<usize>, Vec<f32>)> {
        let weights = self.graph.constant(self.node.input(1)?)?;
        let bias = self.node.input(2).map_or(Some(Vec::new()), |bias| self.graph.constant(bias)?.to_f32())?;
        Some((weights.to_f32()?, weights.shape().to_vec(), bias))
    }

    /// Variance uᵀRu of one output with u = w·σ and R the correlation of the pixels under the kernel; the correlation of two
    /// neighbouring outputs comes from R between the two kernels. Padding is taken as more of the same.
    fn conv(&self, x: &Moments) -> Option<Moments> {
        let conv = self.node.is::<Conv>()?;
        let (weights, shape, bias) = self.weights()?;
        let sliding = conv.sliding(&shape[2..]).ok()?;
        let (taps, per_group): (usize, usize) = (shape[2..].iter().product(), shape[1]);
        let per_output_group = shape[0] / conv.group;
        let places = places(&shape[2..], &sliding.dilations);
        let stride = *sliding.strides.last()?;
        let tables: Vec<[Vec<f64>; 2]> =
            x.channels.iter().map(|c| [0, stride].map(|shift| correlations(&places, c.neighbours, shift))).collect();
        let output = |o: usize| {
            let first = o / per_output_group * per_group;
            let (mut mean, mut variances, mut together) = (bias.get(o).map_or(0.0, |b| f64::from(*b)), [0.0; 2], vec![0.0; taps]);
            let mut middle = 0.0;
            for c in 0..per_group {
                let channel = x.channels.get(first + c)?;
                let own = &weights[(o * per_group + c) * taps..][..taps];
                mean += own.iter().map(|w| f64::from(*w)).sum::<f64>() * channel.gaussian.mean;
                let deviation = channel.gaussian.variance.sqrt();
                let u: Vec<f64> = own.iter().map(|w| f64::from(*w) * deviation).collect();
                for (variance, table) in variances.iter_mut().zip(&tables[first + c]) {
                    *variance += (1.0 - x.across) * quadratic(&u, table);
                }
                together.iter_mut().zip(&u).for_each(|(sum, u)| *sum += u);
                middle += channel.neighbours / per_group as f64;
            }
            if x.across > 0.0 {
                for (variance, shift) in variances.iter_mut().zip([0, stride]) {
                    *variance += x.across * quadratic(&together, &correlations(&places, middle, shift));
                }
            }
            let [variance, neighbouring] = variances.map(|variance| variance.max(0.0));
            Some(Channel { gaussian: Gaussian { mean, variance }, neighbours: ratio(neighbouring, variance) })
        };
        Some(Moments { channels: (0..shape[0]).map(output).collect::<Option<_>>()?, across: 0.0 })
    }

    /// The greatest of what a rising function makes is what it makes of the greatest, and what it reads is nearer to normal.
    fn max_pool(&self, x: &Moments) -> Option<Moments> {
        let window = &self.node.is::<MaxPool>()?.window.kernel;
        let before = self.graph.producer(self.node.input(0)?).map(|(_, node)| Step { node, ..*self });
        if let Some(before) = before.filter(|before| RISING.contains(&before.node.operator.name()))
            && let Some(x) = before.node.input(0).and_then(|value| self.known.get(&value))
        {
            return before.mapped(&greatest(x, window));
        }
        Some(greatest(x, window))
    }

    fn gemm(&self, x: &Moments) -> Option<Moments> {
        let gemm = self.node.is::<Gemm>()?;
        let (weights, shape, bias) = self.weights()?;
        let (depth, outputs) = if gemm.transpose_b { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
        if gemm.transpose_a || depth != x.channels.len() || self.known.get(&self.node.input(0)?) != Some(x) {
            return None;
        }
        let output = |o: usize| {
            let b = if bias.len() == 1 { bias.first() } else { bias.get(o) };
            let (mut mean, mut variance) = (f64::from(gemm.beta) * b.map_or(0.0, |b| f64::from(*b)), 0.0);
            for (i, channel) in x.channels.iter().enumerate() {
                let w = f64::from(gemm.alpha * weights[if gemm.transpose_b { o * depth + i } else { i * outputs + o }]);
                mean += w * channel.gaussian.mean;
                variance += w * w * channel.gaussian.variance;
            }
            Channel { gaussian: Gaussian { mean, variance }, neighbours: 0.0 }
        };
        Some(Moments { channels: (0..outputs).map(output).collect(), across: 0.0 })
    }

    /// Sums of independent values; a constant makes no difference to variances, and goes through [`Step::mapped`].
    fn added(&self, varying: &[&Moments], constants: usize) -> Option<Moments> {
        let ([a, b], 0) = (varying, constants) else { return None };
        let sign = if self.node.is::<Sub>().is_some() { -1.0 } else { 1.0 };
        let channel = |(a, b): (&Channel, &Channel)| {
            let variance = a.gaussian.variance + b.gaussian.variance;
            let neighbouring = a.neighbours * a.gaussian.variance + b.neighbours * b.gaussian.variance;
            let gaussian = Gaussian { mean: a.gaussian.mean + sign * b.gaussian.mean, variance };
            Channel { gaussian, neighbours: ratio(neighbouring, variance) }
        };
        let same = a.channels.len() == b.channels.len();
        same.then(|| Moments { channels: a.channels.iter().zip(&b.channels).map(channel).collect(), across: (a.across + b.across) / 2.0 })
    }

    /// The same elements in another shape: channels stay, or every pixel of a channel becomes one.
    fn reshaped(&self, x: &Moments) -> Option<Moments> {
        let output = self.graph.value(self.node.output(0)?).shape.as_deref().and_then(known_shape)?;
        let (count, channels) = (*output.get(1)?, x.channels.len());
        let pixels: usize = self.shape(0)?.get(2..)?.iter().product();
        let each = if count == channels {
            1
        } else if count == channels * pixels {
            pixels
        } else {
            return None;
        };
        let repeat = |channel: &Channel| std::iter::repeat_n(*channel, each);
        Some(Moments { channels: x.channels.iter().flat_map(repeat).collect(), across: x.across })
    }

    /// E f(x) and Var f(x) of a function of single elements, by running the node on normal numbers of all sizes.
    fn mapped(&self, x: &Moments) -> Option<Moments> {
        let rank = self.shape(0)?.len();
        let (mut graph, count) = (Graph::default(), x.channels.len());
        graph.opset = self.graph.opset;
        let shape: Vec<usize> = (0..rank).map(|dim| if dim == 1 { count } else { 1 }).collect();
        let varying = graph.add_value("x", Some(DataType::F32), Some(shape.iter().map(|n| Dim::Known(*n)).collect()));
        graph.inputs = vec![varying];
        let mut of = |(index, value): (usize, &Option<ValueId>)| {
            let value = (*value)?;
            Some(self.graph.constant(value).map_or(varying, |constant| graph.add_constant(format!("constant{index}"), constant.clone())))
        };
        let inputs: Vec<Option<ValueId>> = self.node.inputs.iter().enumerate().map(&mut of).collect();
        let y = graph.add_value("y", Some(DataType::F32), None);
        graph.add_node("mapped", self.node.operator.clone(), inputs, vec![Some(y)]);
        graph.outputs = vec![y];
        let z = |point: usize| REACH * (2.0 * point as f64 / (POINTS - 1) as f64 - 1.0);
        let at = |point: usize| x.channels.iter().map(move |c| (c.gaussian.mean + z(point) * c.gaussian.variance.sqrt()) as f32);
        let samples = Samples::new("x", shape, (0..POINTS).flat_map(at).collect()).ok()?;
        let set = CalibrationSet { inputs: vec![samples], provenance: Provenance::default() };
        let found = evaluate(&graph, &[y], &set, &execution::Config::default()).ok()?;
        let found = found.first().filter(|found| found.len() == POINTS * count)?.as_slice()?;
        let density: Vec<f64> = (0..POINTS).map(|point| (-0.5 * z(point).powi(2)).exp()).collect();
        let whole: f64 = density.iter().sum();
        let channel = |c: usize| {
            let over = |f: &dyn Fn(f64) -> f64| (0..POINTS).map(|p| density[p] / whole * f(f64::from(found[p * count + c]))).sum::<f64>();
            let mean = over(&|y| y);
            Channel { gaussian: Gaussian { mean, variance: over(&|y| (y - mean).powi(2)) }, neighbours: x.channels[c].neighbours }
        };
        Some(Moments { channels: (0..count).map(channel).collect(), across: x.across })
    }
}

const RISING: [&str; 8] = ["Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "Tanh", "Elu", "Softplus"];

/// Whether every element of the output is a function of the one at its place in the one input that varies.
fn is_of_single_elements(node: &Node) -> bool {
    const FUNCTIONS: [&str; 21] = [
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Clip",
        "HardSwish",
        "HardSigmoid",
        "Sigmoid",
        "Tanh",
        "Elu",
        "Softplus",
        "Abs",
        "Exp",
        "Log",
        "Sqrt",
        "Neg",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Min",
        "Max",
    ];
    FUNCTIONS.contains(&node.operator.name()) || node.is::<BatchNormalization>().is_some()
}

fn averaged(x: &Moments, window: &[usize]) -> Moments {
    let channel = |channel: &Channel| {
        let Gaussian { mean, variance } = channel.gaussian;
        Channel { gaussian: Gaussian { mean, variance: variance * evenness(channel.neighbours, window) }, ..*channel }
    };
    Moments { channels: x.channels.iter().map(channel).collect(), across: x.across }
}

/// Moments of the greatest in a window: as of so many independent normal numbers as have the same evenness.
fn greatest(x: &Moments, window: &[usize]) -> Moments {
    let channel = |channel: &Channel| {
        let Gaussian { mean, variance } = channel.gaussian;
        let (shift, part) = of_greatest(1.0 / evenness(channel.neighbours, window));
        Channel { gaussian: Gaussian { mean: mean + shift * variance.sqrt(), variance: variance * part }, ..*channel }
    };
    Moments { channels: x.channels.iter().map(channel).collect(), across: x.across }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::observe;
    use crate::execution::tape::ChannelSums;
    use crate::graph::sketch::{Sketch, noise};
    use crate::kernels::Isa;
    use crate::ops::Attributes;
    use crate::passes::single_sample;

    fn standard(count: usize) -> Moments {
        let gaussian = Gaussian { mean: 0.0, variance: 1.0 };
        Moments { channels: vec![Channel { gaussian, neighbours: 0.0 }; count], across: 0.0 }
    }

    #[test]
    fn moments_are_those_that_samples_have() {
        let pool = Attributes::default().sizes("kernel_shape", &[2, 2]).sizes("strides", &[2, 2]);
        let sketch = Sketch::new(&[0, 3, 32, 32]).conv("c1", "x", (3, 16), 3, 1).norm("n1", "c1", 16).plain("r1", "Relu", "n1");
        let sketch = sketch.node("m", "MaxPool", "r1", pool.clone()).conv("c2", "m", (16, 16), 3, 1).node(
            "l",
            "LeakyRelu",
            "c2",
            Attributes::default(),
        );
        let sketch = sketch.conv("c3", "l", (16, 16), 1, 1).plain("s", "Add", "c3 m").node("a", "AveragePool", "s", pool);
        let graph = single_sample(&sketch.conv("c4", "a", (16, 8), 3, 1).plain("g", "Sigmoid", "c1").outputs("c4 g")).unwrap();
        let found = moments(&graph, &HashMap::from([(graph.inputs[0], standard(3))]));
        for (name, tolerance) in
            [("c1", 0.1), ("r1", 0.1), ("m", 0.25), ("c2", 0.35), ("l", 0.35), ("c3", 0.35), ("a", 0.35), ("c4", 0.4), ("g", 0.1)]
        {
            let value = graph.find_value(name).unwrap();
            let (mut sums, count) = (ChannelSums::new(found[&value].channels.len()), found[&value].channels.len());
            let mut add = |_: usize, values: &[&[f32]]| sums.add_sample(values[0], &mut vec![0.0; 2 * count], Isa::detect());
            observe(&graph, &[value], &noise(&graph, 64), &execution::Config::default(), &mut add).unwrap();
            let (mut off, mut wide) = (0.0, 0.0);
            for ((mean, variance), channel) in sums.moments().zip(&found[&value].channels) {
                let deviation = variance.sqrt();
                off += (mean - channel.gaussian.mean).abs() / deviation / count as f64;
                wide += (channel.gaussian.variance.sqrt() / deviation).ln().abs() / count as f64;
            }
            assert!(off < tolerance && wide < tolerance, "{name}: means are off by {off:.3} deviations, deviations by {wide:.3}");
        }
    }

    #[test]
    fn correlated_pixels_do_not_average_out() {
        let alike = Channel { gaussian: Gaussian { mean: 1.0, variance: 4.0 }, neighbours: 0.999_999 };
        let x = Moments { channels: vec![alike], across: 0.0 };
        assert!((averaged(&x, &[3, 3]).channels[0].gaussian.variance - 4.0).abs() < 1e-3);
        assert!((averaged(&standard(1), &[3, 3]).channels[0].gaussian.variance - 1.0 / 9.0).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_rule_is_left_out() {
        let axes = Attributes::default().ints("perm", &[0, 2, 3, 1]);
        let graph =
            Sketch::new(&[1, 3, 8, 8]).plain("r", "Relu", "x").node("t", "Transpose", "r", axes).plain("y", "Relu", "t").outputs("y");
        let found = moments(&graph, &HashMap::from([(graph.inputs[0], standard(3))]));
        let known = |name: &str| found.contains_key(&graph.find_value(name).unwrap());
        assert!(known("r") && !known("t") && !known("y"));
        let relu = found[&graph.find_value("r").unwrap()].channels[0].gaussian;
        assert!((relu.mean - 0.39894).abs() < 2e-3 && (relu.variance - 0.34085).abs() < 2e-3, "{relu:?}");
    }
}
