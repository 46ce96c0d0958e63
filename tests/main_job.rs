//! The main job from outside, on a small network of our own.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
const FOLDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_folded.onnx");
/// Little work: these tests look at files and streams, not at accuracy.
const LITTLE: [&str; 6] = ["-n", "24", "--steps", "4", "--distill-steps", "2"];

fn zeroq(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    command.args(arguments).current_dir(folder).env_remove("ORT_DYLIB_PATH");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    zeroq(folder, arguments).output().unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn quantize<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["quantize", RESNET, "-o", output][..], &LITTLE, more].concat()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_report_is_one_value_and_the_same_in_the_file() {
    let place = TempDir::new().unwrap();
    let report =
        json(&succeed(place.path(), &quantize("q.onnx", &["--json", "--report", "r.json", "--seed", "5", "--objective", "integer"])));
    assert_eq!(report, json(&fs::read_to_string(place.path().join("r.json")).unwrap()));
    assert_eq!(files(place.path()), ["q.onnx", "r.json"]);
    assert_eq!((report["schema"].as_u64(), report["command"].as_str()), (Some(1), Some("quantize")));
    assert_eq!(report["seed"], 5);
    assert_eq!(report["input_range"], "signed");
    assert_eq!(report["kernels"]["float"], 0);
    assert!(report["kernels"]["integer"].as_u64() >= Some(10));
    assert_eq!(report["output"]["bytes"].as_u64(), Some(fs::metadata(place.path().join("q.onnx")).unwrap().len()));
    assert!(report["output"]["bytes"].as_f64().unwrap() < 0.45 * report["model"]["bytes"].as_f64().unwrap());
    let output = &report["comparison"]["outputs"][0];
    assert_eq!(output["name"], "scores");
    assert!(output["sqnr_db"].as_f64() > Some(10.0) && output["agreement_percent"].as_f64() > Some(50.0), "{output}");
    let stages: Vec<&str> = report["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert!(stages.contains(&"synthesize") && stages.contains(&"distill"), "{stages:?}");
    assert!(report["stages"][0]["steps_per_second"].is_number());
}

#[test]
fn the_result_is_checked_on_images_of_another_seed_and_stays_as_it_is_where_it_passes() {
    let place = TempDir::new().unwrap();
    let loose = ["--check-sqnr", "-100", "--check-agreement", "0", "--json"];
    let report = json(&succeed(place.path(), &quantize("checked.onnx", &loose)));
    let check = &report["check"];
    assert_eq!((check["passed"].as_bool(), check["seed"].as_u64()), (Some(true), Some(1 << 32)));
    assert_eq!(check["comparison"]["samples"], 24);
    assert!(check["layers"].as_array().unwrap().len() >= 10 && check["layers"][0]["sqnr_db"].is_number(), "{check}");
    let report = json(&succeed(place.path(), &quantize("unchecked.onnx", &["--no-check", "--json"])));
    assert!(report["check"].is_null());
    assert!(fs::read(place.path().join("checked.onnx")).unwrap() == fs::read(place.path().join("unchecked.onnx")).unwrap());
    let output = run(place.path(), &quantize("looked.onnx", &["--check-sqnr", "100", "--check-budget", "0"]));
    let (text, messages) = (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output));
    assert!(text.contains("self-check FAILED") && messages.contains("--check-budget is spent"), "{text}{messages}");
    assert!(fs::read(place.path().join("looked.onnx")).unwrap() == fs::read(place.path().join("unchecked.onnx")).unwrap());
    let report = json(&succeed(place.path(), &quantize("raised.onnx", &["--check-sqnr", "100", "--check-budget", "2", "--json"])));
    let raised = report["check"]["raised"].as_array().unwrap();
    assert!(!raised.is_empty() && raised[0]["reason"].as_str().unwrap().contains("of the noise"), "{report}");
    assert!(fs::read(place.path().join("raised.onnx")).unwrap() != fs::read(place.path().join("unchecked.onnx")).unwrap());
}

