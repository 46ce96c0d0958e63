//! One assignment of widths, tried: plan → calibrate → insert → distill.

use super::budget::DISTILL_BATCH;
use super::{Config, Prepared, Tuning};
use crate::calibration::histogram::{Distribution, Histogram};
use crate::calibration::{Coverage, RangeSource, Ranges, choose_ranges, histograms, observers};
use crate::distillation::{self, Lesson, Reconstruction, Steps, correct, distill, reconstruct};
use crate::emit::{Student, insert};
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::progress::Progress;
use crate::quantization::{Assignment, QuantPlan, Width};

/// Part of the range of an input's integers that samples fill where they show all of it.
const FILLED: f64 = 0.9;

/// The student with these widths, as far as it was tuned; not sealed yet.
pub(super) struct Trial {
    pub assignment: Assignment,
    pub plan: QuantPlan,
    pub ranges: Ranges,
    /// What the ranges of the plan's groups were chosen from; none where nobody is to look at them.
    pub seen: Vec<Distribution>,
    pub graph: Graph,
    pub student: Student,
    /// `None` where nothing was tuned.
    pub summary: Option<distillation::Summary>,
}

impl Trial {
    /// # Errors
    /// If nothing can be quantized, or a planned value cannot be computed.
    pub fn new(prepared: &Prepared, assignment: Assignment, config: &Config, progress: &dyn Progress) -> Result<Self> {
        let plan = assignment.plan(&prepared.teacher, &config.target, &config.exclude)?;
        let seen = see(prepared, &plan, config, progress)?;
        let ranges = choose(prepared, &plan, &seen, config)?;
        let mut trial = Trial::untuned(prepared, assignment, plan, ranges, config)?;
        trial.keep_input_headroom(&prepared.teacher, &seen);
        trial.seen = seen.iter().map(Histogram::condense).collect();
        let lesson = Lesson { teacher: &prepared.teacher, student: &trial.student, set: &prepared.taught, inputs: &prepared.inputs };
        trial.summary = tune(lesson, &mut trial.graph, &trial.plan, prepared, config, progress)?;
        Ok(trial)
    }

    /// Keeps the integers of inputs as wide as they are where samples do not fill them: others may.
    fn keep_input_headroom(&mut self, teacher: &Graph, seen: &[Histogram]) {
        for (point, activation) in self.plan.activations.iter().zip(&mut self.student.activations) {
            let (Some(params), Some(seen)) = (self.ranges.0.get(point.group), seen.get(point.group)) else { continue };
            let ((low, high), (least, most)) = (seen.range(), params.span(params.scale.first().copied().unwrap_or(1.0)));
            let filled = f64::from(high) - f64::from(low) >= FILLED * (most - least);
            activation.has_headroom |= teacher.is_input(point.value) && !filled;
        }
    }

    /// # Errors
    /// If plan and ranges do not fit the graph.
    pub fn untuned(prepared: &Prepared, assignment: Assignment, plan: QuantPlan, ranges: Ranges, config: &Config) -> Result<Self> {
        let mut graph = prepared.teacher.clone();
        let mut student = insert(&mut graph, &plan, &ranges)?;
        config.corrections.add_biases(&mut graph, &mut student);
        Ok(Trial { assignment, plan, ranges, seen: Vec::new(), graph, student, summary: None })
    }
}

/// # Errors
/// If a planned value cannot be computed.
pub(super) fn ranges_of(prepared: &Prepared, plan: &QuantPlan, config: &Config, progress: &dyn Progress) -> Result<Ranges> {
    choose(prepared, plan, &see(prepared, plan, config, progress)?, config)
}

