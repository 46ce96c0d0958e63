//! The whole story on one page: load → simplify → synthesize → prepare → plan → calibrate → insert → distill → seal.

use std::collections::HashMap;

use crate::autotune::{self, Bench, Cut, autotune};
use crate::calibration::{CalibrationSet, Levels, Moments, Provenance, Samples, absorb_biases, calibrate, equalize, magnitudes, observers};
use crate::distillation::{self, Corrections, Lesson, Reconstruction, Steps, correct, distill, reconstruct};
use crate::emit::{NO_INTEGER_KERNEL, insert, round_to_float16, seal, to_float16, to_qoperator, verify};
use crate::error::{Error, Result};
use crate::evaluation::Trial;
use crate::execution;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::passes::{macs, prepare, simplify, single_sample, upgrade_opset};
use crate::progress::Progress;
use crate::quantization::{Format, KernelForecast, Objective, Placement, QuantPlan, Target, Width, Widths, set_widths};
use crate::synthesis::input::Input;
use crate::synthesis::input_range::{InputRange, PixelRange};
use crate::synthesis::method::Method;
use crate::synthesis::sibling::{Sibling, synthesize_for};
use crate::synthesis::{self, ASSUMED, Assessment, DEAD_LEAVES, GAUSSIAN, assess};

/// How to quantize to integers.
#[derive(Clone, Debug)]
pub struct Config {
    pub target: Target,
    pub widths: Widths,
    pub objective: Objective,
    /// Whether measurements decide what runs on integers, whatever the objective.
    pub autotune: bool,
    /// Name of an observer; the first one if not given.
    pub observer: Option<String>,
    pub exclude: Vec<String>,
    /// Whether channels are brought to like ranges before ranges are found.
    pub equalize: bool,
    pub corrections: Corrections,
    pub input_range: InputRange,
    /// Images to synthesize, or to take of those given; chosen from the model if not said.
    pub images: Option<usize>,
    pub steps: Option<usize>,
    /// 0: no distillation.
    pub distill_steps: Option<usize>,
    /// For each block; 0: no reconstruction.
    pub reconstruct_steps: Option<usize>,
    pub seed: u64,
    pub method: Method,
    /// Where the statistics are that images are matched to, if not in the model itself.
    pub statistics_from: Option<Sibling>,
    pub execution: execution::Config,
}

/// What the user says of the amount of work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    pub samples: Option<usize>,
    pub steps: Option<usize>,
}

/// A quantized model and how it came about.
pub struct Quantized {
    pub model: Model,
    /// What will run as integers.
    pub kernels: Vec<KernelForecast>,
    /// What was measured to decide that.
    pub trials: Vec<Trial>,
    pub distillation: Option<distillation::Summary>,
    /// Samples that neither calibration nor distillation has seen.
    pub held_out: CalibrationSet,
    pub inputs: Vec<Input>,
    /// What the original says of all samples.
    pub assessment: Assessment,
}

/// Work that a model gets, from its multiplications per sample: budgets are steps, never clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub images: usize,
    pub batch: usize,
    pub steps: usize,
    pub distill_steps: Steps,
    /// For each block.
    pub reconstruct_steps: usize,
}

/// Samples of one distillation step.
const DISTILL_BATCH: usize = 16;

impl Budget {
    /// A step of synthesis costs about four multiplications' worth for each one of the model, a step of distillation eight.
    pub fn of(macs: u64) -> Budget {
        let macs = macs.max(1) as f64;
        let images = if macs < 3e8 {
            256
        } else if macs < 1e9 {
            128
        } else {
            64
        };
        let steps = (1e12 / (macs * images as f64)).clamp(50.0, 200.0) as usize;
        let distill = |total: f64, least: f64| (total / (macs * DISTILL_BATCH as f64)).clamp(least, 600.0) as usize;
        let distill_steps = Steps::Between { least: distill(1e11, 30.0), most: distill(4e11, 120.0) };
        let reconstruct_steps = (4e11 / (macs * 2.0 * DISTILL_BATCH as f64)).clamp(50.0, 300.0) as usize;
        Budget { images, batch: 64, steps, distill_steps, reconstruct_steps }
    }

    /// A synthesis with `method`, as much of it as is wished for or fits the budget; seed, input range and execution are the
    /// usual ones.
    pub fn synthesis(&self, wishes: Wishes, method: &Method) -> synthesis::Config {
        let batch = method.batch.unwrap_or(self.batch);
        synthesis::Config {
            samples: wishes.samples.unwrap_or(self.images),
            batch,
            steps: wishes.steps.unwrap_or(self.steps),
            sufficient: wishes.steps.is_none().then(|| synthesis::Config::sufficient(batch)),
            seed: 0,
            input_range: InputRange::Auto,
            method: method.clone(),
            execution: execution::Config::default(),
        }
    }
}