#[test]
fn a_mixture_has_the_size_that_was_asked_for() {
    let place = TempDir::new().unwrap();
    for size in ["0.3x", "60000"] {
        let mixed = ["--precision", "mixed", "--max-size", size, "--json", "--force"];
        let report = json(&succeed(place.path(), &quantize("q.onnx", &mixed)));
        let (bytes, original) = (report["output"]["bytes"].as_u64().unwrap(), report["model"]["bytes"].as_f64().unwrap());
        let most = if size == "0.3x" { (0.3 * original) as u64 } else { 60_000 };
        assert!(bytes <= most && bytes as f64 > 0.8 * most as f64, "{bytes} of {most}");
        assert!(report["mixed"]["layers"].as_array().unwrap().len() >= 10 && report["precision"] == "mixed", "{}", report["mixed"]);
    }
    let output = run(place.path(), &quantize("none.onnx", &["--precision", "mixed", "--max-size", "1000"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("4 bits for all layers"), "{}", stderr(&output));
    assert_eq!(files(place.path()), ["q.onnx"]);
}

#[test]
fn sensitivity_is_told_drawn_and_reported() {
    let place = TempDir::new().unwrap();
    let arguments = ["sensitivity", RESNET, "-n", "24", "--steps", "4", "--plot", "p.svg"];
    let text = succeed(place.path(), &arguments);
    assert!(text.contains("4 bits") && text.contains("bits/weight") && text.lines().count() > 15, "{text}");
    assert!(fs::read_to_string(place.path().join("p.svg")).unwrap().starts_with("<svg"));
    assert_eq!(run(place.path(), &arguments).status.code(), Some(2));
    let report = json(&succeed(place.path(), &[&arguments[..], &["--json", "--force"]].concat()));
    let noise = |index: usize| report["layers"][index]["widths"][0]["noise"].as_f64().unwrap();
    assert!(noise(0) >= noise(1) && noise(1) >= noise(2));
    assert_eq!((report["command"].as_str(), report["schema"].as_u64()), (Some("sensitivity"), Some(1)));
    assert_eq!(files(place.path()), ["p.svg"]);
}

#[test]
fn without_a_terminal_progress_is_one_line_for_each_tenth() {
    let place = TempDir::new().unwrap();
    let arguments = ["synthesize", RESNET, "-o", "images", "-n", "4", "--steps", "40", "--input-range", "signed"];
    let lines = stderr(&run(place.path(), &arguments));
    let tenths = lines.lines().filter(|line| line.starts_with("synthesize: ")).count();
    assert_eq!(tenths, 10, "{lines}");
    assert!(lines.contains("loss ") && !lines.contains('\r') && !lines.contains('\u{1b}'), "{lines}");
    let quiet = run(place.path(), &[&arguments[..], &["--force", "-q"]].concat());
    assert_eq!(stderr(&quiet), "");
}

#[test]
fn corrections_bring_an_untuned_narrow_network_nearer() {
    let place = TempDir::new().unwrap();
    let sqnr = |flags: &[&str]| {
        let job = ["quantize", RESNET, "-o", "q.onnx", "-f", "--json", "-n", "96", "--steps", "20", "--no-distill", "--precision", "w4a8"];
        let report = json(&succeed(place.path(), &[&job[..], flags].concat()));
        report["comparison"]["outputs"][0]["sqnr_db"].as_f64().unwrap()
    };
    let plain = sqnr(&["--rounding", "nearest"]);
    let cases: [&[&str]; 3] = [
        &["--rounding", "squant"],
        &["--rounding", "nearest", "--bias-correction", "analytic"],
        &["--rounding", "nearest", "--bias-correction", "empirical"],
    ];
    for flags in cases {
        let corrected = sqnr(flags);
        assert!(corrected > plain + 1.0, "{flags:?}: {corrected} dB, {plain} dB without");
    }
}

#[test]
fn ranges_follow_from_batch_normalization_alone() {
    let place = TempDir::new().unwrap();
    let output = run(place.path(), &quantize("q.onnx", &["--ranges", "moments", "--json"]));
    let sqnr = json(&String::from_utf8(output.stdout.clone()).unwrap())["check"]["comparison"]["outputs"][0]["sqnr_db"].as_f64().unwrap();
    assert!(sqnr > 15.0, "{sqnr} dB");
    assert!(stderr(&output).contains("ranges follow from BatchNormalization"), "{}", stderr(&output));
}

#[test]
fn a_synthesized_set_is_taken_back() {
    let place = TempDir::new().unwrap();
    let report = json(&succeed(place.path(), &["synthesize", RESNET, "-o", "images", "-n", "24", "--steps", "3", "--json"]));
    assert_eq!((report["images"].as_u64(), report["provenance"]["source"].as_str()), (Some(24), Some("synthesized")));
    assert_eq!(files(&place.path().join("images")).len(), 25);
    let report = json(&succeed(place.path(), &quantize("q.onnx", &["--calibration", "images", "--json"])));
    assert_eq!(report["provenance"]["source"], "synthesized");
    fs::remove_file(place.path().join("images/set.safetensors")).unwrap();
    let report = json(&succeed(place.path(), &quantize("q.onnx", &["--calibration", "images", "--json", "--force"])));
    assert_eq!(report["provenance"]["source"], "files");
    assert_eq!(files(place.path()), ["images", "q.onnx"]);
}

#[test]
fn an_existing_output_is_replaced_only_when_told() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("q.onnx"), "precious").unwrap();
    assert_eq!(run(place.path(), &quantize("q.onnx", &[])).status.code(), Some(2));
    assert_eq!(fs::read(place.path().join("q.onnx")).unwrap(), b"precious");
    succeed(place.path(), &quantize("q.onnx", &["--force"]));
    assert_ne!(fs::read(place.path().join("q.onnx")).unwrap(), b"precious");
    assert_eq!(files(place.path()), ["q.onnx"]);
}

