//! What `zeroq compare` writes as JUnit is valid by the schema of Jenkins, whatever came out.
//!
//! Needs `ZEROQ_PYTHON`, an interpreter with tests/requirements.txt; `make test` provides it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The report of comparing a network with itself under a name that is markup, in `folder`.
fn report(folder: &Path, name: &str, limits: &[&str]) -> i32 {
    let model = Path::new(ROOT).join("models/digits_resnet.onnx");
    let copy = folder.join("a & <b> \"c\".onnx");
    std::fs::copy(&model, &copy).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    command.arg("compare").args([&model, &copy]).args(["-n", "8", "--steps", "2", "--write"]).arg(format!("junit={name}"));
    command.args(limits).current_dir(folder).env_remove("ORT_DYLIB_PATH").output().unwrap().status.code().unwrap()
}

#[test]
fn every_outcome_is_valid_by_the_schema_of_jenkins() {
    let folder = TempDir::new().unwrap();
    let cases = [
        ("none.xml", 0, &[][..]),
        ("passed.xml", 0, &["--min-agreement", "90", "--layers", "--min-layer-sqnr", "20"]),
        ("missed.xml", 1, &["--max-size", "0.1x", "--min-sqnr", "20"]),
    ];
    for (name, code, limits) in cases {
        assert_eq!(report(folder.path(), name, limits), code, "{name}");
    }
    let python = std::env::var("ZEROQ_PYTHON").expect("ZEROQ_PYTHON names no Python; run `make test`");
    let mut check = Command::new(python);
    check.arg(Path::new(ROOT).join("tests/check_junit.py")).args(cases.map(|(name, ..)| folder.path().join(name)));
    let done = check.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
