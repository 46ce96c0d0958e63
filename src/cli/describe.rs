//! Reports of quantization in words.

use super::check::describe_check;
use super::mixed::describe_mixed;
use super::synthesize::describe_assessment;
use super::text::{bytes, escape_name};
use crate::evaluation::{Comparison, Detection, InputReport, Labelled, LeftOut, OutputComparison, QuantizeReport, Unit};
use crate::progress::abridged;

/// All that there is to say of a quantization.
pub fn describe_report(report: &QuantizeReport) -> String {
    let (before, after) = (report.model.bytes, report.output.bytes);
    let percent = 100.0 * after as f64 / before.max(1) as f64;
    let mut text = format!("{}: {} ({percent:.0} % of {})\n", escape_name(&report.output.path), bytes(after), bytes(before));
    let kernels = &report.kernels;
    report.inputs.iter().filter(|input| input.doubt.is_some()).for_each(|input| text += &describe_input(input));
    if kernels.integer + kernels.float > 0 {
        text += &format!("kernels: {} integer, {} float\n", kernels.integer, kernels.float);
    }
    let told = kernels
        .float_nodes
        .iter()
        .map(|kernel| format!("{} `{}`: {}", kernel.operator, escape_name(&kernel.node), escape_name(&kernel.reason)));
    abridged(told).for_each(|line| text += &format!("  float: {line}\n"));
    text += &report.mixed.as_ref().map(describe_mixed).unwrap_or_default();
    text += &describe_assessment(&report.assessment);
    if let Some(tuning) = &report.distillation {
        text += &format!(
            "tuned for {} steps: error {:.5} before, {:.5} after, on {} samples held out\n",
            tuning.steps, tuning.loss_before, tuning.loss_after, tuning.held_out
        );
    }
    text += &report.check.as_ref().map(describe_check).unwrap_or_default();
    if let Some(comparison) = &report.comparison {
        text += &describe_comparison(comparison);
    }
    let memory = report.cost.peak_memory_bytes.map(|peak| format!(", {} of memory at most", bytes(peak))).unwrap_or_default();
    text + &format!("took {:.1} s on {} threads ({}){memory}\n", report.cost.seconds, report.cost.threads, report.cost.isa)
}

/// An input whose range was guessed.
fn describe_input(input: &InputReport) -> String {
    let InputReport { name, range, low, high, runner_up, .. } = input;
    let next = runner_up.as_ref().map_or(String::new(), |next| format!("; next {}", escape_name(next)));
    format!("input `{}`: {} ({low:.3} to {high:.3}), GUESSED{next}\n", escape_name(name), escape_name(range))
}

/// One line for the engine and one for each output.
pub fn describe_comparison(comparison: &Comparison) -> String {
    let reason = if comparison.engine_reason.is_empty() { String::new() } else { format!(" ({})", escape_name(&comparison.engine_reason)) };
    let mut text = format!("compared on {} samples in {}{reason}\n", comparison.samples, comparison.engine);
    text += &comparison.outputs.iter().map(describe_output).collect::<String>();
    for LeftOut { name, reason } in &comparison.left_out {
        text += &format!("  {}: not compared: {reason}\n", escape_name(name));
    }
    text += &comparison.detection.as_ref().map(|found| format!("  {}\n", describe_boxes(found))).unwrap_or_default();
    for Labelled { measure, samples, reference, candidate, .. } in &comparison.labelled {
        text += &format!("  {measure} with the labels: {reference:.4} before, {candidate:.4} after, on {samples} labelled samples\n");
    }
    if let Some(accuracy) = &comparison.accuracy {
        text += &format!(
            "  top-1 accuracy of {}: {:.2} % before, {:.2} % after, on {} labelled samples\n",
            escape_name(&accuracy.output),
            accuracy.reference_percent,
            accuracy.candidate_percent,
            accuracy.samples
        );
    }
    text
}

/// Its figures, and those of its parts where their numbers are of unlike size.
fn describe_output(output: &OutputComparison) -> String {
    let of = output.agreement_of.filter(|unit| *unit != Unit::Samples).map(|unit| format!(" of {}", unit.name())).unwrap_or_default();
    let agreement = output.agreement_percent.map(|percent| format!("agreement {percent:.2} %{of}, ")).unwrap_or_default();
    let overlap =
        output.overlap.map(|overlap| format!("mean IoU {:.4} of {} classes, ", overlap.mean_iou, overlap.classes)).unwrap_or_default();
    let mut text = format!(
        "  {}: {agreement}{overlap}SQNR {:.1} dB ({:.1} dB on the worst tenth), cosine {:.5}, max error {:.3e}\n",
        escape_name(&output.name),
        output.sqnr_db,
        output.worst_decile_sqnr_db,
        output.cosine,
        output.max_abs_error
    );
    text += &describe_numbers(output);
    for part in &output.parts {
        text += &format!("    {part}, up to {:.3}: SQNR {:.1} dB\n", part.peak, part.sqnr_db);
    }
    text
}

/// How the boxes of both models lie, in one line.
pub fn describe_boxes(found: &Detection) -> String {
    let Detection { decoder, least_score, reference_boxes, candidate_boxes, .. } = found;
    let mut text = format!("boxes ({decoder}, score {least_score} at least): {reference_boxes} before, {candidate_boxes} after");
    if *reference_boxes == 0 {
        return text + ": the reference finds nothing on these samples, which tells nothing";
    }
    let percent = found.matched_percent.map(|percent| format!(", {percent:.2} % have a partner")).unwrap_or_default();
    let overlap = found.mean_iou.map(|overlap| format!(", mean IoU {overlap:.4}")).unwrap_or_default();
    text += &format!("{percent}{overlap}");
    let (Some(half), Some(all)) = (found.map_50, found.map_50_95) else { return text };
    text + &format!("; mAP of the reference's boxes {half:.4} at 0.5, {all:.4} at 0.5:0.95")
}

/// Errors and cosines of outputs that are numbers, in a line of their own.
fn describe_numbers(output: &OutputComparison) -> String {
    let errors = output.errors.map(|errors| format!("errors: {:.3e} median, {:.3e} for 99 of 100; ", errors.median, errors.p99));
    let cosines =
        output.cosines.map(|found| format!("cosines: {:.5} on average, {:.5} on the worst tenth", found.mean, found.worst_decile));
    let rank1 = output.rank1_percent.map(|percent| format!("; {percent:.2} % found again"));
    let text = [errors, cosines, rank1].into_iter().flatten().collect::<String>();
    if text.is_empty() { text } else { format!("    {text}\n") }
}
