//! A comparison as SARIF 2.1.0: a result for each limit that is missed.
//!
//! A model has no lines: results point at the start of the file, their logical location names the output or the layer.

use serde_json::{Value, json};

use crate::evaluation::{CompareReport, Place, Rule, Verdict, sha256};

pub fn sarif(report: &CompareReport) -> Value {
    let rules: Vec<Value> = Rule::ALL.iter().map(|rule| describe(*rule)).collect();
    let missed = report.verdicts.iter().filter(|verdict| !verdict.passed);
    let results: Vec<Value> = missed.map(|verdict| result(report, verdict)).collect();
    let notifications: Vec<Value> =
        report.warnings.iter().map(|warning| json!({ "level": "warning", "message": { "text": warning } })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "zeroq", "semanticVersion": report.version, "rules": rules } },
            "invocations": [{ "executionSuccessful": true, "toolExecutionNotifications": notifications }],
            "results": results,
        }],
    })
}

fn describe(rule: Rule) -> Value {
    json!({
        "id": rule.name(),
        "shortDescription": { "text": rule.description() },
        "help": { "text": format!("{}. Set with `zeroq compare --{}`.", rule.description(), rule.name()) },
        "defaultConfiguration": { "level": "error" },
    })
}

fn result(report: &CompareReport, verdict: &Verdict) -> Value {
    let logical = match &verdict.place {
        Place::Model => json!([]),
        place => json!([{ "name": place.name(), "fullyQualifiedName": place.to_string(), "kind": "element" }]),
    };
    let index = Rule::ALL.iter().position(|rule| *rule == verdict.rule);
    json!({
        "ruleId": verdict.rule.name(),
        "ruleIndex": index,
        "level": "error",
        "message": { "text": verdict.message },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&report.candidate.path) },
                "region": { "startLine": 1 },
            },
            "logicalLocations": logical,
        }],
        "partialFingerprints": { "zeroqPlace/v1": sha256(format!("{} {}", verdict.rule.name(), verdict.place).as_bytes()) },
        "properties": { "found": verdict.found, "limit": verdict.limit },
    })
}

/// A path as a relative or absolute reference (RFC 3986): anything but the unreserved characters and `/` is a code.
fn uri(path: &str) -> String {
    let path = path.replace('\\', "/");
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => (byte as char).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOSTILE, report};
    use super::*;

    #[test]
    fn a_missed_limit_is_a_result_at_the_candidate() {
        let value = sarif(&report("y", false));
        let results = value["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.len(), 1);
        let place = &results[0]["locations"][0];
        assert_eq!(place["physicalLocation"]["artifactLocation"]["uri"], "b%20%26%20c.onnx");
        assert_eq!(place["logicalLocations"][0]["fullyQualifiedName"], "output `y`");
        let rules = value["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules[results[0]["ruleIndex"].as_u64().unwrap() as usize]["id"], results[0]["ruleId"]);
        assert!(sarif(&report("y", true))["runs"][0]["results"].as_array().unwrap().is_empty());
    }

    #[test]
    fn one_place_has_one_fingerprint_and_another_another() {
        let print = |name: &str| sarif(&report(name, false))["runs"][0]["results"][0]["partialFingerprints"].clone();
        assert!(print("y") == print("y") && print("y") != print(HOSTILE));
    }
}
