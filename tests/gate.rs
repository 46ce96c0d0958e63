//! `zeroq compare` as the gate of a pipeline: a good model passes, a spoiled one fails, and every format says why.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
/// Little work: these tests look at verdicts, not at accuracy.
const LITTLE: [&str; 4] = ["-n", "16", "--steps", "4"];

struct Pipeline(TempDir);

impl Pipeline {
    /// A folder with a good `int8.onnx` and a `spoiled.onnx`, narrow and untuned.
    fn new() -> Self {
        let pipeline = Pipeline(TempDir::new().unwrap());
        pipeline.succeed(&[&["quantize", RESNET, "-o", "int8.onnx", "--no-distill", "-q"][..], &LITTLE].concat());
        let narrow = ["--precision", "w4a4", "--all-layers", "--no-distill", "--no-check"];
        pipeline.succeed(&[&["quantize", RESNET, "-o", "spoiled.onnx", "-q"][..], &narrow, &LITTLE].concat());
        pipeline
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
        command.args(arguments).current_dir(self.path()).env_remove("ORT_DYLIB_PATH").env_remove("GITHUB_ACTIONS");
        command
    }

    fn succeed(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    }

    fn compare(&self, candidate: &str, more: &[&str]) -> Output {
        self.command(&[&["compare", RESNET, candidate][..], &LITTLE, more].concat()).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const LIMITS: [&str; 6] = ["--min-sqnr", "18", "--min-agreement", "50", "--max-size", "0.6x"];

#[test]
fn a_good_model_passes_and_a_spoiled_one_fails_in_every_format() {
    let pipeline = Pipeline::new();
    for format in ["text", "json", "junit", "sarif", "github", "markdown"] {
        let arguments = [&LIMITS[..], &["--format", format]].concat();
        let good = pipeline.compare("int8.onnx", &arguments);
        assert_eq!(good.status.code(), Some(0), "{format}: {}{}", text(&good.stdout), text(&good.stderr));
        let spoiled = pipeline.compare("spoiled.onnx", &arguments);
        assert_eq!(spoiled.status.code(), Some(1), "{format}: {}", text(&spoiled.stdout));
        let said = text(&spoiled.stdout);
        assert!(said.contains("min-sqnr") && said.contains("spoiled.onnx") | (format == "text"), "{format}: {said}");
        assert!(said.contains("at least 18.00 dB asked"), "{format}: {said}");
        let forgiven = pipeline.compare("spoiled.onnx", &[&arguments[..], &["--exit-zero"]].concat());
        assert_eq!(forgiven.status.code(), Some(0), "{format}");
    }
}

#[test]
fn formats_can_be_written_side_by_side_and_replace_nothing_unasked() {
    let pipeline = Pipeline::new();
    let writes = ["--write", "json=report.json", "--write", "junit=report.xml", "--write", "sarif=report.sarif"];
    let first = pipeline.compare("int8.onnx", &writes);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let report: Value = serde_json::from_str(&fs::read_to_string(pipeline.path().join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["command"], &report["passed"]), (&"compare".into(), &true.into()));
    let again = pipeline.compare("int8.onnx", &writes);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("report.json: exists already"), "{}", text(&again.stderr));
    assert_eq!(pipeline.compare("int8.onnx", &[&writes[..], &["--force"]].concat()).status.code(), Some(0));
    let over = pipeline.compare("int8.onnx", &["--write", "json=int8.onnx", "--force"]);
    assert!(over.status.code() == Some(2) && text(&over.stderr).contains("is an input"), "{}", text(&over.stderr));
}

#[test]
fn a_release_is_held_against_the_one_before() {
    let pipeline = Pipeline::new();
    pipeline.compare("int8.onnx", &["--write", "json=released.json"]);
    let regression = ["--baseline", "released.json", "--max-regression", "1"];
    assert_eq!(pipeline.compare("int8.onnx", &regression).status.code(), Some(0));
    let worse = pipeline.compare("spoiled.onnx", &regression);
    assert_eq!(worse.status.code(), Some(1), "{}", text(&worse.stderr));
    assert!(text(&worse.stdout).contains("dB in the baseline, at most 1 less asked"), "{}", text(&worse.stdout));
    fs::write(pipeline.path().join("other.json"), "{}").unwrap();
    let other = pipeline.compare("int8.onnx", &["--baseline", "other.json", "--max-regression", "1"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("other.json: is no report"), "{}", text(&other.stderr));
}

#[test]
fn layers_of_like_names_are_compared_and_limited() {
    let pipeline = Pipeline::new();
    let layers = |candidate: &str| -> Vec<f64> {
        let output = pipeline.compare(candidate, &["--layers", "--json"]);
        let report: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        report["layers"].as_array().unwrap().iter().map(|layer| layer["sqnr_db"].as_f64().unwrap()).collect()
    };
    let (good, spoiled) = (layers("int8.onnx"), layers("spoiled.onnx"));
    assert!(good.len() > 5 && spoiled.len() > 5, "{good:?} {spoiled:?}");
    let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least(&good) > least(&spoiled) + 6.0, "{good:?} {spoiled:?}");
    let limit = (least(&good) + least(&spoiled)) / 2.0;
    let limited = |candidate: &str| pipeline.compare(candidate, &["--min-layer-sqnr", &limit.to_string()]).status.code();
    assert_eq!((limited("int8.onnx"), limited("spoiled.onnx")), (Some(0), Some(1)));
}

#[test]
fn runners_of_github_get_annotations_without_being_asked() {
    let pipeline = Pipeline::new();
    let arguments = [&["compare", RESNET, "spoiled.onnx"][..], &LITTLE, &LIMITS].concat();
    let output = pipeline.command(&arguments).env("GITHUB_ACTIONS", "true").output().unwrap();
    assert!(text(&output.stderr).contains("::error file=spoiled.onnx,title=zeroq min-sqnr::output `"), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("::error"));
}

#[test]
fn what_cannot_be_judged_ends_with_2() {
    let pipeline = Pipeline::new();
    let cases: [(&[&str], &str); 6] = [
        (&["--max-latency", "1"], "ORT_DYLIB_PATH"),
        (&["--max-top1-drop", "1"], "--data"),
        (&["--baseline", "x.json"], "--max-regression"),
        (&["--max-size", "4bits"], "a part of the reference"),
        (&["--json", "--format", "sarif"], "two formats"),
        (&["--write", "pdf=x"], "junit"),
    ];
    for (arguments, says) in cases {
        let output = pipeline.compare("int8.onnx", arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// Folders of pictures of 16 × 20 for two classes, the first of which is the darker.
fn write_classes(folder: &Path, names: [&str; 2]) {
    for (class, name) in names.into_iter().enumerate() {
        fs::create_dir_all(folder.join(name)).unwrap();
        for index in 0..3u8 {
            let value = 100 * class as u8 + 20 * index;
            let picture = image::GrayImage::from_fn(20, 16, |x, y| image::Luma([value.wrapping_add((x * y) as u8)]));
            picture.save(folder.join(name).join(format!("{index}.png"))).unwrap();
        }
    }
}

#[test]
fn labelled_pictures_give_accuracies_and_a_limit() {
    let pipeline = Pipeline::new();
    write_classes(&pipeline.path().join("data"), ["3", "8"]);
    let labelled = |more: &[&str]| {
        let arguments = [&["compare", RESNET, "int8.onnx", "--data", "data", "--crop", "16", "--json"][..], more].concat();
        pipeline.command(&arguments).output().unwrap()
    };
    let output = labelled(&["--max-top1-drop", "100"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    let accuracy = &report["comparison"]["accuracy"];
    assert_eq!((&accuracy["samples"], &accuracy["output"]), (&6.into(), &"scores".into()));
    assert_eq!(report["verdicts"][0]["rule"], "max-top1-drop");
    assert_eq!(labelled(&["--max-top1-drop", "-100"]).status.code(), Some(1));
    fs::write(pipeline.path().join("classes.txt"), "3\nother\n").unwrap();
    let unknown = labelled(&["--classes", "classes.txt"]);
    assert!(unknown.status.code() == Some(2) && text(&unknown.stderr).contains("does not name the folders 8"), "{}", text(&unknown.stderr));
    let uncropped = pipeline.command(&["compare", RESNET, "int8.onnx", "--data", "data", "--resize", "16"]).output().unwrap();
    assert!(text(&uncropped.stderr).contains("is 16x20 after --resize and --crop"), "{}", text(&uncropped.stderr));
    let alone = pipeline.command(&["compare", RESNET, "int8.onnx", "--crop", "16"]).output().unwrap();
    assert!(alone.status.code() == Some(2) && text(&alone.stderr).contains("--data"), "{}", text(&alone.stderr));
}

/// A `.npz` member: a header and the bytes behind it.
fn npy(descriptor: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{:<117}\n", format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': {shape}, }}"));
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

#[test]
fn an_archive_with_labels_gives_accuracies_and_a_wrong_one_is_refused() {
    let pipeline = Pipeline::new();
    let write = |labels: &[i64]| {
        let mut archive = zip::ZipWriter::new(fs::File::create(pipeline.path().join("data.npz")).unwrap());
        let numbers: Vec<u8> = (0..3 * 256).flat_map(|i| (f32::from(i as u16 % 7) / 7.0).to_le_bytes()).collect();
        let labels: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        let count = labels.len() / 8;
        for (name, bytes) in [("x", npy("<f4", "(3, 1, 16, 16)", &numbers)), ("labels", npy("<i8", &format!("({count},)"), &labels))] {
            archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut archive, &bytes).unwrap();
        }
        archive.finish().unwrap();
        pipeline.command(&["compare", RESNET, "int8.onnx", "--data", "data.npz", "--max-top1-drop", "100"]).output().unwrap()
    };
    let fine = write(&[1, 2, 9]);
    assert_eq!(fine.status.code(), Some(0), "{}", text(&fine.stderr));
    assert!(text(&fine.stdout).contains("on 3 labelled samples"), "{}", text(&fine.stdout));
    for (labels, says) in [(&[1, 2][..], "2 labels for 3 samples"), (&[1, 2, -1], "no class"), (&[1, 2, 10], "each class")] {
        let output = write(labels);
        assert_eq!(output.status.code(), Some(2), "{labels:?}");
        assert!(text(&output.stderr).contains(says), "{labels:?}: {}", text(&output.stderr));
    }
}
