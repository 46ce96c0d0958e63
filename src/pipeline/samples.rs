//! What takes the place of data.

use super::{Budget, Config, Wishes};
use crate::calibration::{CalibrationSet, Samples};
use crate::error::{Error, Result};
use crate::execution::{first_not_finite, observe};
use crate::graph::{Graph, ValueId};
use crate::onnx::Model;
use crate::progress::{Progress, Silent};
use crate::synthesis::active::{Excitement, excite};
use crate::synthesis::input::Input;
use crate::synthesis::input_range::{InputRange, PixelRange};
use crate::synthesis::ranges::{Certainty, Finding};
use crate::synthesis::sibling::synthesize_for;
use crate::synthesis::{self, Assessment, assess};
use crate::tensor::DataType;

/// The samples to work on: those given, as many as asked for, or synthesized ones.
pub(super) fn samples(
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
        let inputs =
            set.inputs.iter().zip(&teacher.inputs).map(|(samples, id)| observed_input(samples, teacher, *id)).collect::<Result<_>>()?;
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

/// Refuses a model that makes nothing but NaN of the samples. One whose outputs cannot be computed is not judged.
///
/// # Errors
/// Names the node where numbers end.
pub(super) fn check_runs(teacher: &Graph, set: &CalibrationSet, config: &Config) -> Result<()> {
    let mut lost = false;
    let first = set.slice(0..set.len().min(1));
    let mut judge = |_: usize, outputs: &[&[f32]]| lost = outputs.iter().any(|elements| elements.iter().all(|x| x.is_nan()));
    if observe(teacher, &teacher.outputs, &first, &config.execution, &mut judge).is_err() || !lost {
        return Ok(());
    }
    Err(match first_not_finite(teacher, &first, &config.execution) {
        Some(node) => Error::node(&node.name, node.operator.name(), "the model does not run: from here on it computes NaN"),
        None => Error::InvalidModel("the model does not run: it computes nothing but NaN".to_string()),
    })
}

/// Samples that cannot be assessed may still be good enough to work on.
pub(super) fn assess_or_note(teacher: &Graph, set: &CalibrationSet, config: &Config, progress: &dyn Progress) -> Assessment {
    let judge = config.statistics_from.as_ref().map_or(teacher, |sibling| &sibling.graph);
    assess(judge, set, &config.execution).unwrap_or_else(|error| {
        progress.note(&format!("how near the samples are to the training data is not known: {error}"));
        Assessment::default()
    })
}

/// The samples to work on, and those that nothing but the final comparison sees.
pub(super) fn hold_out(set: &CalibrationSet) -> (CalibrationSet, CalibrationSet) {
    let seen = set.len() - (set.len() / 8).clamp(1, 32).min(set.len() - 1);
    (set.slice(0..seen), set.slice(seen..set.len()))
}

/// Samples for the self-check, fewer where the user asks for fewer in all.
const UNSEEN: usize = 32;
/// How far the seed of the self-check is from that of the run.
const OTHER_SEED: u64 = 1 << 32;

/// Samples that nothing was made with: of another seed where samples are synthesized, else those held out.
pub(super) fn unseen_samples(
    teacher: &Graph,
    inputs: &[Input],
    held_out: &CalibrationSet,
    given: bool,
    budget: &Budget,
    config: &Config,
) -> Result<CalibrationSet> {
    if given {
        return Ok(held_out.clone());
    }
    let wishes = Wishes { samples: Some(config.images.unwrap_or(UNSEEN).clamp(2, UNSEEN)), steps: config.steps };
    let input_range = InputRange::each(inputs.iter().map(|input| (input.name.clone(), input.range.clone())));
    let seed = config.seed.wrapping_add(OTHER_SEED);
    let synthesis = synthesis::Config { seed, input_range, execution: config.execution, ..budget.synthesis(wishes, &config.method) };
    Ok(synthesize_for(teacher, config.statistics_from.as_ref(), &synthesis, &Silent)?.set)
}

/// Part of the samples that as many active ones are made beside, and how many at least and at most.
const ACTIVE_PART: usize = 8;
const ACTIVE: (usize, usize) = (8, 64);
/// Steps that an active sample takes.
const ACTIVE_STEPS: usize = 24;

/// Some of `set`, moved until what the outputs of `teacher` look for seems to be there; `None` where outputs are classes of
/// images, or cannot be computed.
///
/// # Errors
/// If the work was interrupted.
pub(super) fn active_samples(
    teacher: &Graph,
    set: &CalibrationSet,
    inputs: &[Input],
    config: &Config,
    progress: &dyn Progress,
) -> Result<Option<CalibrationSet>> {
    let samples = (set.len() / ACTIVE_PART).clamp(ACTIVE.0, ACTIVE.1);
    let batch = config.method.batch.unwrap_or(ACTIVE.1);
    let excitement = Excitement { samples, steps: ACTIVE_STEPS, batch, seed: config.seed, execution: config.execution };
    match excite(teacher, set, inputs, &excitement, progress) {
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => {
            progress.note(&format!("no samples were made on which outputs are active: {error}"));
            Ok(None)
        }
        made => made,
    }
}

/// An input whose range is what its samples show.
fn observed_input(samples: &Samples, teacher: &Graph, id: ValueId) -> Result<Input> {
    if teacher.value(id).data_type == Some(DataType::Bool) {
        return Ok(Input::of_flags(&samples.name, samples.shape.clone()));
    }
    let (low, high) = samples.likely_range()?;
    let range = PixelRange::uniform("observed", low, high.max(low + 1e-6));
    Ok(Input { finding: Finding::plain(Certainty::Observed), ..Input::new(&samples.name, samples.shape.clone(), range) })
}
