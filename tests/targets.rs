//! What is written for a target loads in the runtimes that install here, and answers as the original does.
//!
//! Needs `ORT_DYLIB_PATH` and `ZEROQ_PYTHON`, an interpreter with tests/requirements.txt; `make test` provides both.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;
use zeroq::onnx::{self, load};
use zeroq::quantization::targets;
use zeroq::tensor::DataType;

const RESNET: &str = "digits_resnet.onnx";
const MOBILENET: &str = "digits_mobilenet.onnx";

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

/// Runs `zeroq quantize` with a small budget, and returns the file.
fn quantize(name: &str, target: &str, folder: &TempDir) -> PathBuf {
    let output = folder.path().join(format!("{target}_{name}"));
    let mut command = Command::cargo_bin("zeroq").unwrap();
    command.arg("quantize").arg(model(name)).arg("-o").arg(&output).args(["--target", target, "--input-range", "signed"]);
    command.args(["-n", "32", "--steps", "50", "--distill-steps", "50", "--objective", "integer", "--shape", "image=1x1x16x16"]);
    command.assert().success();
    output
}

/// Runs a script of tests/ on a file and its original.
fn check(script: &str, output: &Path, name: &str, more: &[&str]) -> Value {
    let python = std::env::var("ZEROQ_PYTHON").expect("ZEROQ_PYTHON names no Python; run `make test`");
    let mut command = Process::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script)).arg(output).arg(model(name));
    let done = command.args(["--samples", "64", "--range=-1,1"]).args(more).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&done.stderr)))
}

#[test]
fn the_file_for_every_target_loads_in_onnx_runtime_and_is_close_to_the_original() {
    let folder = TempDir::new().unwrap();
    for target in targets::all() {
        for name in [RESNET, MOBILENET] {
            let output = quantize(name, target.name, &folder);
            let result = check("check_model.py", &output, name, &["--kernels"]);
            let label = format!("{} {name}: {result}", target.name);
            assert_eq!(result["ok"], true, "{label}");
            assert!(result["agreement"].as_f64().unwrap() >= 80.0, "{label}");
            assert!(result["sqnr_db"]["scores"].as_f64().unwrap() >= 15.0, "{label}");
            // TensorRT's placement is no other runtime's, and on x64 ONNX Runtime shares no signed activation.
            if !["tensorrt", "ort-arm64"].contains(&target.name) {
                // Results have 16 bits for QNN, which no product of ONNX Runtime's CPU provider makes.
                assert!(result["float_kernels"].as_u64().unwrap() <= u64::from(target.name == "qnn"), "{label}");
                assert!(result["integer_kernels"].as_u64().unwrap() > 0, "{label}");
            }
        }
    }
}

#[test]
fn weights_for_processors_without_vnni_have_seven_bits_after_tuning() {
    let folder = TempDir::new().unwrap();
    let largest = |target: &str| {
        let graph = load(quantize(RESNET, target, &folder), &onnx::Limits::default()).unwrap().graph;
        let weights = graph.value_ids().filter_map(|value| graph.constant(value)).filter(|tensor| tensor.data_type() == DataType::I8);
        weights.flat_map(|tensor| tensor.to_i64().unwrap()).map(i64::abs).max()
    };
    assert_eq!(largest("ort-cpu-avx2"), Some(64));
    assert!(largest("ort-cpu") >= Some(127));
}

#[test]
fn every_value_is_an_integer_for_processors_without_floats() {
    let folder = TempDir::new().unwrap();
    for name in [RESNET, MOBILENET] {
        let graph = load(quantize(name, "qnn", &folder), &onnx::Limits::default()).unwrap().graph;
        let sizes = graph.inputs.iter().chain(&graph.outputs).flat_map(|value| graph.value(*value).shape.clone().unwrap());
        assert!(sizes.into_iter().all(|size| size.known().is_some()), "{name}");
        let makes = |value, operator: &str| graph.producer(value).is_some_and(|(_, node)| node.operator.name() == operator);
        assert!(graph.outputs.iter().all(|output| makes(*output, "DequantizeLinear")), "{name}");
        for (_, node) in graph.nodes().filter(|(_, node)| !node.operator.name().ends_with("Linear")) {
            let data = node.input(0).unwrap();
            let fused = ["Relu", "Clip"].contains(&node.operator.name());
            assert!(fused || makes(data, "DequantizeLinear"), "{name}: {} `{}`", node.operator.name(), node.name);
        }
    }
}

#[test]
fn openvino_runs_the_file_for_onnx_runtime_on_integers() {
    let folder = TempDir::new().unwrap();
    for target in ["ort-cpu", "ort-cpu-avx2"] {
        let output = quantize(RESNET, target, &folder);
        let result = check("check_openvino.py", &output, RESNET, &[]);
        assert!(result["agreement"].as_f64() >= Some(90.0) && result["sqnr_db"].as_f64() >= Some(15.0), "{target}: {result}");
        assert_eq!(result["float_kernels"], 0, "{target}: {result}");
        assert!(result["integer_kernels"].as_u64() >= Some(10), "{target}: {result}");
    }
}

