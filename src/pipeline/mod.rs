//! The whole story on one page: load → simplify → synthesize → prepare → assign widths → plan → calibrate → insert → distill →
//! check → seal.

mod budget;
mod check;
mod cut_off;
mod fixed_batch;
mod float16;
mod guessed;
mod joins;
mod mixed;
mod narrow;
mod parts;
mod prepared;
mod provenance;
mod raise;
mod samples;
mod survey;
mod suspects;
#[cfg(test)]
mod tests;
mod trial;
mod value_range;
mod witnesses;

use std::collections::HashMap;

use crate::autotune::{Bench, Cut, autotune};
use crate::calibration::{CalibrationSet, Provenance, RangeSource};
use crate::distillation::{self, Corrections, Losses};
use crate::emit::{NO_INTEGER_KERNEL, seal, to_qoperator, verify};
use crate::error::Result;
use crate::evaluation::{self, Check, MixedChoice, Profile, Thresholds};
use crate::execution;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::passes::with_batch;
use crate::progress::{Progress, abridged};
use crate::quantization::{Assignment, Format, KernelForecast, Objective, Placement, Target, Widths};
use crate::synthesis::Assessment;
use crate::synthesis::input::Input;
use crate::synthesis::input_range::InputRange;
use crate::synthesis::method::Method;
use crate::synthesis::sibling::Sibling;

pub use budget::{Budget, Wishes};
pub use fixed_batch::open_batch;
pub use float16::convert_to_float16;
pub use mixed::{Mixed, SizeLimit, profile};
use prepared::Prepared;
use provenance::{choices, describe};
use trial::Trial;
pub use value_range::ValueRange;
use value_range::value_ranges;

/// How to quantize to integers.
#[derive(Clone, Debug)]
pub struct Config {
    pub target: Target,
    pub widths: Widths,
    /// Layers get widths of their own; `widths` holds where nothing else is chosen.
    pub mixed: Option<Mixed>,
    /// `None`: the result is not held against the original.
    pub check: Option<Checking>,
    pub objective: Objective,
    /// Whether measurements decide what runs on integers, whatever the objective.
    pub autotune: bool,
    /// Name of an observer; the first one if not given.
    pub observer: Option<String>,
    pub ranges: RangeSource,
    pub exclude: Vec<String>,
    /// Whether channels are brought to like ranges before ranges are found.
    pub equalize: bool,
    pub corrections: Corrections,
    pub input_range: InputRange,
    /// Images to synthesize, or to take of those given; chosen from the model if not said.
    pub images: Option<usize>,
    pub steps: Option<usize>,
    pub tuning: Tuning,
    pub seed: u64,
    pub method: Method,
    /// Where the statistics are that images are matched to, if not in the model itself.
    pub statistics_from: Option<Sibling>,
    pub execution: execution::Config,
}

impl Config {
    /// What numbers become, as a user says it.
    fn precision(&self) -> String {
        self.mixed.as_ref().map_or_else(|| self.widths.to_string(), |_| "mixed".to_string())
    }
}

/// How the student is tuned.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// 0: no distillation; chosen from the model if not said.
    pub distill_steps: Option<usize>,
    /// For each block; 0: no reconstruction.
    pub reconstruct_steps: Option<usize>,
    /// Part of the samples that are mixed with another one.
    pub mixup: f32,
    pub losses: Losses,
}

impl Tuning {
    pub const NONE: Tuning = Tuning { distill_steps: Some(0), reconstruct_steps: Some(0), mixup: 0.0, losses: Losses::USUAL };
}

/// What the result must reach on samples of another seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checking {
    pub thresholds: Thresholds,
    /// Layers that may be raised to more precision; a quarter of all if not said.
    pub budget: Option<usize>,
}

