//! Habits of exporters, one small file each (tests/make_zoo.py, tests/zoo): every one quantizes, and runs in ONNX Runtime as before.
//!
//! Needs `ZEROQ_PYTHON`, an interpreter with tests/requirements.txt; `make test` provides it.

use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::LazyLock;

use assert_cmd::Command;
use rayon::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The zoo, made once for all tests of this file.
static ZOO: LazyLock<Zoo> = LazyLock::new(Zoo::make);

struct Zoo {
    folder: TempDir,
    rows: Vec<Value>,
}

impl Zoo {
    fn make() -> Self {
        let folder = TempDir::new().unwrap();
        let done = Process::new(python()).arg(script("make_zoo.py")).arg(folder.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let text = std::fs::read_to_string(folder.path().join("zoo.json")).unwrap();
        Self { rows: serde_json::from_str(&text).unwrap(), folder }
    }

    /// `key` is `file`, or `reference`: what ONNX Runtime runs to say what the file computes.
    fn path(&self, row: &Value, key: &str) -> PathBuf {
        self.folder.path().join(row[key].as_str().unwrap())
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn python() -> String {
    std::env::var("ZEROQ_PYTHON").expect("ZEROQ_PYTHON names no Python; run `make test`")
}

/// `Err` says what went wrong; a table of all files is more use than the first failure.
fn quantize(row: &Value, output: &Path, precision: &str) -> Result<(), String> {
    let mut command = Command::cargo_bin("zeroq").unwrap();
    command.arg("quantize").arg(ZOO.path(row, "file")).arg("-o").arg(output).args(["--precision", precision, "--threads", "1"]);
    command.args(row["flags"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()));
    if precision != "fp16" {
        command.args(["-n", "16", "--steps", "30", "--distill-steps", "20"]);
    }
    if precision == "int8" {
        command.args(["--objective", "integer"]);
    }
    let done = command.output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// What ONNX Runtime says of the results beside what the files compute; one process, since most of its time is the start.
fn check(folder: &Path, rows: &[&Value]) -> Vec<Value> {
    let arguments = |row: &&Value| {
        let output = folder.join(row["file"].as_str().unwrap());
        let range = format!("--range={}", row["range"].as_str().unwrap());
        json!([output, ZOO.path(row, "reference"), range, "--samples=8"])
    };
    let batch = tempfile::NamedTempFile::new_in(folder).unwrap();
    std::fs::write(&batch, Value::Array(rows.iter().map(arguments).collect()).to_string()).unwrap();
    let done = Process::new(python()).arg(script("check_model.py")).arg(batch.path()).arg("--batch").output().unwrap();
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)))
}

fn worst_sqnr(result: &Value) -> f64 {
    result["sqnr_db"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).fold(f64::INFINITY, f64::min)
}

/// Quantizes the whole zoo and returns what failed or came out below `least_sqnr` decibels.
fn find_failures(precision: &str, least_sqnr: f64) -> Vec<String> {
    let folder = TempDir::new().unwrap();
    let name = |row: &Value| row["file"].as_str().unwrap().to_string();
    let work = |row: &Value| quantize(row, &folder.path().join(name(row)), precision).map_err(|reason| format!("{}: {reason}", name(row)));
    let done: Vec<Result<(), String>> = ZOO.rows.par_iter().map(work).collect();
    let written: Vec<&Value> = ZOO.rows.iter().zip(&done).filter(|(_, done)| done.is_ok()).map(|(row, _)| row).collect();
    let mut failures: Vec<String> = done.into_iter().filter_map(Result::err).collect();
    for (row, result) in written.iter().zip(check(folder.path(), &written)) {
        let least = row["floor"].as_f64().map_or(least_sqnr, |floor| floor.min(least_sqnr));
        if result["ok"] != true || worst_sqnr(&result) < least {
            failures.push(format!("{}: {result}", name(row)));
        }
    }
    failures
}

#[test]
fn every_file_of_the_zoo_becomes_int8() {
    let failures = find_failures("int8", 10.0);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Noise through 4-bit layers with random weights says little: the files must be valid and run.
#[test]
fn every_file_of_the_zoo_takes_the_other_widths() {
    for (precision, least_sqnr) in [("w4a8", 0.0), ("w4a4", -10.0), ("w8a16", 10.0)] {
        let failures = find_failures(precision, least_sqnr);
        assert!(failures.is_empty(), "{precision}: {}", failures.join("\n"));
    }
}

#[test]
fn every_file_of_the_zoo_becomes_fp16() {
    let failures = find_failures("fp16", 40.0);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn inspect_counts_the_batch_normalizations_of_every_file() {
    for row in &ZOO.rows {
        let done = Command::cargo_bin("zeroq").unwrap().arg("inspect").arg(ZOO.path(row, "file")).arg("--json").assert().success();
        let report: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
        assert_eq!(report["anatomy"]["batch_normalizations"], row["bn_nodes"], "{}", row["file"]);
    }
}