/// What the groups of `plan` hold.
fn see(prepared: &Prepared, plan: &QuantPlan, config: &Config, progress: &dyn Progress) -> Result<Vec<Histogram>> {
    let Prepared { teacher, set, .. } = prepared;
    if config.ranges == RangeSource::Images {
        let values: Vec<ValueId> = plan.groups.iter().map(|group| group.value).collect();
        return histograms(teacher, &values, set, &config.execution, progress);
    }
    let moments = prepared.moments.clone().spread(teacher);
    let mut found: Vec<Option<Histogram>> = plan.groups.iter().map(|group| moments.histogram(teacher, group.value)).collect();
    let unknown: Vec<ValueId> = plan.groups.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(group, _)| group.value).collect();
    progress.note(&format!(
        "{} of {} ranges follow from BatchNormalization; the others are observed on the images",
        found.len() - unknown.len(),
        found.len()
    ));
    let observed = histograms(teacher, &unknown, set, &config.execution, progress)?;
    found.iter_mut().filter(|found| found.is_none()).zip(observed).for_each(|(found, seen)| *found = Some(seen));
    Ok(found.into_iter().flatten().collect())
}

fn choose(prepared: &Prepared, plan: &QuantPlan, seen: &[Histogram], config: &Config) -> Result<Ranges> {
    let Prepared { teacher, inputs, .. } = prepared;
    let name = config.observer.as_deref().unwrap_or("mse");
    let observer = observers::find(name).ok_or_else(|| Error::Usage(format!("there is no observer `{name}`")))?;
    let valid = teacher.inputs.iter().copied().zip(inputs.iter().map(|input| input.range.hull())).collect();
    let mut ranges = choose_ranges(plan, seen, observer.as_ref(), &valid);
    coverage_of(prepared, plan, config)?.widen(teacher, plan, seen, &mut ranges);
    Ok(ranges)
}

/// What samples show of the channels that results are made of.
///
/// # Errors
/// If these cannot be computed.
pub(super) fn coverage_of(prepared: &Prepared, plan: &QuantPlan, config: &Config) -> Result<Coverage> {
    let Prepared { teacher, set, active, .. } = prepared;
    Coverage::measure(teacher, plan, set, active.as_ref(), &config.execution)
}

/// Tunes the student: block by block first where its integers are of 4 bits, then in closed form, then as a whole.
fn tune(
    lesson: Lesson<'_>,
    graph: &mut Graph,
    plan: &QuantPlan,
    prepared: &Prepared,
    config: &Config,
    progress: &dyn Progress,
) -> Result<Option<distillation::Summary>> {
    let Prepared { budget, moments, set, .. } = prepared;
    let usual = Lesson { set, ..lesson };
    let types = plan.weights.iter().map(|point| point.data_type).chain(plan.groups.iter().map(|group| group.data_type));
    let narrow = types.into_iter().any(|data_type| Width::of(data_type) == Some(Width::Four));
    let reconstruct_steps = config.tuning.reconstruct_steps.unwrap_or(if narrow { budget.reconstruct_steps } else { 0 });
    let steps = config.tuning.distill_steps.map_or(budget.distill_steps, Steps::Exactly);
    if set.len() < 16 {
        correct(usual, graph, moments, config.corrections, &config.execution, progress)?;
        if reconstruct_steps > 0 || steps != Steps::Exactly(0) {
            progress.warn(&format!("{} samples are too few to tune on: the quantized model was not tuned", set.len()));
        }
        return Ok(None);
    }
    let Tuning { mixup, losses, .. } = config.tuning;
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
    correct(usual, graph, moments, corrections, &config.execution, progress)?;
    if steps == Steps::Exactly(0) {
        if config.tuning.distill_steps.is_none() {
            progress.note("the quantized model was not tuned: gradients and moments of so many weights take some twenty times their memory; --distill-steps N does it");
        }
        return Ok(None);
    }
    let found = distill(lesson, graph, &distillation::Config { mixup, losses, ..tuning }, progress)?;
    if found.kept_step == 0 {
        progress.note("distillation did not improve the quantized model on held-out samples: its first state is kept");
    }
    Ok(Some(found))
}
