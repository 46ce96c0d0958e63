//! How much the outputs mind each layer's width, measured one layer at a time.
//!
//! A layer is its weights and what it reads. Weights of 8 bits read 8-bit values. Others are only stored so, for a product in
//! float, where the runtime would compute in float anyway: quantizing what it reads would cost time and accuracy, and makes no
//! file smaller. Where all is to run on integers, weights of 4 bits read 8-bit values too; those of 16 never do, since ONNX
//! Runtime's int32 biases do not hold the product of two 16-bit scales. Noise is that of the outputs (logits where there is a
//! Softmax) instead of the divergence that the paper takes, so that networks without classes are served alike.
//!
//! Paper: Cai et al. 2020 (ZeroQ), arXiv:2001.00281, section 3.2.

use std::collections::{BTreeMap, HashMap};

use super::trial::ranges_of;
use super::{Config, Prepared};
use crate::error::Result;
use crate::evaluation::{FrontierPoint, LayerProfile, Profile, Reference, WidthProfile};
use crate::graph::Graph;
use crate::passes::{macs, single_sample};
use crate::progress::Progress;
use crate::quantization::{
    Assignment, Choice, Layer, LayerWidths, Objective, Optimum, Placement, QuantPlan, Target, Width, Widths, faster_in_float, frontier,
};

/// What a layer may become, from the smallest to the most exact; `None` is float.
pub(super) const WIDTHS: [Option<Width>; 4] = [Some(Width::Four), Some(Width::Eight), Some(Width::Sixteen), None];
/// Samples that noise is measured on, in multiplications of the whole network.
const WORK: f64 = 4e11;

pub(super) struct Survey {
    pub layers: Vec<Layer>,
    /// For each layer, those of [`WIDTHS`].
    pub choices: Vec<Vec<Choice>>,
    pub optima: Vec<Optimum>,
    /// The network for one sample.
    sample: Graph,
    samples: usize,
}

impl Survey {
    /// # Errors
    /// If nothing can be quantized, or a planned value cannot be computed.
    pub fn new(prepared: &Prepared, config: &Config, progress: &dyn Progress) -> Result<Self> {
        let sample = single_sample(&prepared.teacher)?;
        let teacher = &prepared.teacher;
        let plans: Vec<QuantPlan> = WIDTHS.iter().flatten().map(|width| uniform(teacher, *width, config)).collect::<Result<_>>()?;
        let ranges = ranges_of(prepared, &plans[0], config, progress)?;
        let layers = plans[0].layers(teacher);
        let runs = (layers.len() * plans.len()).max(1) as f64;
        let samples = ((WORK / (macs(&sample).max(1) as f64 * runs)) as usize).clamp(8, 64).min(prepared.set.len());
        let set = prepared.set.slice(0..samples);
        let reference = Reference::new(teacher, &set, config.execution)?;
        let mut choices = vec![Vec::new(); layers.len()];
        progress.begin("measure layers", layers.len());
        for (layer, choices) in layers.iter().zip(&mut choices) {
            for (plan, width) in plans.iter().zip(WIDTHS.into_iter().flatten()) {
                let alone = if runs_in_float(Some(width), config) { plan.only_weights(layer) } else { plan.only_layer(teacher, layer) };
                let noise = reference.noise(&alone, &ranges)?;
                choices.push(Choice { bits: layer.elements * width.bits(), noise });
                progress.check()?;
            }
            choices.push(Choice { bits: layer.elements * FLOAT_BITS, noise: 0.0 });
            progress.step("");
        }
        progress.end();
        let optima = frontier(&choices.iter().map(|choices| takeable(choices, &config.target)).collect::<Vec<_>>());
        Ok(Survey { layers, choices, optima, sample, samples })
    }

    /// Number of weights of all layers.
    pub fn elements(&self) -> u64 {
        self.layers.iter().map(|layer| layer.elements).sum()
    }

    /// The widths of `optimum` in `graph`, the network that was surveyed; what remains for integers runs on them as far as the
    /// objective wants.
    ///
    /// # Errors
    /// Those of [`faster_in_float`].
    pub fn assignment(&self, graph: &Graph, optimum: &Optimum, config: &Config) -> Result<Assignment> {
        let (mut layers, mut float) = (BTreeMap::new(), HashMap::new());
        for (layer, choice) in self.layers.iter().zip(&optimum.choices) {
            let weights = WIDTHS[*choice];
            for product in &layer.products {
                layers.insert(*product, LayerWidths { weights, input: Width::Eight });
                if runs_in_float(weights, config) {
                    float.insert(*product, format!("{} was chosen for it", described(weights)));
                }
            }
        }
        let faster = faster_in_float(graph, &self.sample, &config.target, &config.exclude, &float, config.objective)?;
        Ok(Assignment { widths: config.widths, layers, float: float.into_iter().chain(faster).collect(), between: true })
    }

