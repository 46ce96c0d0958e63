//! Ranges of inputs: said, found, guessed, refused.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Dark pictures, so that two usual ranges explain their statistics.
const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
/// Three channels, which leave no doubt.
const SQUEEZENET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_squeezenet.onnx");

fn quantize(place: &Path, model: &str, more: &[&str]) -> Output {
    let little = ["quantize", model, "-o", "q.onnx", "--force", "-n", "24", "--steps", "4", "--no-distill", "--check-sqnr", "0"];
    let little = [&little[..], &["--check-agreement", "0", "--json"], more].concat();
    Command::new(env!("CARGO_BIN_EXE_zeroq")).args(little).current_dir(place).env_remove("ORT_DYLIB_PATH").output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", messages(output)))
}

fn messages(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_guess_is_in_the_report_and_in_the_verdict_and_strict_ends_with_one() {
    let place = TempDir::new().unwrap();
    let guessed = quantize(place.path(), RESNET, &["--strict"]);
    assert_eq!(guessed.status.code(), Some(1), "{}", messages(&guessed));
    assert!(place.path().join("q.onnx").exists() && messages(&guessed).contains("its range is not certain"));
    let found = report(&guessed);
    let input = &found["inputs"][0];
    assert_eq!((&input["certainty"], &input["range"], &input["runner_up"]), (&"unsure".into(), &"signed".into(), &"standardized".into()));
    assert!(input["low"].as_f64() < Some(-1.5) && input["high"].as_f64() > Some(1.5), "both are covered: {input}");
    assert_eq!(found["check"]["verdict"], "passed, but the range of input `image` was guessed (--input-range)");
    let sources: Vec<&str> =
        found["check"]["witnesses"].as_array().unwrap().iter().filter_map(|witness| witness["source"].as_str()).collect();
    assert_eq!(sources.len(), 3, "{sources:?}");
    let said = quantize(place.path(), RESNET, &["--strict", "--input-range", "image=signed"]);
    assert_eq!((said.status.code(), &report(&said)["inputs"][0]["certainty"]), (Some(0), &"given".into()), "{}", messages(&said));
    assert_eq!(report(&said)["check"]["verdict"], "passed");
}

#[test]
fn a_range_that_must_be_known_is_not_guessed() {
    let place = TempDir::new().unwrap();
    let refused = quantize(place.path(), RESNET, &["--require-range"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(messages(&refused).contains("--require-range: input `image`"), "{}", messages(&refused));
    assert!(!place.path().join("q.onnx").exists());
    let found = quantize(place.path(), SQUEEZENET, &["--require-range"]);
    assert_eq!(found.status.code(), Some(0), "{}", messages(&found));
    assert_eq!(report(&found)["inputs"][0]["certainty"], "found");
    let unknown = quantize(place.path(), RESNET, &["--input-range", "picture=unit"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(messages(&unknown).contains("no such input; it has `image`"), "{}", messages(&unknown));
}