/// Quantizes `model` to integers, on `given` samples or on synthesized ones.
///
/// # Errors
/// If the model is not sound, something in it cannot be computed that must be, or nothing can be quantized.
pub fn quantize(model: &Model, given: Option<CalibrationSet>, config: &Config, progress: &dyn Progress) -> Result<Quantized> {
    let mut teacher = model.graph.clone();
    simplify(&mut teacher)?;
    config.target.check(&teacher, &config.widths)?;
    if config.autotune {
        autotune::check(&config.target)?;
    }
    if config.target.fixed_shapes {
        teacher = single_sample(&teacher)?;
    }
    if !config.widths.fit_old_opsets() {
        raise_opset(&mut teacher, model.opset, &config.widths, progress)?;
    }
    let budget = Budget::of(macs(&single_sample(&teacher)?));
    let (set, inputs) = samples(&teacher, given, &budget, model, config, progress)?;
    let assessment = assess_or_note(&teacher, &set, config, progress);
    let (set, held_out) = hold_out(&set);
    let mut moments = Moments::of_batch_norms(&teacher);
    prepare(&mut teacher)?;
    if config.equalize {
        equalize(&mut teacher, &set, Levels::of(&config.widths), &mut moments, &config.execution)?;
    }
    if config.corrections.absorb_bias {
        let count = absorb_biases(&mut teacher, &set, &mut moments, &config.execution)?;
        progress.note(&format!("{count} channels gave what they always have to the biases behind them"));
    }
    let tuned = config.autotune.then(|| measured_cut(model, &teacher, &set, config, progress)).transpose()?;
    let (cut, chosen, trials) = tuned.map_or((None, None, Vec::new()), |(cut, name, trials)| (Some(cut), Some(name), trials));
    let plan = plan_for(&mut teacher, cut, config, progress)?;
    let name = config.observer.as_deref().unwrap_or("mse");
    let observer = observers::find(name).ok_or_else(|| Error::Usage(format!("there is no observer `{name}`")))?;
    let input_range = (inputs.len() == 1).then(|| inputs[0].range.hull());
    let ranges = calibrate(&teacher, &plan, &set, observer.as_ref(), input_range, &config.execution, progress)?;
    let mut graph = teacher.clone();
    let mut student = insert(&mut graph, &plan, &ranges)?;
    config.corrections.add_biases(&mut graph, &mut student);
    let lesson = Lesson { teacher: &teacher, student: &student, set: &set, inputs: &inputs };
    let summary = tune(lesson, &mut graph, &moments, &budget, config, progress)?;
    seal(&mut graph, &plan, &student)?;
    let mut kernels = check_kernels(&graph, &plan.kernels, &config.target, progress);
    if config.target.format == Format::QOperator {
        to_qoperator(&mut graph, &mut kernels)?;
    }
    let mut quantized = model.with_graph(graph);
    if config.target.fixed_shapes {
        quantized.declare_sizes();
    }
    let mut more = vec![
        ("zeroq.precision", config.widths.to_string()),
        ("zeroq.target", config.target.name.to_string()),
        ("zeroq.objective", chosen.as_ref().map_or(config.objective.name(), |_| "autotune").to_string()),
        ("zeroq.distillation_steps", summary.map_or(0, |summary| summary.steps).to_string()),
    ];
    if config.widths.all_layers {
        more.push(("zeroq.all_layers", "true".to_string()));
    }
    more.extend(chosen.map(|name| ("zeroq.autotune", name)));
    describe(&mut quantized, model, &set.provenance, config, &more);
    Ok(Quantized { model: quantized, kernels, trials, distillation: summary, held_out, inputs, assessment })
}

/// Tunes the student: block by block first where its integers are of 4 bits, then in closed form, then as a whole.
fn tune(
    lesson: Lesson<'_>,
    graph: &mut Graph,
    moments: &Moments,
    budget: &Budget,
    config: &Config,
    progress: &dyn Progress,
) -> Result<Option<distillation::Summary>> {
    let narrow = [config.widths.weights, config.widths.activations].contains(&Width::Four);
    let reconstruct_steps = config.reconstruct_steps.unwrap_or(if narrow { budget.reconstruct_steps } else { 0 });
    let steps = config.distill_steps.map_or(budget.distill_steps, Steps::Exactly);
    if lesson.set.len() < 16 {
        correct(lesson, graph, moments, config.corrections, &config.execution, progress)?;
        if reconstruct_steps > 0 || steps != Steps::Exactly(0) {
            progress.warn(&format!("{} samples are too few to tune on: the quantized model was not tuned", lesson.set.len()));
        }
        return Ok(None);
    }
    let tuning = distillation::Config { steps, batch: DISTILL_BATCH, seed: config.seed, execution: config.execution, ..Default::default() };
    if reconstruct_steps > 0 {
        let steps = Steps::Exactly(reconstruct_steps);
        let tuning = distillation::Config { steps, batch: 2 * DISTILL_BATCH, ..tuning.clone() };
        let Reconstruction { blocks, better, .. } = reconstruct(lesson, graph, &tuning, progress)?;
        if better < blocks {
            progress.note(&format!(
                "learned rounding did better than nearest in {better} of {blocks} blocks; the others are rounded to nearest"
            ));
        }
    }
    let corrections = if reconstruct_steps > 0 { config.corrections.after_reconstruction(progress) } else { config.corrections };
    correct(lesson, graph, moments, corrections, &config.execution, progress)?;
    if steps == Steps::Exactly(0) {
        return Ok(None);
    }
    let found = distill(lesson, graph, &tuning, progress)?;
    if found.kept_step == 0 {
        progress.note("distillation did not improve the quantized model on held-out samples: its first state is kept");
    }
    Ok(Some(found))
}