/// A quantized model and how it came about.
pub struct Quantized {
    pub model: Model,
    /// What will run as integers.
    pub kernels: Vec<KernelForecast>,
    /// What was measured to decide that.
    pub trials: Vec<evaluation::Trial>,
    pub distillation: Option<distillation::Summary>,
    /// All samples.
    pub samples: CalibrationSet,
    /// Those that neither calibration nor distillation has seen.
    pub held_out: CalibrationSet,
    pub inputs: Vec<Input>,
    /// What the original says of all samples.
    pub assessment: Assessment,
    pub check: Option<Check>,
    /// What was chosen for each layer, where layers have widths of their own.
    pub mixed: Option<MixedChoice>,
    /// How much each layer's width matters, where that was measured.
    pub profile: Option<Profile>,
    /// What becomes of activations.
    pub ranges: Vec<ValueRange>,
}

/// Quantizes `model` to integers, on `given` samples or on synthesized ones.
///
/// # Errors
/// If the model is not sound, something in it cannot be computed that must be, or nothing can be quantized.
pub fn quantize(model: &Model, given: Option<CalibrationSet>, config: &Config, progress: &dyn Progress) -> Result<Quantized> {
    let mut prepared = Prepared::new(model, given, config, progress)?;
    let tuned = config.autotune.then(|| measured_cut(model, &prepared, config, progress)).transpose()?;
    let (cut, chosen, trials) = tuned.map_or((None, None, Vec::new()), |(cut, name, trials)| (Some(cut), Some(name), trials));
    let mut assignment = assignment_for(&mut prepared.teacher, cut, config, progress)?;
    if config.objective != Objective::Integer && config.target.placement != Placement::AllValues {
        let readers = guessed::readers_of_guesses(&prepared.teacher, &prepared.inputs);
        for (id, reason) in readers {
            assignment.float.entry(id).or_insert(reason);
        }
    }
    narrow::fill_narrow_layers(&mut prepared, &assignment, config, progress)?;
    parts::level_results(&mut prepared, &assignment, config, progress)?;
    let (trial, check, mixed, profile) = match &config.mixed {
        Some(wanted) => {
            let (trial, choice, profile) = mixed::choose(&prepared, model, wanted, config, progress)?;
            let check = check::report(&prepared, &trial, config, progress)?;
            for missed in check.iter().flat_map(|check| &check.missed) {
                progress.warn(&format!("self-check: {missed}; a mixture is only checked, since its size is its budget"));
            }
            (trial, check, Some(choice), Some(profile))
        }
        None => {
            let (trial, check) = check::hold(&prepared, assignment, config, progress)?;
            (trial, check, None, None)
        }
    };
    joins::warn_of_unlike_joins(&prepared.teacher, &trial.plan, &trial.ranges, progress);
    let (distillation, ranges) = (trial.summary, value_ranges(&prepared, &trial));
    let decisions =
        Decisions { chosen, raised: check.iter().flat_map(|check| &check.raised).flat_map(|raise| raise.nodes.clone()).collect() };
    let (model, kernels) = write(model, trial, &prepared.set.provenance, decisions, config, progress)?;
    let Prepared { samples, held_out, inputs, assessment, .. } = prepared;
    Ok(Quantized { model, kernels, trials, distillation, samples, held_out, inputs, assessment, check, mixed, profile, ranges })
}

fn measured_cut(
    model: &Model,
    prepared: &Prepared,
    config: &Config,
    progress: &dyn Progress,
) -> Result<(Cut, String, Vec<evaluation::Trial>)> {
    let Config { target, exclude, execution, .. } = config;
    let Prepared { teacher, set, .. } = prepared;
    autotune(&Bench { model, graph: teacher, target, exclude, samples: set.clone(), execution: *execution }, progress)
}

