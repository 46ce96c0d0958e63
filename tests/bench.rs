//! `zeroq bench`. Needs `ORT_DYLIB_PATH`, which `make test` provides.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).to_string_lossy().into_owned()
}

/// Exit code, stdout and stderr.
fn run(arguments: &[&str], runtime: bool) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    if !runtime {
        command.env_remove("ORT_DYLIB_PATH");
    }
    let output = command.arg("bench").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn two_models_are_timed_in_turn_as_often_as_asked() {
    let (resnet, folded) = (model("digits_resnet.onnx"), model("digits_folded.onnx"));
    let (code, stdout, stderr) =
        run(&[&resnet, &folded, "--runs", "12", "--warmup", "2", "--batch", "3", "--threads", "1", "--json"], true);
    assert_eq!(code, Some(0), "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["schema"], &report["command"], &report["warmup"]), (&Value::from(1), &Value::from("bench"), &Value::from(2)));
    assert_eq!(report["inputs"], serde_json::json!([["image", [3, 1, 16, 16]]]));
    for file in report["files"].as_array().unwrap() {
        assert_eq!(file["runs"], 12);
        let times: Vec<f64> = ["min_ms", "p50_ms", "p90_ms", "p99_ms"].iter().map(|name| file[name].as_f64().unwrap()).collect();
        assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
    }
    let ratio = &report["ratio"];
    let (low, high) = (ratio["interval"][0].as_f64().unwrap(), ratio["interval"][1].as_f64().unwrap());
    assert!(low <= ratio["median"].as_f64().unwrap() && ratio["median"].as_f64().unwrap() <= high, "{ratio}");
}

#[test]
fn one_model_has_no_ratio_and_few_runs_no_certainty() {
    let resnet = model("digits_resnet.onnx");
    let (code, stdout, stderr) = run(&[&resnet, "--runs", "3", "--warmup", "0"], true);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("p50") && stdout.contains("image 1x1x16x16") && !stdout.contains("of the time of"), "{stdout}");
    let (_, stdout, _) = run(&[&resnet, &resnet, "--runs", "3", "--warmup", "0"], true);
    assert!(stdout.contains("too few runs to say how sure that is"), "{stdout}");
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let (resnet, squeezenet) = (model("digits_resnet.onnx"), model("digits_squeezenet.onnx"));
    for (arguments, runtime, says) in [
        (&[resnet.as_str()][..], false, "error[E0601]: ONNX Runtime: is not named: set ORT_DYLIB_PATH"),
        (&["nowhere.onnx"], false, "error[E0101]: nowhere.onnx: "),
        (&[&squeezenet, "--batch", "2"], true, "--batch 2: the model leaves no batch open"),
        (&[&resnet, "--shape", "picture=1x1x16x16"], true, "--shape picture"),
        (&[&resnet, "--runs", "0"], true, "from 1 to"),
        (&[&resnet, "--batch", "65536", "--max-memory", "64M"], true, "error[E0801]"),
        (&[&resnet, &squeezenet, "--runs", "1"], true, "error[E0601]: ONNX Runtime: "),
    ] {
        let (code, stdout, stderr) = run(arguments, runtime);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}
