//! A comparison as JUnit XML: a test case for each limit and what it is for. Valid by the schemas of Jenkins and of Ant, of which
//! one wants what the other allows.

use std::io;
use std::time::SystemTime;

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::super::text::escape_name;
use crate::error::{Error, Result};
use crate::evaluation::{CompareReport, Place, Verdict};

/// # Errors
/// If the XML cannot be written.
pub fn junit(report: &CompareReport) -> Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let internal = |error: &dyn std::fmt::Display| Error::Internal(format!("JUnit: {error}"));
    writer.create_element("testsuites").write_inner_content(|writer| suite(writer, report)).map_err(|error| internal(&error))?;
    let text = String::from_utf8(writer.into_inner()).map_err(|error| internal(&error))?;
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}\n"))
}

type Xml = Writer<Vec<u8>>;

fn suite(writer: &mut Xml, report: &CompareReport) -> io::Result<()> {
    let failures = report.verdicts.iter().filter(|verdict| !verdict.passed).count();
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let attributes = [
        ("id", "0".to_string()),
        ("package", "zeroq".to_string()),
        ("name", escape_name(&report.candidate.path)),
        ("timestamp", now.trim_end_matches('Z').to_string()),
        ("hostname", "localhost".to_string()),
        ("tests", report.verdicts.len().max(1).to_string()),
        ("failures", failures.to_string()),
        ("errors", "0".to_string()),
        ("time", format!("{:.3}", report.cost.seconds)),
    ];
    let attributes = attributes.iter().map(|(name, value)| (*name, value.as_str()));
    writer.create_element("testsuite").with_attributes(attributes).write_inner_content(|writer| {
        properties(writer, report)?;
        report.verdicts.iter().try_for_each(|verdict| case(writer, verdict))?;
        if report.verdicts.is_empty() {
            passed(writer, "compared, no limits were set", "zeroq")?;
        }
        let messages: Vec<String> = report.verdicts.iter().map(|verdict| escape_name(&verdict.message)).collect();
        writer.create_element("system-out").write_text_content(BytesText::new(&messages.join("\n")))?;
        let warnings: Vec<String> = report.warnings.iter().map(|warning| escape_name(warning)).collect();
        writer.create_element("system-err").write_text_content(BytesText::new(&warnings.join("\n")))?;
        Ok(())
    })?;
    Ok(())
}

fn properties(writer: &mut Xml, report: &CompareReport) -> io::Result<()> {
    let properties = [
        ("zeroq.version", report.version.to_string()),
        ("zeroq.reference", report.reference.path.clone()),
        ("zeroq.engine", report.comparison.engine.clone()),
        ("zeroq.samples", report.comparison.samples.to_string()),
    ];
    writer.create_element("properties").write_inner_content(|writer| {
        for (name, value) in &properties {
            let value = escape_name(value);
            writer.create_element("property").with_attributes([("name", *name), ("value", value.as_str())]).write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(writer: &mut Xml, verdict: &Verdict) -> io::Result<()> {
    let rule = verdict.rule.name();
    let name = match &verdict.place {
        Place::Model => rule.to_string(),
        place => format!("{rule} {}", escape_name(&place.to_string())),
    };
    let class = format!("zeroq.{rule}");
    if verdict.passed {
        return passed(writer, &name, &class);
    }
    let message = escape_name(&verdict.message);
    let attributes = [("name", name.as_str()), ("classname", class.as_str()), ("time", "0")];
    writer.create_element("testcase").with_attributes(attributes).write_inner_content(|writer| {
        let failure = writer.create_element("failure").with_attributes([("message", message.as_str()), ("type", rule)]);
        failure.write_text_content(BytesText::new(&message))?;
        Ok(())
    })?;
    Ok(())
}

fn passed(writer: &mut Xml, name: &str, class: &str) -> io::Result<()> {
    writer.create_element("testcase").with_attributes([("name", name), ("classname", class), ("time", "0")]).write_empty().map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOSTILE, report};
    use super::*;

    #[test]
    fn a_missed_limit_is_a_failure() {
        let text = junit(&report("y", false)).unwrap();
        assert!(text.contains(r#"tests="2" failures="1" errors="0""#), "{text}");
        assert!(text.contains(r#"<failure message="output `y`: 98.5 found, 99 asked" type="min-agreement">"#), "{text}");
        assert!(text.contains(r#"name="b &amp; c.onnx""#), "{text}");
        assert!(!junit(&report("y", true)).unwrap().contains("<failure"));
    }

    #[test]
    fn names_are_no_markup() {
        let text = junit(&report(HOSTILE, false)).unwrap();
        assert!(!text.contains("<script>") && !text.contains('\u{1}'), "{text}");
        let mut reader = quick_xml::Reader::from_str(&text);
        while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
    }
}