/// The widths that the objective wants; for the least latency, channels of what runs in float grow to whole blocks. Integers
/// of other sizes than 8 bits are for size and accuracy, whatever their kernels.
fn assignment_for(teacher: &mut Graph, cut: Option<Cut>, config: &Config, progress: &dyn Progress) -> Result<Assignment> {
    let Config { target, exclude, widths, .. } = config;
    if cut.is_none() && config.objective != Objective::Integer && *widths == Widths::INT8 && target.costs.is_none() {
        let (name, objective) = (target.name, config.objective.name());
        progress.note(&format!(
            "what operators cost on {name} was not measured: --objective {objective} is --objective integer there, all that can run on integers does"
        ));
    }
    let objective = if *widths == Widths::INT8 { config.objective } else { Objective::Integer };
    let cut = match cut {
        Some(cut) => cut,
        None => Cut::predicted(teacher, target, exclude, objective)?,
    };
    cut.pad(teacher)?;
    Ok(Assignment { float: cut.float.into_iter().collect(), ..Assignment::uniform(teacher, widths) })
}

/// What was decided on the way and belongs into the file.
#[derive(Default)]
struct Decisions {
    /// By `--autotune`.
    chosen: Option<String>,
    /// Nodes that the self-check gave more precision.
    raised: Vec<String>,
}

/// The sealed model, with what it takes to make it again, and what of it will run as integers.
fn write(
    model: &Model,
    trial: Trial,
    source: &Provenance,
    decisions: Decisions,
    config: &Config,
    progress: &dyn Progress,
) -> Result<(Model, Vec<KernelForecast>)> {
    let Trial { mut graph, plan, student, summary, .. } = trial;
    seal(&mut graph, &plan, &student)?;
    let mut kernels = check_kernels(&graph, &plan.kernels, &plan.target, progress);
    if config.target.format == Format::QOperator {
        to_qoperator(&mut graph, &mut kernels)?;
    }
    graph.restore_made()?;
    let mut quantized = model.with_graph(graph);
    if config.target.fixed_shapes {
        if let Some(size) = model.fixed_batch {
            quantized.graph = with_batch(&quantized.graph, size)?;
        }
        quantized.declare_sizes();
    }
    let Decisions { chosen, raised } = decisions;
    let mut more = vec![
        ("zeroq.precision", config.precision()),
        ("zeroq.target", config.target.name.to_string()),
        ("zeroq.objective", chosen.as_ref().map_or(config.objective.name(), |_| "autotune").to_string()),
        ("zeroq.distillation_steps", summary.map_or(0, |summary| summary.steps).to_string()),
    ];
    match &config.mixed {
        Some(wanted) => more.push(("zeroq.mixed", wanted.to_string())),
        None if config.widths.all_layers => more.push(("zeroq.all_layers", "true".to_string())),
        None => {}
    }
    more.extend(chosen.map(|name| ("zeroq.autotune", name)));
    more.extend(choices(config));
    if !raised.is_empty() {
        more.push(("zeroq.raised", raised.join(", ")));
    }
    describe(&mut quantized, model, source, config, &more);
    Ok((quantized, kernels))
}

/// What the finished graph will run as integers; reasons of the plan come first, since it knows what was excluded.
fn check_kernels(graph: &Graph, planned: &[KernelForecast], target: &Target, progress: &dyn Progress) -> Vec<KernelForecast> {
    let reasons: HashMap<&str, &Option<String>> = planned.iter().map(|kernel| (kernel.node.as_str(), &kernel.reason)).collect();
    let mut kernels = verify(graph, target);
    let mut slow = Vec::new();
    for kernel in &mut kernels {
        if let (Some(Some(reason)), false) = (reasons.get(kernel.node.as_str()), kernel.integer) {
            kernel.reason = Some(reason.clone());
            continue;
        }
        let reason = kernel.reason.as_deref().unwrap_or("unknown");
        if !kernel.integer && reason != NO_INTEGER_KERNEL && !target.placement.is_at_inputs() {
            slow.push(format!("{} `{}` will run in float: {reason}", kernel.operator, kernel.node));
        }
    }
    abridged(slow.into_iter()).for_each(|line| progress.warn(&line));
    kernels
}
