//! Our executor against ONNX Runtime and tract, on every network of models/ and every habit of the zoo, as read, as
//! simplified and as raised to operator set 21.
//!
//! Needs `ZEROQ_PYTHON` and `ORT_DYLIB_PATH`; `make test` provides them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use zeroq::calibration::{CalibrationSet, Provenance, Samples};
use zeroq::evaluation::{Engine, OnnxRuntime, Own, Subject, Tract};
use zeroq::execution::Config;
use zeroq::graph::{Graph, known_shape};
use zeroq::onnx::{Limits, Model, load, to_bytes};
use zeroq::ops::Foreign;
use zeroq::passes::{carry_through, prepare, simplify, single_sample, upgrade_opset};
use zeroq::random::Random;
use zeroq::tensor::DataType;

/// tract 0.23 computes a ConvTranspose with output_padding, output_shape or auto_pad otherwise than ONNX Runtime and zeroq.
const TRACT_DIFFERS: &str = "transposed_sizes.onnx";

fn onnx_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    files.sort();
    files
}

fn noise(graph: &Graph, count: usize) -> CalibrationSet {
    let sample = single_sample(graph).unwrap();
    let mut random = Random::new(5, 0);
    let samples = |value| {
        let value = sample.value(value);
        let shape = known_shape(value.shape.as_deref().unwrap()).unwrap();
        let elements = (0..count * shape.iter().product::<usize>()).map(|_| random.normal()).collect();
        Samples::new(&value.name, shape, elements).unwrap()
    };
    CalibrationSet { inputs: sample.inputs.iter().copied().map(samples).collect(), provenance: Provenance::default() }
}

/// Largest difference as a part of the largest output.
fn distance(wanted: &[ndarray::ArrayD<f32>], found: &[ndarray::ArrayD<f32>]) -> f32 {
    assert_eq!(wanted.len(), found.len());
    let one = |(a, b): (&ndarray::ArrayD<f32>, &ndarray::ArrayD<f32>)| {
        assert_eq!(a.shape(), b.shape());
        let largest = a.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
    };
    wanted.iter().zip(found).map(one).fold(0.0, f32::max)
}

/// What is wrong with `path`, and whether tract opened it.
fn judge(path: &Path) -> (Vec<String>, bool) {
    let model = load(path, &Limits::default()).unwrap();
    let mut simplified = model.graph.clone();
    simplify(&mut simplified).unwrap();
    prepare(&mut simplified).unwrap();
    let mut raised = model.graph.clone();
    upgrade_opset(&mut raised, model.opset).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let subject = |graph| Subject { label: "network", bytes: &bytes, path: Some(path), graph };
    let set = noise(&model.graph, 3);
    let wanted = OnnxRuntime::new(&subject(&model.graph)).unwrap().run(&set).unwrap();
    let mut wrong = Vec::new();
    wrong.extend(judge_file(&model.with_graph(raised.clone()), &set, &wanted).map(|reason| format!("{name}, raised: {reason}")));
    for (stage, graph) in [("read", &model.graph), ("simplified", &simplified), ("raised", &raised)] {
        match Own::new(&subject(graph), &Config::default()).run(&set) {
            Ok(found) if distance(&wanted, &found) <= 1e-4 => {}
            Ok(found) => wrong.push(format!("{name}, {stage}: off by {} of the largest", distance(&wanted, &found))),
            Err(error) => wrong.push(format!("{name}, {stage}: {error}")),
        }
    }
    let tract = Tract::new(&subject(&model.graph), &set).and_then(|mut tract| tract.run(&set));
    let opened = tract.is_ok();
    if let Ok(found) = tract.map(|found| distance(&wanted, &found))
        && found > 1e-4
        && name != TRACT_DIFFERS
    {
        wrong.push(format!("{name}, tract: off by {found} of the largest"));
    }
    (wrong, opened)
}

/// What is wrong with `model` as a file, by onnx.checker and by ONNX Runtime.
fn judge_file(model: &Model, set: &CalibrationSet, wanted: &[ndarray::ArrayD<f32>]) -> Option<String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let bytes = to_bytes(model).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let checked = Command::new(python()).arg(script("check_model.py")).arg(&path).output().unwrap();
    if !checked.status.success() {
        return Some(String::from_utf8_lossy(&checked.stdout).into_owned());
    }
    let subject = Subject { label: "raised", bytes: &bytes, path: None, graph: &model.graph };
    match OnnxRuntime::new(&subject).and_then(|mut engine| engine.run(set)) {
        Ok(found) => Some(distance(wanted, &found)).filter(|distance| *distance > 1e-5).map(|distance| format!("off by {distance}")),
        Err(error) => Some(error.to_string()),
    }
}

fn python() -> String {
    std::env::var("ZEROQ_PYTHON").expect("ZEROQ_PYTHON names no Python; run `make test`")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

#[test]
fn our_networks_compute_the_same_in_three_engines() {
    for path in onnx_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models")) {
        assert_eq!(judge(&path), (Vec::new(), true));
    }
}

#[test]
fn the_zoo_computes_the_same_in_onnx_runtime_and_here() {
    let folder = TempDir::new().unwrap();
    assert!(Command::new(python()).arg(script("make_zoo.py")).arg(folder.path()).status().unwrap().success());
    // ONNX Runtime alone knows all operators and sizes, trains where a file says so, and rounds to float16 on the way.
    let computable = |path: &PathBuf| {
        let mut graph = load(path, &Limits::default()).unwrap().graph;
        simplify(&mut graph).unwrap();
        carry_through(&mut graph).unwrap();
        let known = graph.nodes().all(|(_, node)| node.is::<Foreign>().is_none());
        known && !path.ends_with("training_mode.onnx") && graph.inputs.iter().all(|id| graph.value(*id).data_type == Some(DataType::F32))
    };
    let results: Vec<(Vec<String>, bool)> =
        onnx_files(folder.path()).iter().filter(|path| computable(path)).map(|path| judge(path)).collect();
    let wrong: Vec<&String> = results.iter().flat_map(|(wrong, _)| wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let opened = results.iter().filter(|(_, opened)| *opened).count();
    println!("tract opened {opened} of {}", results.len());
    assert!(opened * 2 >= results.len());
}
