//! `zeroq similarity` on networks of `models/`: pictures that were made for one network are judged by others.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{GrayImage, Luma};
use serde_json::Value;
use tempfile::TempDir;
use zeroq::random::Random;

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).to_string_lossy().into_owned()
}

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str], folder: &Path) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    let output = command.args(arguments).current_dir(folder).env_remove("CLICOLOR_FORCE").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn similarity(arguments: &[&str], folder: &Path) -> Value {
    let run = run(&[&["similarity"], arguments, &["--json"]].concat(), folder);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

/// Pictures of digits, as `digits_resnet.onnx` remembers them.
fn digits(count: usize) -> Vec<GrayImage> {
    let folder = TempDir::new().unwrap();
    let count = count.to_string();
    let arguments = ["synthesize", &model("digits_resnet.onnx"), "-o", "set", "-n", &count, "--input-range", "signed"];
    let made = run(&arguments, folder.path());
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder.path().join("set")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    paths.sort();
    paths.iter().map(|path| image::open(path).unwrap().into_luma8()).collect()
}

fn write(pictures: &[GrayImage], folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (index, picture) in pictures.iter().enumerate() {
        picture.save(folder.join(format!("{index:04}.png"))).unwrap();
    }
}

/// Each pixel changed by `change`.
fn changed(pictures: &[GrayImage], mut change: impl FnMut(f32) -> f32) -> Vec<GrayImage> {
    let change = |picture: &GrayImage| {
        let mut picture = picture.clone();
        picture.pixels_mut().for_each(|pixel| *pixel = Luma([change(f32::from(pixel.0[0])).round().clamp(0.0, 255.0) as u8]));
        picture
    };
    pictures.iter().map(change).collect()
}

/// Sets by their distance, the nearest first.
fn ranking(report: &Value) -> Vec<&str> {
    report["sets"].as_array().unwrap().iter().map(|set| set["path"].as_str().unwrap()).collect()
}

#[test]
fn sets_rank_by_how_much_they_are_spoiled_in_networks_they_were_not_made_for() {
    let folder = TempDir::new().unwrap();
    let pictures = digits(96);
    let mut random = Random::new(1, 0);
    write(&pictures, &folder.path().join("digits"));
    write(&changed(&pictures, |x| x + 25.0 * random.normal()), &folder.path().join("noisy"));
    write(&changed(&pictures, |x| x + 50.0 * random.normal()), &folder.path().join("noisier"));
    write(&changed(&pictures, |_| random.between(0.0, 255.0)), &folder.path().join("noise"));
    for (name, range) in [("digits_mobilenet.onnx", "unit"), ("digits_squeezenet.onnx", "imagenet")] {
        let sets = ["noise", "noisier", "digits", "noisy"];
        let report = similarity(&[&[&model(name), "--input-range", range], &sets[..]].concat(), folder.path());
        assert_eq!(ranking(&report), ["digits", "noisy", "noisier", "noise"], "{name}");
        assert_eq!((&report["pick"], &report["schema"]), (&Value::from("digits"), &Value::from(1)));
        for set in report["sets"].as_array().unwrap() {
            let layers: Vec<f64> = set["layers"].as_array().unwrap().iter().map(|layer| layer["distance"].as_f64().unwrap()).collect();
            let mean = layers.iter().sum::<f64>() / layers.len() as f64;
            assert!((mean - set["distance"].as_f64().unwrap()).abs() < 1e-9 && layers.iter().all(|distance| *distance >= 0.0));
        }
    }
}

#[test]
fn sorted_and_unbalanced_sets_are_warned_of() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pictures = digits(64);
    let inverted = changed(&pictures, |x| 255.0 - x);
    write(&[&pictures[..32], &inverted[32..]].concat(), &at("sorted"));
    let shuffled: Vec<GrayImage> = (0..64).map(|index| if index % 2 == 0 { &pictures[index] } else { &inverted[index] }.clone()).collect();
    write(&shuffled, &at("shuffled"));
    write(&vec![pictures[0].clone(); 64], &at("one"));
    write(&pictures[..4], &at("classes/zero"));
    write(&pictures[4..], &at("classes/one"));
    let resnet = model("digits_resnet.onnx");
    let report = similarity(&[&resnet, "sorted", "shuffled", "one", "classes", "--input-range", "signed"], folder.path());
    let of = |name: &str| report["sets"].as_array().unwrap().iter().find(|set| set["path"] == name).unwrap().clone();
    assert_eq!((&of("sorted")["sorted"], &of("shuffled")["sorted"]), (&Value::from(true), &Value::from(false)));
    assert_eq!((&of("one")["unbalanced"], &of("sorted")["unbalanced"]), (&Value::from(true), &Value::from(false)));
    assert_eq!((&of("classes")["sorted"], &of("classes")["unbalanced"]), (&Value::Null, &Value::from(true)));
    assert_eq!(of("classes")["class_folders"][0], serde_json::json!({ "name": "one", "images": 60 }));
    let warnings = report["warnings"].to_string();
    for says in ["sorted is not shuffled", "one is not balanced: 100 %", "classes is not balanced: 94 % of its images are in `one`"] {
        assert!(warnings.contains(says), "{warnings}");
    }
}

