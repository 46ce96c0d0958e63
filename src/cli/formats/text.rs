//! A comparison for people.

use super::super::describe::describe_comparison;
use super::super::text::{bytes, escape_name};
use crate::evaluation::{CompareReport, LayerComparison};

/// Layers that are told of.
const TOLD: usize = 8;

pub fn text(report: &CompareReport) -> String {
    let (reference, candidate) = (report.reference.bytes, report.candidate.bytes);
    let percent = 100.0 * candidate as f64 / reference.max(1) as f64;
    let mut text = describe_tasks(report) + &describe_comparison(&report.comparison);
    text += &format!("size: {} ({percent:.0} % of {})\n", bytes(candidate), bytes(reference));
    if let Some(latency) = &report.latency {
        text += &format!("latency: {latency} of the reference, one sample in ONNX Runtime\n");
    }
    text += &report.layers.as_deref().map(describe_layers).unwrap_or_default();
    for verdict in &report.verdicts {
        let word = if verdict.passed { "passed" } else { "MISSED" };
        text += &format!("{word} {}: {}\n", verdict.rule.name(), escape_name(&verdict.message));
    }
    text
}

/// What each output is taken for, and why, one line for those alike.
fn describe_tasks(report: &CompareReport) -> String {
    let mut groups: Vec<((&str, &str), Vec<String>)> = Vec::new();
    for output in &report.comparison.outputs {
        let (taken, name) = ((output.task.name(), output.task_reason.as_str()), format!("`{}`", escape_name(&output.name)));
        match groups.iter_mut().find(|(known, _)| *known == taken) {
            Some((_, names)) => names.push(name),
            None => groups.push((taken, vec![name])),
        }
    }
    let detection = report.comparison.detection.iter();
    let boxes = detection.map(|found| format!("boxes are read as {}: {}\n", found.decoder, escape_name(&found.reason)));
    groups.iter().map(|((task, reason), names)| format!("task {task} for {}: {reason}\n", names.join(", "))).chain(boxes).collect()
}

/// The values farthest from the reference.
fn describe_layers(layers: &[LayerComparison]) -> String {
    let mut worst: Vec<&LayerComparison> = layers.iter().collect();
    worst.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    let mut text = format!("{} values have the same name in both; the farthest:\n", layers.len());
    for layer in worst.iter().take(TOLD) {
        text += &format!("  {} `{}`: SQNR {:.1} dB\n", layer.operator, escape_name(&layer.name), layer.sqnr_db);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOSTILE, report};
    use super::*;

    #[test]
    fn says_what_passed_and_what_was_missed() {
        let text = text(&report("y", false));
        assert!(text.contains("passed min-sqnr: output `y`") && text.contains("MISSED min-agreement: output `y`"), "{text}");
        assert!(text.contains("top-1 accuracy of y: 90.00 % before, 89.50 % after, on 4 labelled samples"), "{text}");
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        let text = text(&report(HOSTILE, false));
        assert!(!text.contains('\u{1}') && !text.contains('\r') && !text.contains('\u{202e}'), "{text:?}");
    }
}