/// Brings the graph into an operator set that knows integers of these widths, and says what they are good for.
fn raise_opset(teacher: &mut Graph, written_in: i64, widths: &Widths, progress: &dyn Progress) -> Result<()> {
    let before = teacher.opset;
    upgrade_opset(teacher, written_in)?;
    if before < teacher.opset {
        progress.note(&format!("operator set raised from {before} to {}, which {widths} needs", teacher.opset));
    }
    let gain = match widths.activations {
        Width::Sixteen => "the result is as small as int8 and nearer to the original",
        _ => "the file shrinks",
    };
    progress.note(&format!(
        "ONNX Runtime computes layers with integers of 4 or 16 bits in float: {gain}, but it runs no faster than the original, often slower"
    ));
    Ok(())
}

fn measured_cut(
    model: &Model,
    graph: &Graph,
    set: &CalibrationSet,
    config: &Config,
    progress: &dyn Progress,
) -> Result<(Cut, String, Vec<Trial>)> {
    let Config { target, exclude, execution, .. } = config;
    autotune(&Bench { model, graph, target, exclude, samples: set.clone(), execution: *execution }, progress)
}

/// The plan that serves the objective; for the least latency, channels of what runs in float grow to whole blocks. Integers
/// of other sizes than 8 bits are for size and accuracy, whatever their kernels.
fn plan_for(teacher: &mut Graph, cut: Option<Cut>, config: &Config, progress: &dyn Progress) -> Result<QuantPlan> {
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
    let mut plan = cut.plan(teacher, target, exclude)?;
    set_widths(teacher, &mut plan, widths);
    Ok(plan)
}

/// The samples to work on: those given, as many as asked for, or synthesized ones.
fn samples(
    teacher: &Graph,
    given: Option<CalibrationSet>,
    budget: &Budget,
    model: &Model,
    config: &Config,
    progress: &dyn Progress,
) -> Result<(CalibrationSet, Vec<Input>)> {
    if let Some(set) = given {
        let set = set.slice(0..config.images.unwrap_or(set.len()).min(set.len()));
        if set.len() < 2 {
            return Err(Error::Data("at least two samples are needed".to_string()));
        }
        let inputs = set.inputs.iter().map(observed_input).collect();
        return Ok((set, inputs));
    }
    let wishes = Wishes { samples: Some(config.images.unwrap_or(budget.images).max(2)), steps: config.steps };
    let synthesis = synthesis::Config {
        seed: config.seed,
        input_range: config.input_range.clone(),
        execution: config.execution,
        ..budget.synthesis(wishes, &config.method)
    };
    let mut synthesis = synthesize_for(teacher, config.statistics_from.as_ref(), &synthesis, progress)?;
    synthesis.set.provenance.model_sha256 = Some(model.sha256.clone());
    Ok((synthesis.set, synthesis.inputs))
}

/// Samples that cannot be assessed may still be good enough to work on.
fn assess_or_note(teacher: &Graph, set: &CalibrationSet, config: &Config, progress: &dyn Progress) -> Assessment {
    let judge = config.statistics_from.as_ref().map_or(teacher, |sibling| &sibling.graph);
    assess(judge, set, &config.execution).unwrap_or_else(|error| {
        progress.note(&format!("how near the samples are to the training data is not known: {error}"));
        Assessment::default()
    })
}

/// The samples to work on, and those that nothing but the final comparison sees.
fn hold_out(set: &CalibrationSet) -> (CalibrationSet, CalibrationSet) {
    let seen = set.len() - (set.len() / 8).clamp(1, 32).min(set.len() - 1);
    (set.slice(0..seen), set.slice(seen..set.len()))
}

