//! Annotations of GitHub Actions: workflow commands that a runner finds in what a step prints.

use crate::evaluation::CompareReport;

/// An error for each limit that is missed, and a notice that says how it went.
pub fn annotations(report: &CompareReport) -> String {
    let file = property(&report.candidate.path);
    let missed = report.verdicts.iter().filter(|verdict| !verdict.passed);
    let lines = missed.map(|verdict| {
        format!("::error file={file},title={}::{}\n", property(&format!("zeroq {}", verdict.rule.name())), message(&verdict.message))
    });
    let count = report.verdicts.len();
    let passed = report.verdicts.iter().filter(|verdict| verdict.passed).count();
    let summary = match (count, report.comparison.least_sqnr()) {
        (0, Some(sqnr)) => format!("no limits were set; SQNR {sqnr:.1} dB at least"),
        _ => format!("{passed} of {count} limits are met"),
    };
    lines.collect::<String>() + &format!("::notice file={file},title=zeroq compare::{}\n", message(&summary))
}

/// The text of a command: what would end it is written as a code.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As [`message`], for a property, which `:` and `,` would end as well.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOSTILE, report};
    use super::*;

    #[test]
    fn a_missed_limit_is_an_error_at_the_candidate() {
        let text = annotations(&report("y", false));
        let first = "::error file=b & c.onnx,title=zeroq min-agreement::output `y`: 98.5 found, 99 asked\n";
        assert_eq!(text, format!("{first}::notice file=b & c.onnx,title=zeroq compare::1 of 2 limits are met\n"));
        assert!(!annotations(&report("y", true)).contains("::error"));
    }

    #[test]
    fn names_begin_no_commands() {
        let text = annotations(&report(HOSTILE, false));
        assert!(text.lines().all(|line| line.starts_with("::error file=") || line.starts_with("::notice file=")), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
