//! A comparison as JUnit XML: a test case for each limit and what it is for.

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::super::text::escape_name;
use crate::error::{Error, Result};
use crate::evaluation::{CompareReport, Place, Verdict};

/// # Errors
/// If the XML cannot be written.
pub fn junit(report: &CompareReport) -> Result<String> {
    let mut suite = TestSuite::new(escape_name(&report.candidate.path));
    let property = |name: &str, value: String| Property::new(name, escape_name(&value));
    suite.add_property(property("zeroq.version", report.version.to_string()));
    suite.add_property(property("zeroq.reference", report.reference.path.clone()));
    suite.add_property(property("zeroq.engine", report.comparison.engine.clone()));
    suite.add_property(property("zeroq.samples", report.comparison.samples.to_string()));
    suite.add_test_cases(report.verdicts.iter().map(case));
    if report.verdicts.is_empty() {
        suite.add_test_case(TestCase::new("compared, no limits were set", TestCaseStatus::success()));
    }
    let mut whole = Report::new("zeroq compare");
    whole.add_test_suite(suite);
    let mut text = whole.to_string().map_err(|error| Error::Internal(error.to_string()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn case(verdict: &Verdict) -> TestCase {
    let rule = verdict.rule.name();
    let message = escape_name(&verdict.message);
    let mut status = TestCaseStatus::success();
    if !verdict.passed {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(message.clone()).set_type(rule);
    }
    let name = match &verdict.place {
        Place::Model => rule.to_string(),
        place => format!("{rule} {}", escape_name(&place.to_string())),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("zeroq.{rule}")).set_system_out(message);
    case
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOSTILE, report};
    use super::*;

    #[test]
    fn a_missed_limit_is_a_failure() {
        let text = junit(&report("y", false)).unwrap();
        assert!(text.contains(r#"tests="2""#) && text.contains(r#"failures="1""#), "{text}");
        assert!(text.contains(r#"<failure message="output `y`: 98.5 found, 99 asked" type="min-agreement""#), "{text}");
        assert!(text.contains(r#"name="b &amp; c.onnx""#), "{text}");
        assert_eq!(junit(&report("y", false)).unwrap(), text, "the same report gives the same bytes");
    }

    #[test]
    fn names_are_no_markup() {
        let text = junit(&report(HOSTILE, false)).unwrap();
        assert!(!text.contains("<script>") && !text.contains('\u{1}'), "{text}");
    }
}