#[test]
fn a_missed_threshold_ends_with_1_and_still_gives_the_result() {
    let place = TempDir::new().unwrap();
    succeed(place.path(), &quantize("q.onnx", &["-q"]));
    let compare =
        |more: &[&str]| run(place.path(), &[&["compare", RESNET, "q.onnx", "-n", "8", "--steps", "2", "--json"][..], more].concat());
    let fine = compare(&["--min-sqnr", "1"]);
    assert_eq!(fine.status.code(), Some(0), "{}", stderr(&fine));
    assert_eq!(json(&String::from_utf8(fine.stdout).unwrap())["passed"], true);
    let missed = compare(&["--min-sqnr", "119"]);
    assert_eq!(missed.status.code(), Some(1));
    assert!(stderr(&missed).contains("at least 119.00 dB asked"));
    assert_eq!(json(&String::from_utf8(missed.stdout).unwrap())["passed"], false);
    let same = json(&succeed(place.path(), &["compare", RESNET, RESNET, "-n", "8", "--steps", "2", "--json", "--min-agreement", "100"]));
    assert_eq!(same["comparison"]["outputs"][0]["sqnr_db"], 120.0);
}

#[test]
fn data_of_another_shape_is_refused() {
    let place = TempDir::new().unwrap();
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend([0; 24]);
    fs::write(place.path().join("x.npy"), file).unwrap();
    let output = run(place.path(), &["compare", RESNET, RESNET, "--data", "x.npy"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("x.npy: input `image`: samples of shape [1, 1, 16, 16]"), "{}", stderr(&output));
}

#[test]
fn a_model_without_statistics_needs_its_range() {
    let place = TempDir::new().unwrap();
    let arguments = [&["quantize", FOLDED, "-o", "q.onnx"][..], &LITTLE].concat();
    let output = run(place.path(), &arguments);
    assert_eq!((output.status.code(), files(place.path())), (Some(2), Vec::new()));
    assert!(stderr(&output).contains("--input-range"), "{}", stderr(&output));
    let output = run(place.path(), &[&arguments[..], &["--input-range=-1,1"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("no BatchNormalization"), "{}", stderr(&output));
    assert!(succeed(place.path(), &["inspect", FOLDED]).contains("TrainingMode.PRESERVE"));
}

#[test]
fn what_is_quantized_already_is_refused() {
    let place = TempDir::new().unwrap();
    succeed(place.path(), &quantize("q.onnx", &["-q"]));
    let output = run(place.path(), &["quantize", "q.onnx", "-o", "again.onnx"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--requantize"), "{}", stderr(&output));
    assert_eq!(files(place.path()), ["q.onnx"]);
}

#[test]
fn what_a_target_does_not_take_is_refused_and_costs_that_nobody_measured_are_told_of() {
    let place = TempDir::new().unwrap();
    let output = run(place.path(), &quantize("q.onnx", &["--target", "tensorrt", "--precision", "w4a4"]));
    assert_eq!((output.status.code(), files(place.path())), (Some(2), Vec::new()));
    assert!(stderr(&output).contains("no i4 activations"), "{}", stderr(&output));
    for target in ["tensorrt", "ort-arm64"] {
        let output = run(place.path(), &quantize("q.onnx", &["--target", target, "--force"]));
        assert!(output.status.success() && stderr(&output).contains("--objective balanced is --objective integer"), "{}", stderr(&output));
    }
}

#[test]
fn measuring_needs_a_runtime_and_a_machine_to_measure_on() {
    let place = TempDir::new().unwrap();
    for (more, says) in [(&[][..], "ORT_DYLIB_PATH"), (&["--target", "tensorrt"], "tensorrt"), (&["--precision", "w4a8"], "int8")] {
        let output = run(place.path(), &quantize("q.onnx", &[&["--autotune"], more].concat()));
        assert_eq!((output.status.code(), files(place.path())), (Some(2), Vec::new()));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let place = TempDir::new().unwrap();
    let output = run(place.path(), &quantize("q.onnx", &["--exclude", "/no/such/node*"]));
    assert_eq!((output.status.code(), files(place.path())), (Some(2), Vec::new()));
    assert!(stderr(&output).contains("/no/such/node*"), "{}", stderr(&output));
}

#[test]
fn every_model_of_ours_can_be_inspected() {
    let models = Path::new(RESNET).parent().unwrap();
    let names = files(models).into_iter().filter(|name| name.ends_with(".onnx"));
    for name in names {
        let report = json(&succeed(models, &["inspect", &name, "--json"]));
        let anatomy = &report["anatomy"];
        assert!(anatomy["multiplications"].as_u64() > Some(0) && anatomy["uncounted"] == 0, "{name}: {anatomy}");
        assert_eq!(anatomy["quantized_nodes"], 0);
        assert_eq!(anatomy["foreign"].as_array().map(Vec::len), Some(0), "{name}");
    }
}

#[test]
#[cfg(unix)]
fn signals_end_the_work_and_leave_nothing() {
    use std::process::Stdio;
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let place = TempDir::new().unwrap();
        let arguments = ["quantize", RESNET, "-o", "q.onnx", "-n", "64", "--steps", "1000000"];
        let mut child = zeroq(place.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // The first word on stderr comes after the listener is in place.
        std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut [0]).unwrap();
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(files(place.path()), [""; 0]);
    }
}

/// The engine for cards, on the CPU: as near to the original as the tape brings it, and the same bytes every time.
#[cfg(feature = "candle")]
#[test]
fn a_run_on_tensors_is_as_good_as_one_on_the_tape() {
    let place = TempDir::new().unwrap();
    let with = |output: &str, device: &str| {
        let more = ["-n", "16", "--steps", "20", "--distill-steps", "8", "--device", device, "--json"];
        let report = json(&succeed(place.path(), &[&["quantize", RESNET, "-o", output][..], &more].concat()));
        assert_eq!(report["device"], device);
        report["comparison"]["outputs"][0]["sqnr_db"].as_f64().unwrap()
    };
    let (tape, tensors, again) = (with("a.onnx", "cpu"), with("b.onnx", "tensors"), with("c.onnx", "tensors"));
    assert!(tensors > tape - 2.0 && tensors > 25.0, "{tape} dB on the tape, {tensors} dB on tensors");
    assert_eq!(tensors, again);
    let bytes = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert!(bytes("b.onnx") == bytes("c.onnx") && bytes("a.onnx") != bytes("b.onnx"));
}

#[test]
fn a_float16_model_is_inspected_as_it_would_be_quantized() {
    let place = TempDir::new().unwrap();
    succeed(place.path(), &["quantize", RESNET, "-o", "half.onnx", "--precision", "fp16", "--fp16-io", "-n", "8", "--steps", "2"]);
    let products = |model: &str| {
        let report = json(&succeed(place.path(), &["inspect", model, "--json"]));
        let products = report["anatomy"]["products"].as_array().unwrap().clone();
        (
            report["anatomy"]["inputs"][0]["data_type"].clone(),
            products.iter().filter(|product| product["integer"] == true).count(),
            products.len(),
        )
    };
    let ((single, all, count), (half, found, halves)) = (products(RESNET), products("half.onnx"));
    assert_eq!((single, half), (Value::from("f32"), Value::from("f16")));
    assert_eq!((all, found), (count, halves));
    assert_eq!(count, halves);
}
