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
