//! All that comes before widths are assigned.

use super::samples::{active_samples, assess_or_note, check_runs, hold_out, samples, unseen_samples};
use super::{Budget, Config, Mixed};
use crate::autotune;
use crate::calibration::{CalibrationSet, Levels, Moments, absorb_biases, equalize};
use crate::error::Result;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::passes::{carry_through, prepare, simplify, single_sample, sized_samples, upgrade_opset};
use crate::progress::Progress;
use crate::quantization::Width;
use crate::synthesis::Assessment;
use crate::synthesis::input::Input;

/// The original in the form that is quantized, with samples to do it on.
pub(super) struct Prepared {
    pub teacher: Graph,
    /// All samples.
    pub samples: CalibrationSet,
    /// Those to work on.
    pub set: CalibrationSet,
    /// Samples on which outputs were made active, beside those to work on; `None` where outputs are classes of images.
    pub active: Option<CalibrationSet>,
    /// Samples to tune on: those to work on, and the active ones.
    pub taught: CalibrationSet,
    /// For the final comparison alone.
    pub held_out: CalibrationSet,
    /// For the self-check alone; `None` where nothing is checked.
    pub unseen: Option<CalibrationSet>,
    pub inputs: Vec<Input>,
    pub assessment: Assessment,
    pub budget: Budget,
    /// What BatchNormalization says of the values.
    pub moments: Moments,
}

impl Prepared {
    /// # Errors
    /// If the model is not sound, or something in it cannot be computed that must be.
    pub fn new(model: &Model, given: Option<CalibrationSet>, config: &Config, progress: &dyn Progress) -> Result<Self> {
        let mut teacher = model.graph.clone();
        simplify_and_say(&mut teacher, progress)?;
        config.target.check(&teacher, &config.widths, &config.precision())?;
        if config.autotune {
            autotune::check(&config.target)?;
        }
        if config.target.fixed_shapes {
            teacher = if model.fixed_batch.is_some() { sized_samples(&teacher)? } else { single_sample(&teacher)? };
        }
        if writes_new_types(config) {
            raise_opset(&mut teacher, model.opset, config, progress)?;
        } else if config.target.wide_results().is_some() {
            raise_for_results(&mut teacher, model.opset, progress);
        }
        let budget = Budget::of(&single_sample(&teacher)?);
        let budget = if may_have_four_bits(config) { budget.for_four_bits() } else { budget };
        let is_given = given.is_some();
        let (samples, inputs) = samples(&teacher, given, &budget, model, config, progress)?;
        check_runs(&teacher, &samples, config)?;
        let assessment = assess_or_note(&teacher, &samples, config, progress);
        let (set, held_out) = hold_out(&samples);
        let wanted = config.check.is_some() || config.mixed.as_ref().is_some_and(|mixed| mixed.min_sqnr.is_some());
        let unseen = wanted.then(|| unseen_samples(&teacher, &inputs, &held_out, is_given, &budget, config)).transpose()?;
        let mut moments = Moments::of_batch_norms(&teacher);
        prepare(&mut teacher)?;
        let active = active_samples(&teacher, &set, &inputs, config, progress)?;
        let taught = active.as_ref().map_or_else(|| Ok(set.clone()), |active| set.interleave(active))?;
        if config.equalize {
            equalize(&mut teacher, &taught, Levels::of(&config.widths), &mut moments, &config.execution)?;
        }
        if config.corrections.absorb_bias {
            let count = absorb_biases(&mut teacher, &set, &mut moments, &config.execution)?;
            progress.note(&format!("{count} channels gave what they always have to the biases behind them"));
        }
        Ok(Prepared { teacher, samples, set, active, taught, held_out, unseen, inputs, assessment, budget, moments })
    }
}

/// Simplifies `graph`, and names the nodes that are carried through because the data decides the size of their results.
pub(super) fn simplify_and_say(graph: &mut Graph, progress: &dyn Progress) -> Result<()> {
    simplify(graph)?;
    let carried = carry_through(graph)?;
    if !carried.is_empty() {
        progress.warn(&format!(
            "carried through, in float and never run, since the data decides the size of what they make: {}",
            carried.join(", ")
        ));
    }
    Ok(())
}

/// Whether a weight or an activation may become 4 bits wide.
fn may_have_four_bits(config: &Config) -> bool {
    config.mixed.as_ref().is_some_and(|mixed| *mixed != Mixed::default())
        || [config.widths.weights, config.widths.activations].contains(&Width::Four)
}

/// Whether a file is to be written that needs an operator set with integers of 4 and 16 bits.
fn writes_new_types(config: &Config) -> bool {
    config.mixed.as_ref().map_or(!config.widths.fit_old_opsets(), |mixed| *mixed != Mixed::default())
}

/// Brings the graph into an operator set in which results may have 16 bits, if it can be.
fn raise_for_results(teacher: &mut Graph, written_in: i64, progress: &dyn Progress) {
    let (mut raised, before) = (teacher.clone(), teacher.opset);
    match upgrade_opset(&mut raised, written_in) {
        Ok(()) => *teacher = raised,
        Err(error) => progress.warn(&format!("results have 8 bits where 16 would keep every part of them: {error}")),
    }
    if before < teacher.opset {
        progress.note(&format!("operator set raised from {before} to {}: results have 16 bits", teacher.opset));
    }
}

/// Brings the graph into an operator set that knows integers of these widths, and says what they are good for.
fn raise_opset(teacher: &mut Graph, written_in: i64, config: &Config, progress: &dyn Progress) -> Result<()> {
    let before = teacher.opset;
    upgrade_opset(teacher, written_in)?;
    if before < teacher.opset {
        progress.note(&format!("operator set raised from {before} to {}, which --precision {} needs", teacher.opset, config.precision()));
    }
    let gain = match config.widths.activations {
        Width::Sixteen => "the result is as small as int8 and nearer to the original",
        _ => "the file shrinks",
    };
    let speed = config.target.timed_on.map_or("", |_| ", but it runs no faster than the original, often slower");
    if config.target.eight_bits_alone {
        progress.note(&format!("{} computes layers with integers of 4 or 16 bits in float: {gain}{speed}", config.target.runtime));
    }
    Ok(())
}
