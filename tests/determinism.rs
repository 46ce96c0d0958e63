//! The same model, recipe, seed, engine and instruction set give the same bytes, on any number of threads; and the file says what
//! they were.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
const SQUEEZENET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_squeezenet.onnx");
/// More batches than one, and samples that do not fill the last one.
const LITTLE: [&str; 4] = ["-n", "70", "--steps", "3"];

fn zeroq(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(env!("CARGO_BIN_EXE_zeroq")).args(arguments).current_dir(folder).env_remove("ORT_DYLIB_PATH").output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// What `command` writes on 1, 2 and 4 threads, and once more.
fn outputs(command: &[&str], file: &str) -> Vec<Vec<u8>> {
    let place = TempDir::new().unwrap();
    let run = |(name, threads): (&str, &str)| {
        zeroq(place.path(), &[command, &LITTLE, &["-q", "-o", name, "--threads", threads]].concat());
        fs::read(place.path().join(format!("{name}{file}"))).unwrap()
    };
    [("a", "1"), ("b", "2"), ("c", "4"), ("d", "4")].into_iter().map(run).collect()
}

fn check(command: &[&str], file: &str) {
    let outputs = outputs(command, file);
    for (other, what) in outputs[1..].iter().zip(["2 threads", "4 threads", "another run"]) {
        assert!(outputs[0] == *other, "{command:?}: {what} give other bytes");
    }
}

#[test]
fn every_precision_gives_the_same_bytes() {
    let tuned = ["--distill-steps", "3"];
    let ways: [&[&str]; 6] = [
        &[],
        &["--objective", "integer", "--mixup", "0.5", "--bias-correction", "empirical", "--absorb-bias"],
        &["--precision", "w4a4", "--all-layers", "--reconstruct-steps", "2"],
        &["--precision", "mixed", "--max-size", "0.3x"],
        &["--precision", "w8a16", "--ranges", "moments"],
        &["--target", "tract", "--check-sqnr", "60", "--check-budget", "2"],
    ];
    for way in ways {
        check(&[&["quantize", RESNET], way, &tuned].concat(), "");
    }
    check(&["quantize", SQUEEZENET, "--precision", "fp16"], "");
}

#[test]
fn every_way_to_make_images_gives_the_same_images() {
    for recipe in ["default", "genie", "zeroq", "deep-inversion", "inception"] {
        check(&["synthesize", RESNET, "--recipe", recipe], "/set.safetensors");
    }
    check(&["synthesize", SQUEEZENET, "--stages", "2"], "/set.safetensors");
}

#[test]
fn another_seed_gives_other_bytes_and_inspect_shows_what_was_done() {
    let place = TempDir::new().unwrap();
    let quantize = |name: &str, more: &[&str]| {
        zeroq(place.path(), &[&["quantize", RESNET, "-q", "--distill-steps", "2", "-o", name], &LITTLE[..], more].concat());
        fs::read(place.path().join(name)).unwrap()
    };
    let plain = quantize("a.onnx", &[]);
    assert!(plain != quantize("b.onnx", &["--seed", "1", "--recipe", "zeroq", "--objective", "integer"]));
    let report: Value = serde_json::from_slice(&zeroq(place.path(), &["inspect", "b.onnx", "--json"])).unwrap();
    let sha256: Value =
        serde_json::from_slice::<Value>(&zeroq(place.path(), &["inspect", RESNET, "--json"])).unwrap()["model"]["sha256"].take();
    let said = &report["provenance"];
    for (key, value) in [("seed", "1"), ("recipe", "zeroq"), ("calibration", "synthesized"), ("target", "ort-cpu"), ("images", "70")] {
        assert_eq!(said[format!("zeroq.{key}")], value, "{key}");
    }
    assert_eq!(said["zeroq.input_sha256"], sha256);
    assert_eq!(said["zeroq.version"], env!("CARGO_PKG_VERSION"));
    let products = report["anatomy"]["products"].as_array().unwrap();
    assert!(products.len() > 5 && products.iter().all(|product| product["integer"] == true), "{products:?}");
    // No path, time or number of threads: the same command elsewhere writes the same file.
    let text = String::from_utf8_lossy(&plain).into_owned();
    let here = place.path().to_string_lossy().into_owned();
    assert!(!text.contains(&here) && !text.contains(env!("CARGO_MANIFEST_DIR")));
    let shown = String::from_utf8(zeroq(place.path(), &["inspect", "b.onnx"])).unwrap();
    assert!(shown.contains("zeroq.recipe: zeroq\n") && !shown.contains("to keep them, export"), "{shown}");
}