#[test]
fn pick_prints_the_nearest_set_alone() {
    let folder = TempDir::new().unwrap();
    let pictures = digits(24);
    write(&pictures, &folder.path().join("digits"));
    write(&changed(&pictures, |x| 255.0 - x), &folder.path().join("inverted"));
    let resnet = model("digits_resnet.onnx");
    let arguments = ["similarity", &resnet, "inverted", "digits", "--input-range", "signed", "--pick"];
    assert_eq!(run(&arguments, folder.path()).stdout, "digits\n");
    let report = similarity(&arguments[1..], folder.path());
    assert_eq!((report["pick"].as_str(), ranking(&report)), (Some("digits"), vec!["digits"]));
    let text = run(
        &["similarity", &resnet, "inverted", "digits", "--input-range", "signed", "--layers", "-n", "8", "--threads", "1"],
        folder.path(),
    );
    let lines: Vec<&str> = text.stdout.lines().collect();
    assert!(lines[1].ends_with("digits") && lines[2].ends_with("inverted") && lines[1].contains(" 8 "), "{}", text.stdout);
    assert_eq!(lines.len(), 3 + 1 + 9, "{}", text.stdout);
}

#[test]
fn a_folded_model_is_judged_by_its_sibling_and_the_bytes_do_not_depend_on_threads() {
    let folder = TempDir::new().unwrap();
    write(&digits(24), &folder.path().join("digits"));
    let (folded, unfolded) = (model("digits_folded.onnx"), model("digits_resnet.onnx"));
    let with = |arguments: &[&str]| {
        let report = similarity(&[arguments, &["digits", "--input-range", "signed"]].concat(), folder.path());
        report["sets"].clone()
    };
    let own = with(&[&unfolded, "--threads", "1"]);
    assert_eq!(with(&[&unfolded, "--threads", "3"]), own);
    assert_eq!(with(&[&folded, "--stats-from", &unfolded]), own);
    let refused = |arguments: &[&str]| {
        let run = run(&[&["similarity"], arguments, &["digits"]].concat(), folder.path());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
        run.stderr
    };
    assert!(refused(&[&folded, "--input-range", "signed"]).contains("--stats-from"));
    let stranger = refused(&[&folded, "--stats-from", &model("digits_mobilenet.onnx"), "--input-range", "signed"]);
    assert!(stranger.contains("differ from those of the model by"), "{stranger}");
}

#[test]
fn what_is_no_set_is_refused() {
    let folder = TempDir::new().unwrap();
    let resnet = model("digits_resnet.onnx");
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("note.txt"), "no pictures").unwrap();
    for (arguments, says) in [
        (&[resnet.as_str(), "nowhere"][..], "error[E0101]: nowhere: "),
        (&[&resnet, "empty"], "holds no PNG or JPEG pictures"),
        (&[&resnet, "note.txt"], "is not a folder, .safetensors, .npy or .npz"),
        (&[&resnet], "<SET>"),
        (&["nowhere.onnx", "empty"], "error[E0101]: nowhere.onnx: "),
        (&[&resnet, "empty", "--layers", "--pick"], "--pick"),
    ] {
        let run = run(&[&["similarity", "--input-range", "signed"], arguments].concat(), folder.path());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
}
