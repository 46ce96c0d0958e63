//! Every file that zeroq writes is valid, runs in ONNX Runtime and answers as the original does.
//!
//! Needs `ZEROQ_PYTHON`, an interpreter with tests/requirements.txt; `make test` provides it.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;
use zeroq::evaluation::{Engine, OnnxRuntime, Own, Subject};
use zeroq::execution::Config;
use zeroq::graph::sketch::noise;
use zeroq::onnx::{self, load};
use zeroq::passes::single_sample;

/// What a quantized model is held to, on noise.
struct Limits {
    agreement: f64,
    sqnr_db: f64,
}

const INT8: Limits = Limits { agreement: 90.0, sqnr_db: 15.0 };
const W4A8: Limits = Limits { agreement: 80.0, sqnr_db: 8.0 };
const W4A4: Limits = Limits { agreement: 60.0, sqnr_db: 4.0 };
const W8A16: Limits = Limits { agreement: 97.0, sqnr_db: 25.0 };
const FP16: Limits = Limits { agreement: 97.0, sqnr_db: 40.0 };

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Value> {
    let text = std::fs::read_to_string(root().join("models/models.json")).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    table["models"].as_array().unwrap().clone()
}

fn python() -> String {
    std::env::var("ZEROQ_PYTHON").expect("ZEROQ_PYTHON names no Python; run `make test`")
}

/// The lowest and highest pixel of a row of the table, over its channels.
fn range_of(row: &Value) -> String {
    let numbers = |key: &str| row[key].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<_>>();
    let (mean, std) = (numbers("mean"), numbers("std"));
    let low = mean.iter().zip(&std).map(|(m, s)| -m / s).fold(f64::INFINITY, f64::min);
    let high = mean.iter().zip(&std).map(|(m, s)| (1.0 - m) / s).fold(f64::NEG_INFINITY, f64::max);
    format!("{low},{high}")
}

/// Runs `zeroq quantize` on one of models/ with a small budget, and returns the file. `precision` may have flags behind it.
fn quantize(row: &Value, precision: &str, folder: &TempDir) -> PathBuf {
    let name = row["file"].as_str().unwrap();
    let output = folder.path().join(format!("{precision}_{name}"));
    let (precision, flags) = precision.split_once(' ').unwrap_or((precision, ""));
    let range = row["range"].as_str().unwrap();
    let mut command = Command::cargo_bin("zeroq").unwrap();
    command.arg("quantize").arg(root().join("models").join(name)).arg("-o").arg(&output);
    command.args(["--precision", precision, "--input-range", range]).args(flags.split_whitespace());
    if precision != "fp16" {
        command.args(["-n", "32", "--steps", "50", "--distill-steps", "150", "--objective", "integer"]);
    }
    command.assert().success();
    output
}

fn check(output: &Path, reference: &Path, range: &str) -> Value {
    let mut command = Process::new(python());
    command.arg(root().join("tests/check_model.py")).arg(output).arg(reference);
    let done = command.args(["--kernels", "--samples", "64", &format!("--range={range}")]).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&done.stderr)))
}

fn assert_within(limits: &Limits, result: &Value, name: &str) {
    assert_eq!(result["ok"], true, "{name}: {result}");
    assert!(result["agreement"].as_f64().unwrap() >= limits.agreement, "{name}: {result}");
    for sqnr in result["sqnr_db"].as_object().unwrap().values() {
        assert!(sqnr.as_f64().unwrap() >= limits.sqnr_db, "{name}: {result}");
    }
}

fn quantize_all(precision: &str, limits: &Limits) -> Vec<(String, Value)> {
    let folder = TempDir::new().unwrap();
    let judge = |row: &Value| {
        let name = row["file"].as_str().unwrap().to_string();
        let output = quantize(row, precision, &folder);
        let result = check(&output, &root().join("models").join(&name), &range_of(row));
        assert_within(limits, &result, &name);
        (name, result)
    };
    rows().iter().map(judge).collect()
}

#[test]
fn int8_files_are_valid_close_to_the_original_and_run_as_integers() {
    for (name, result) in quantize_all("int8", &INT8) {
        assert_eq!(result["float_kernels"], 0, "{name}: {result}");
        assert!(result["integer_kernels"].as_u64().unwrap() > 0, "{name}: {result}");
    }
}

#[test]
fn fp16_files_are_valid_and_close_to_the_original() {
    quantize_all("fp16", &FP16);
}

/// Our executor on a written file against ONNX Runtime, on noise: the square of the difference beside that of the outputs.
fn distance_of_engines(path: &Path) -> f64 {
    let model = load(path, &onnx::Limits::default()).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let subject = Subject { label: "result", bytes: &bytes, path: None, graph: &model.graph };
    let set = noise(&single_sample(&model.graph).unwrap(), 16);
    let wanted = OnnxRuntime::new(&subject).unwrap().run(&set).unwrap();
    let found = Own::new(&subject, &Config::default()).run(&set).unwrap();
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>();
    square(&mut wanted[0].iter().zip(&found[0]).map(|(a, b)| a - b)) / square(&mut wanted[0].iter().copied())
}

#[test]
fn files_of_other_widths_are_valid_close_to_the_original_and_the_same_to_us_and_onnx_runtime() {
    let folder = TempDir::new().unwrap();
    let cases = [
        ("w4a8 --reconstruct-steps 40", &W4A8),
        ("w4a4 --reconstruct-steps 40", &W4A4),
        ("w4a4 --reconstruct-steps 40 --all-layers", &W4A4),
        ("w8a16", &W8A16),
        ("mixed --max-size 5bits", &W4A8),
        ("mixed --max-size 12bits", &INT8),
        ("mixed --max-size 24bits", &W8A16),
    ];
    for (precision, limits) in cases {
        for row in rows() {
            let name = format!("{precision}, {}", row["file"].as_str().unwrap());
            let output = quantize(&row, precision, &folder);
            let result = check(&output, &root().join("models").join(row["file"].as_str().unwrap()), &range_of(&row));
            assert_within(limits, &result, &name);
            assert!(distance_of_engines(&output) < 1e-3, "{name}: {}", distance_of_engines(&output));
            assert_eq!(load(&output, &onnx::Limits::default()).unwrap().opset, 21, "{name}");
        }
    }
}

#[test]
fn a_grey_model_without_batch_normalization_asks_for_its_input_range() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("folded.onnx");
    let mut command = Command::cargo_bin("zeroq").unwrap();
    command.arg("quantize").arg(root().join("models/digits_folded.onnx")).arg("-o").arg(&output);
    let done = command.assert().code(2);
    let messages = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
    assert!(messages.contains("--input-range"), "{messages}");
    assert!(!output.exists());
}
