//! What a run may take, and that it asks first.

use std::fs;

use assert_cmd::Command;
use tempfile::TempDir;

#[test]
fn too_little_memory_is_refused_and_nothing_is_written() {
    let place = TempDir::new().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
    let output = place.path().join("out.onnx");
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    let done = command.args(["quantize", model, "--max-memory", "1M", "-o"]).arg(&output).output().unwrap();
    let message = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{message}");
    assert!(message.contains("error[E0801]: not enough memory for") && message.contains("--max-memory"), "{message}");
    assert_eq!(message.matches("error[").count(), 1, "{message}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn results_do_not_depend_on_the_memory_allowed() {
    let place = TempDir::new().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
    let run = |name: &str, flags: &[&str]| {
        let output = place.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
        command.args(["quantize", model, "-n", "512", "--steps", "4", "--distill-steps", "4", "--json", "-o"]).arg(&output).args(flags);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        (fs::read(output).unwrap(), report["cost"]["peak_memory_bytes"].as_u64())
    };
    let (free, peak) = run("free.onnx", &[]);
    let Some(peak) = peak else { return };
    let (bound, _) = run("bound.onnx", &["--max-memory", &peak.to_string()]);
    assert!(free == bound);
}