/// An input whose range is what its samples show.
fn observed_input(samples: &Samples) -> Input {
    let low = samples.elements.iter().copied().fold(f32::INFINITY, f32::min);
    let high = samples.elements.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    Input { name: samples.name.clone(), shape: samples.shape.clone(), range: PixelRange::uniform("observed", low, high.max(low + 1e-6)) }
}

/// What the finished graph will run as integers; reasons of the plan come first, since it knows what was excluded.
fn check_kernels(graph: &Graph, planned: &[KernelForecast], target: &Target, progress: &dyn Progress) -> Vec<KernelForecast> {
    let reasons: HashMap<&str, &Option<String>> = planned.iter().map(|kernel| (kernel.node.as_str(), &kernel.reason)).collect();
    let mut kernels = verify(graph, target);
    for kernel in &mut kernels {
        if let (Some(Some(reason)), false) = (reasons.get(kernel.node.as_str()), kernel.integer) {
            kernel.reason = Some(reason.clone());
            continue;
        }
        let reason = kernel.reason.as_deref().unwrap_or("unknown");
        if !kernel.integer && reason != NO_INTEGER_KERNEL && target.placement != Placement::WeightedInputs {
            progress.warn(&format!("{} `{}` will run in float: {reason}", kernel.operator, kernel.node));
        }
    }
    kernels
}

/// Provenance in the file: how to make it again. No times, paths or thread counts.
fn describe(quantized: &mut Model, original: &Model, source: &Provenance, config: &Config, more: &[(&str, String)]) {
    let mut entries = vec![
        ("zeroq.version", env!("CARGO_PKG_VERSION").to_string()),
        ("zeroq.input_sha256", original.sha256.clone()),
        ("zeroq.seed", config.seed.to_string()),
        ("zeroq.calibration", source.source.clone()),
        ("zeroq.isa", config.execution.isa.name().to_string()),
    ];
    if let Some(steps) = source.steps {
        entries.push(("zeroq.synthesis_steps", steps.to_string()));
    }
    if let Some(recipe) = &source.recipe {
        entries.push(("zeroq.recipe", recipe.clone()));
    }
    entries.extend(source.statistics_sha256.iter().map(|sha256| ("zeroq.statistics_sha256", sha256.clone())));
    for (key, value) in entries.iter().chain(more) {
        quantized.set_metadata(key, value);
    }
}

/// Samples that float16 takes: magnitudes and second moments need fewer than tuning does.
const FLOAT16_IMAGES: usize = 48;
/// Weights of one output that are rounded together, at most: more of them average their errors out by themselves.
const FLOAT16_LARGEST_ROW: usize = 1024;

/// Converts `model` to float16, its weights rounded together on `given` samples or on synthesized ones. Inputs and outputs
/// stay float32 if `keep_io`. The operator set stays.
///
/// # Errors
/// If the model is not sound.
pub fn convert_to_float16(
    model: &Model,
    given: Option<CalibrationSet>,
    keep_io: bool,
    config: &Config,
    progress: &dyn Progress,
) -> Result<Quantized> {
    let mut graph = model.graph.clone();
    simplify(&mut graph)?;
    let budget = Budget { images: FLOAT16_IMAGES, ..Budget::of(macs(&single_sample(&graph)?)) };
    let (set, inputs) = samples(&graph, given, &budget, model, config, progress)?;
    let assessment = assess_or_note(&graph, &set, config, progress);
    let (seen, held_out) = hold_out(&set);
    prepare(&mut graph)?;
    let largest = magnitudes(&graph, &seen, &config.execution, progress)?;
    if tells_of_real_data(&set, &inputs) {
        round_to_float16(&mut graph, &seen, FLOAT16_LARGEST_ROW, &config.execution, progress)?;
    } else {
        progress.note("weights are rounded one by one: procedural samples say nothing of an input that is not a picture");
    }
    let report = to_float16(&mut graph, keep_io, &largest)?;
    if report.clamped > 0 {
        progress.warn(&format!("{} weights beyond ±65504 were clamped", report.clamped));
    }
    for (node, reason) in &report.kept {
        progress.warn(&format!("node `{node}` stays float32: {reason}"));
    }
    let mut converted = model.with_graph(graph);
    describe(&mut converted, model, &set.provenance, config, &[("zeroq.precision", "fp16".to_string())]);
    Ok(Quantized { model: converted, kernels: Vec::new(), trials: Vec::new(), distillation: None, held_out, inputs, assessment })
}

/// Whether what is seen on `set` goes for real data: samples that were given or matched do, procedural ones for pictures.
fn tells_of_real_data(set: &CalibrationSet, inputs: &[Input]) -> bool {
    match set.provenance.source.as_str() {
        DEAD_LEAVES | ASSUMED => inputs.iter().all(|input| input.image_channels() == Some(3)),
        source => source != GAUSSIAN,
    }
}