#[test]
fn autotune_reports_what_it_measured_and_what_it_chose() {
    let folder = TempDir::new().unwrap();
    let (output, page) = (folder.path().join("q.onnx"), folder.path().join("page.html"));
    let mut command = Command::cargo_bin("zeroq").unwrap();
    command.arg("quantize").arg(model(MOBILENET)).arg("-o").arg(&output).arg("--report").arg(&page);
    command.args(["--autotune", "--json", "--threads", "1"]);
    let done = command.args(["-n", "32", "--steps", "50", "--distill-steps", "50", "--input-range", "signed"]).assert().success();
    let report: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    let trials = report["autotune"].as_array().unwrap();
    assert!(!trials.is_empty() && trials.len() <= 18, "{report}");
    let within = |ratio: &Value| {
        let (low, high) = (&ratio["interval"][0], &ratio["interval"][1]);
        ratio["interval"].is_null() || low.as_f64() <= ratio["median"].as_f64() && ratio["median"].as_f64() <= high.as_f64()
    };
    assert!(trials.iter().all(|trial| trial["ratio"]["median"].as_f64() > Some(0.0) && within(&trial["ratio"])), "{trials:?}");
    let shown = std::fs::read_to_string(&page).unwrap();
    assert!(shown.contains("What was timed in ONNX Runtime") && !shown.contains("median"), "{shown}");
    let messages = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
    assert!(messages.contains("--autotune chose ") && messages.contains("other bytes"), "{messages}");
    let written = load(&output, &onnx::Limits::default()).unwrap();
    let told = |key: &str| written.metadata(key).map(str::to_string);
    assert_eq!(told("zeroq.objective").as_deref(), Some("autotune"));
    assert!(messages.contains(&format!("chose {};", told("zeroq.autotune").unwrap())), "{messages}");
    let result = check("check_model.py", &output, MOBILENET, &[]);
    assert_eq!(result["ok"], true, "{result}");
}

#[cfg(feature = "tract")]
mod tract {
    use super::*;
    use tract_onnx::prelude::*;
    use tract_onnx::tract_core::ops::cnn::Conv;
    use tract_onnx::tract_core::ops::einsum::EinSum;
    use zeroq::evaluation::{Engine, Own, Subject, Tract};
    use zeroq::execution::Config;
    use zeroq::graph::sketch::noise;
    use zeroq::passes::single_sample;

    /// Products of a file that tract computes on integers, and those it computes in float.
    fn count_products(path: &Path) -> (usize, usize) {
        let model = tract_onnx::onnx().with_ignore_value_info(true).model_for_path(path).unwrap();
        let model = model.with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [1, 1, 16, 16])).unwrap();
        let model = model.into_typed().unwrap();
        let kinds: Vec<bool> = model
            .nodes
            .iter()
            .filter_map(|node| {
                let convolution = node.op_as::<Conv>().map(|conv| conv.q_params.is_some());
                convolution.or_else(|| node.op_as::<EinSum>().map(|product| product.q_params.is_some()))
            })
            .collect();
        let integer = kinds.iter().filter(|integer| **integer).count();
        (integer, kinds.len() - integer)
    }

    #[test]
    fn tract_computes_its_file_on_integers_and_comes_to_what_we_compute_from_pairs() {
        let folder = TempDir::new().unwrap();
        for name in [RESNET, MOBILENET] {
            let (pairs, operators) = (quantize(name, "ort-cpu", &folder), quantize(name, "tract", &folder));
            let (integer, float) = count_products(&operators);
            assert!(integer >= 10 && float == 0, "{name}: {integer} integer, {float} float");
            assert_eq!(count_products(&pairs).0, 0, "{name}");
            let model = load(&pairs, &onnx::Limits::default()).unwrap();
            let (ours, theirs) = (std::fs::read(&pairs).unwrap(), std::fs::read(&operators).unwrap());
            let subject = |bytes| Subject { label: "result", bytes, path: None, graph: &model.graph };
            let set = noise(&single_sample(&model.graph).unwrap(), 16);
            let wanted = Own::new(&subject(&ours), &Config::default()).run(&set).unwrap();
            let found = Tract::new(&subject(&theirs), &set).unwrap().run(&set).unwrap();
            let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x * x)).sum::<f64>();
            let apart = square(&mut wanted[0].iter().zip(&found[0]).map(|(a, b)| a - b)) / square(&mut wanted[0].iter().copied());
            assert!(apart < 1e-3, "{name}: {apart}");
        }
    }
}
