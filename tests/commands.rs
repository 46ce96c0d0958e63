//! The commands that tell facts: `explain`, `targets`, `completions`, `man`.

use std::fs;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;
use zeroq::error::EXPLANATIONS;
use zeroq::quantization::targets;

/// Exit code, stdout and stderr.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    let output = command.args(arguments).env_remove("CLICOLOR_FORCE").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn result(arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    stdout
}

fn json(arguments: &[&str]) -> Value {
    let value: Value = serde_json::from_str(&result(&[arguments, &["--json"]].concat())).unwrap();
    assert_eq!((&value["schema"], &value["command"]), (&Value::from(1), &Value::from(arguments[0])));
    value
}

#[test]
fn explain_lists_every_code_and_tells_each_in_full() {
    let list = result(&["explain"]);
    assert_eq!(list.lines().count(), EXPLANATIONS.len());
    for explanation in EXPLANATIONS {
        assert!(list.contains(&format!("{}  {}\n", explanation.code, explanation.title())));
        assert_eq!(result(&["explain", explanation.code]), explanation.text);
    }
    assert_eq!(json(&["explain", "e0801"])["code"], "E0801");
    assert_eq!(json(&["explain"])["errors"].as_array().unwrap().len(), EXPLANATIONS.len());
}

#[test]
fn an_unknown_code_is_refused_with_all_that_there_are() {
    let (code, stdout, stderr) = run(&["explain", "E0999"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.starts_with("error[E0401]: there is no error `E0999`"), "{stderr}");
    assert!(EXPLANATIONS.iter().all(|one| stderr.contains(one.code)), "{stderr}");
}

#[test]
fn targets_are_listed_and_their_rules_shown() {
    let list = result(&["targets"]);
    let all = json(&["targets"]);
    assert_eq!(list.lines().count(), targets::all().len());
    for (target, rules) in targets::all().iter().zip(all["targets"].as_array().unwrap()) {
        assert!(list.contains(target.name) && list.contains(target.description));
        let text = result(&["targets", target.name]);
        for part in [target.placement.description(), target.format.description(), target.runs_in, target.tested] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!((&rules["name"], &rules["integer_bias"]), (&Value::from(target.name), &Value::from(target.integer_bias)));
        assert_eq!(json(&["targets", target.name])["targets"], Value::from(vec![rules.clone()]));
    }
    assert!(result(&["targets", "tensorrt"]).contains("zero point 0\n"));
    let (code, stdout, stderr) = run(&["targets", "abacus"]);
    assert!((code, stdout.as_str()) == (Some(2), "") && stderr.contains("tensorrt"), "{stderr}");
}

#[test]
fn precisions_of_a_target_are_those_that_quantize_takes() {
    let folder = TempDir::new().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
    let output = folder.path().join("q.onnx").to_string_lossy().into_owned();
    for rules in json(&["targets"])["targets"].as_array().unwrap() {
        let name = rules["name"].as_str().unwrap();
        for precision in ["int8", "w4a8", "w4a4", "w8a16"] {
            let fast = ["-n", "2", "--steps", "1", "--no-distill", "--no-check", "--force", "-q", "--shape", "image=1x1x16x16"];
            let (code, _, stderr) =
                run(&[&["quantize", model, "-o", &output, "--target", name, "--precision", precision], &fast[..]].concat());
            let listed = rules["precisions"].as_array().unwrap().contains(&Value::from(precision));
            assert_eq!(code == Some(0), listed, "{name} {precision}: {stderr}");
        }
    }
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = result(&["completions", shell]);
        for word in ["quantize", "similarity", "bench", "stats-from", "max-size"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert_eq!(json(&["completions", shell])["script"], script);
    }
    let (code, _, stderr) = run(&["completions", "cmd"]);
    assert!(code == Some(2) && stderr.contains("powershell"), "{stderr}");
}

#[test]
#[cfg(unix)]
fn bash_takes_the_completions() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("zeroq");
    fs::write(&script, result(&["completions", "bash"])).unwrap();
    let ask =
        format!("source '{}'; COMP_WORDS=(zeroq sim); COMP_CWORD=1; _zeroq zeroq sim zeroq; echo \"${{COMPREPLY[*]}}\"", script.display());
    let output = std::process::Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "similarity");
}

#[test]
fn a_page_is_printed_or_all_are_written_and_none_is_replaced_unasked() {
    let page = result(&["man"]);
    assert!(page.contains(".TH zeroq 1") && page.contains("Exit codes"), "{page}");
    assert!(result(&["man", "bench"]).contains(".TH zeroq\\-bench 1") || result(&["man", "bench"]).contains(".TH zeroq-bench 1"));
    let folder = TempDir::new().unwrap();
    let place = folder.path().to_string_lossy().into_owned();
    assert_eq!(result(&["man", "-o", &place]), "");
    assert_eq!(fs::read_to_string(folder.path().join("zeroq.1")).unwrap(), page);
    let count = fs::read_dir(folder.path()).unwrap().count();
    assert!(folder.path().join("zeroq-quantize.1").is_file() && count > 8);
    for (arguments, says) in [
        (&["man", "-o", &place][..], "--force"),
        (&["man", "-o", "no/such/folder"], "no such folder"),
        (&["man", "melt"], "there is no command `melt`; there are quantize"),
        (&["man", "--force"], "--output"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert!((code, stdout.as_str()) == (Some(2), "") && stderr.contains(says), "{arguments:?}: {stderr}");
    }
    assert_eq!(result(&["man", "-o", &place, "--force"]), "");
    assert_eq!(json(&["man", "explain"])["pages"].as_object().unwrap().len(), 1);
}
