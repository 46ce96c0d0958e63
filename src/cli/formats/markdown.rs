//! A comparison as tables, for a job summary or a comment.

use super::super::describe::describe_boxes;
use super::super::text::{bytes, escape_name, shape};
use crate::evaluation::{CompareReport, Labelled, LayerComparison, LeftOut, Unit};

/// Layers that are told of.
const TOLD: usize = 20;

pub fn markdown(report: &CompareReport) -> String {
    let verdict = if report.passed { "passed" } else { "**failed**" };
    let (reference, candidate) = (&report.reference, &report.candidate);
    let percent = 100.0 * candidate.bytes as f64 / reference.bytes.max(1) as f64;
    let mut text = format!("## zeroq compare: {verdict}\n\n");
    text += &format!(
        "{} ({}, {percent:.0} %) against {} ({}), on {} samples in {}.\n\n",
        cell(&candidate.path),
        bytes(candidate.bytes),
        cell(&reference.path),
        bytes(reference.bytes),
        report.comparison.samples,
        cell(&report.comparison.engine)
    );
    text += &verdicts(report);
    text += &outputs(report);
    if let Some(found) = &report.comparison.detection {
        text += &format!("\n{} (read so: {}).\n", cell(&describe_boxes(found)), cell(&found.reason));
    }
    for Labelled { measure, samples, reference, candidate, .. } in &report.comparison.labelled {
        text += &format!("\n{measure} with the labels: {candidate:.4}, {reference:.4} before, on {samples} labelled samples.\n");
    }
    if let Some(accuracy) = &report.comparison.accuracy {
        let (before, after) = (accuracy.reference_percent, accuracy.candidate_percent);
        text += &format!("\nTop-1 accuracy: {after:.2} %, {before:.2} % before, on {} labelled samples.\n", accuracy.samples);
    }
    if let Some(latency) = &report.latency {
        text += &format!("\nLatency of one sample in ONNX Runtime: {latency} of the reference.\n");
    }
    text += &report.layers.as_deref().map(layers).unwrap_or_default();
    for warning in &report.warnings {
        text += &format!("\n> warning: {}\n", cell(warning));
    }
    text
}

fn verdicts(report: &CompareReport) -> String {
    if report.verdicts.is_empty() {
        return String::new();
    }
    let mut text = "| | limit | found |\n|---|---|---|\n".to_string();
    for verdict in &report.verdicts {
        let word = if verdict.passed { "passed" } else { "**missed**" };
        text += &format!("| {word} | {} | {} |\n", verdict.rule.name(), cell(&verdict.message));
    }
    text + "\n"
}

fn outputs(report: &CompareReport) -> String {
    let mut text =
        "| output | shape | task | agreement | SQNR | worst tenth | cosine | greatest error |\n|---|---|---|---|---|---|---|---|\n"
            .to_string();
    for output in &report.comparison.outputs {
        let of = output.agreement_of.filter(|unit| *unit != Unit::Samples).map(|unit| format!(" of {}", unit.name())).unwrap_or_default();
        let agreement = output.agreement_percent.map_or("–".into(), |percent| format!("{percent:.2} %{of}"));
        let overlap = output.overlap.map(|overlap| format!(", mean IoU {:.4}", overlap.mean_iou)).unwrap_or_default();
        let (name, sizes) = (cell(&output.name), shape(&output.shape));
        text += &format!(
            "| {name} | {sizes} | {} | {agreement}{overlap} | {:.2} dB | {:.2} dB | {:.6} | {:.3e} |\n",
            output.task.name(),
            output.sqnr_db,
            output.worst_decile_sqnr_db,
            output.cosine,
            output.max_abs_error
        );
        if let (Some(errors), Some(cosines)) = (output.errors, output.cosines) {
            let rank1 = output.rank1_percent.map(|percent| format!(", {percent:.2} % found again")).unwrap_or_default();
            let (median, p99, worst) = (errors.median, errors.p99, cosines.worst_decile);
            let error = format!("{median:.3e} median, {p99:.3e} for 99 %");
            text += &format!("| {name}, by samples | – | – | –{rank1} | – | – | {worst:.6} on the worst tenth | {error} |\n");
        }
        for part in &output.parts {
            text += &format!("| {name}, {part} | up to {:.3} | – | – | {:.2} dB | – | – | – |\n", part.peak, part.sqnr_db);
        }
    }
    for LeftOut { name, reason } in &report.comparison.left_out {
        text += &format!("| {} | – | not compared: {} | – | – | – | – | – |\n", cell(name), cell(reason));
    }
    text
}

fn layers(layers: &[LayerComparison]) -> String {
    let mut worst: Vec<&LayerComparison> = layers.iter().collect();
    worst.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    let mut text = format!("\nFarthest of {} values within the networks:\n\n| value | made by | SQNR |\n|---|---|---|\n", layers.len());
    for layer in worst.iter().take(TOLD) {
        text += &format!("| {} | {} | {:.2} dB |\n", cell(&layer.name), cell(&layer.operator), layer.sqnr_db);
    }
    text
}

/// Text that says itself alone within a cell: no markup, no HTML, no end of the cell.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for character in escape_name(text).chars() {
        match character {
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            '&' => cell.push_str("&amp;"),
            '@' => cell.push_str("&#64;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '!' | '\\' | '~' | '#' => cell.extend(['\\', character]),
            character => cell.push(character),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOSTILE, report};
    use super::*;

    #[test]
    fn what_was_missed_stands_in_a_table() {
        let text = markdown(&report("y", false));
        assert!(text.starts_with("## zeroq compare: **failed**\n"), "{text}");
        assert!(text.contains("| **missed** | min-agreement | output \\`y\\`: 98.5 found, 99 asked |"), "{text}");
        assert!(text.contains("| y | 1x10 | classify | 98.50 % | 30.25 dB | 27.00 dB | 0.999000 | 1.250e-1 |"), "{text}");
    }

    #[test]
    fn names_stay_within_their_cell() {
        let text = markdown(&report(HOSTILE, false));
        assert!(!text.contains("<script>") && !text.contains('\u{1}'), "{text}");
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let ends = |row: &str| row.replace("\\|", "").matches('|').count();
        let odd: Vec<&str> = rows.filter(|row| ![4, 9].contains(&ends(row))).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}