    pub fn profile(&self, graph: &Graph) -> Profile {
        let mut layers: Vec<LayerProfile> =
            self.layers.iter().zip(&self.choices).map(|(layer, choices)| describe(graph, layer, choices)).collect();
        layers.sort_by(|a, b| b.widths[0].noise.total_cmp(&a.widths[0].noise));
        let elements = self.elements().max(1) as f64;
        let point = |optimum: &Optimum| FrontierPoint {
            weight_bytes: optimum.bits.div_ceil(8),
            average_bits: optimum.bits as f64 / elements,
            sqnr_db: decibels(optimum.noise),
        };
        Profile { samples: self.samples, layers, frontier: thinned(&self.optima).map(point).collect() }
    }
}

const FLOAT_BITS: u64 = 32;
/// Points of a frontier that are told.
const TOLD: usize = 64;

/// About [`TOLD`] of them, densest where they are small, both ends among these.
fn thinned(optima: &[Optimum]) -> impl Iterator<Item = &Optimum> {
    let (first, last) = (optima.first().map_or(1, |optimum| optimum.bits) as f64, optima.last().map_or(1, |optimum| optimum.bits) as f64);
    let span = (last / first).ln().max(1e-9);
    let cell = move |optimum: &Optimum| ((optimum.bits as f64 / first).ln() / span * TOLD as f64) as usize;
    let ends =
        move |(index, optimum): &(usize, &Optimum)| *index == 0 || optima.get(index + 1).is_none_or(|next| cell(next) != cell(optimum));
    optima.iter().enumerate().filter(ends).map(|(_, optimum)| optimum)
}

fn describe(graph: &Graph, layer: &Layer, choices: &[Choice]) -> LayerProfile {
    let width = |(width, choice): (&Option<Width>, &Choice)| WidthProfile {
        width: name(*width),
        weight_bytes: choice.bits.div_ceil(8),
        noise: choice.noise,
        sqnr_db: decibels(choice.noise),
    };
    LayerProfile {
        nodes: layer.products.iter().map(|id| graph.node(*id).name.clone()).collect(),
        operator: layer.products.first().map(|id| graph.node(*id).operator.name().to_string()).unwrap_or_default(),
        weights: layer.elements,
        widths: WIDTHS.iter().zip(choices).map(width).collect(),
    }
}

pub(super) fn name(width: Option<Width>) -> &'static str {
    match width {
        Some(Width::Four) => "4",
        Some(Width::Eight) => "8",
        Some(Width::Sixteen) => "16",
        None => "float",
    }
}

/// SQNR of a noise-to-signal ratio, at most 120 dB.
pub(super) fn decibels(noise: f64) -> f64 {
    (-10.0 * noise.max(1e-12).log10()).max(-120.0)
}

/// The choices with those spoiled that the target does not take: such a choice is beaten by float, or not there at all.
fn takeable(choices: &[Choice], target: &Target) -> Vec<Choice> {
    let stores_sixteen = target.placement == Placement::Everywhere;
    let worse_than_float = Choice { bits: choices.last().map_or(0, |float| float.bits + 1), noise: 0.0 };
    let choice = |(width, choice): (&Option<Width>, &Choice)| match width {
        Some(Width::Sixteen) if !stores_sixteen => worse_than_float,
        _ => *choice,
    };
    let integers = if target.placement == Placement::AllValues { 2 } else { choices.len() };
    WIDTHS.iter().zip(choices).map(choice).take(integers).collect()
}

/// Whether a layer with such weights is no integer product.
fn runs_in_float(weights: Option<Width>, config: &Config) -> bool {
    match weights {
        None | Some(Width::Sixteen) => true,
        Some(Width::Four) => config.target.placement == Placement::Everywhere && config.objective != Objective::Integer,
        Some(Width::Eight) => false,
    }
}

fn described(width: Option<Width>) -> String {
    width.map_or("float".to_string(), |width| format!("a width of {} bits, which runtimes compute in float,", width.bits()))
}

/// The plan with all layers of one width, reading 8-bit values.
fn uniform(graph: &Graph, width: Width, config: &Config) -> Result<QuantPlan> {
    let widths = Widths { weights: width, activations: Width::Eight, all_layers: true };
    Assignment { between: true, ..Assignment::uniform(graph, &widths) }.plan(graph, &config.target, &config.exclude)
}
