//! The node tests of the ONNX standard, for every operator that zeroq knows, and the forms that operators had in older sets,
//! for which ONNX Runtime says what they compute.
//!
//! Needs `ZEROQ_PYTHON`; `make test` provides it. A case that fails stands in `conformance/expected_failures.txt` with the
//! reason; the list may only shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;
use zeroq::execution::tape::{Request, Tape};
use zeroq::graph::{Dim, Graph, ValueId};
use zeroq::kernels::Isa;
use zeroq::onnx::{Limits, load};
use zeroq::passes::{fold_constants, infer_shapes};
use zeroq::tensor::{DataType, TensorData};

const EXPECTED: &str = include_str!("conformance/expected_failures.txt");

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Domain and name.
    operators: Vec<(String, String)>,
    rtol: f64,
    atol: f64,
    inputs: Option<Vec<Tensor>>,
    outputs: Option<Vec<Tensor>>,
}

/// A tensor among the values of all cases.
#[derive(Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    at: usize,
    r#type: String,
}

impl Tensor {
    fn values<'a>(&self, all: &'a [f64]) -> &'a [f64] {
        &all[self.at..self.at + self.shape.iter().product::<usize>()]
    }
}

enum Verdict {
    Passed,
    Failed(String),
    /// An operator that zeroq leaves to the runtime, or values that are no tensors of numbers.
    NotClaimed,
}

fn judge(case: &Case, all: &[f64], folder: &Path) -> Verdict {
    let known: BTreeSet<&str> = zeroq::ops::names().collect();
    // Constants are read as values, not as nodes.
    let claims = |name: &str| known.contains(name) || name == "Constant";
    let claimed = case.operators.iter().all(|(domain, name)| domain.is_empty() && claims(name));
    let (true, Some(inputs), Some(outputs)) = (claimed, &case.inputs, &case.outputs) else { return Verdict::NotClaimed };
    let path = folder.join(format!("{}.onnx", case.name));
    let run = |flowing| compute(&path, inputs, flowing, outputs, all);
    // What zeroq wants to be constant, networks have as constants: bounds, scales, weights; now and then even the first input.
    match run(inputs.len()).or_else(|reason| run(1.min(inputs.len())).or_else(|_| run(0)).map_err(|_| reason)) {
        Err(reason) => Verdict::Failed(reason.split_whitespace().collect::<Vec<_>>().join(" ")),
        Ok(found) => {
            let wrong = outputs.iter().zip(&found).find_map(|(output, found)| difference(output, output.values(all), found, case));
            wrong.map_or(Verdict::Passed, Verdict::Failed)
        }
    }
}

/// Shape and elements.
type Found = (Vec<usize>, Vec<f64>);

/// What the outputs of the model hold where the first `flowing` inputs are data and the others constants.
fn compute(path: &Path, inputs: &[Tensor], flowing: usize, outputs: &[Tensor], all: &[f64]) -> Result<Vec<Found>, String> {
    let told = |error: zeroq::Error| error.to_string();
    let mut graph = load(path, &Limits::default()).map_err(told)?.graph;
    for (id, input) in graph.inputs.clone().into_iter().zip(inputs) {
        let data_type = graph.value(id).data_type;
        graph.set_facts(id, data_type, Some(input.shape.iter().map(|size| Dim::Known(*size)).collect()));
    }
    for (id, input) in graph.inputs.split_off(flowing).into_iter().zip(&inputs[flowing..]) {
        let tensor = TensorData::from_f64(&input.shape, input.values(all).to_vec(), DataType::F32).ok_or("a shape does not fit")?;
        graph.set_constant(id, tensor);
    }
    fold_constants(&mut graph).map_err(told)?;
    infer_shapes(&mut graph).map_err(told)?;
    let computed: Vec<ValueId> = graph.outputs.iter().copied().filter(|id| graph.constant(*id).is_none()).collect();
    let request = Request { targets: &computed, seeds: &[], input_gradients: false, parameters: &[], isa: Isa::detect() };
    let tape = Tape::compile(&graph, &request).map_err(told)?;
    let mut lane = tape.lane();
    for (index, input) in inputs[..flowing].iter().enumerate() {
        let elements: Vec<f32> = input.values(all).iter().map(|x| *x as f32).collect();
        tape.load(&mut lane, index, &elements);
    }
    tape.forward(&mut lane);
    let read = |id: &ValueId| read(&graph, &tape, &lane, *id);
    graph.outputs.iter().take(outputs.len()).map(read).collect()
}

fn read(graph: &Graph, tape: &Tape, lane: &zeroq::execution::tape::Lane, id: ValueId) -> Result<Found, String> {
    if let Some(constant) = graph.constant(id) {
        let values = constant.to_f64().ok_or("a constant that is no number")?;
        return Ok((constant.shape().to_vec(), values));
    }
    let layout = tape.layout(id).ok_or("an output was not computed")?;
    let memory = tape.read(lane, id).map_err(|error| error.to_string())?;
    Ok((layout.shape.clone(), layout.offsets().into_iter().map(|offset| f64::from(memory[offset])).collect()))
}

fn difference(output: &Tensor, wanted: &[f64], found: &Found, case: &Case) -> Option<String> {
    if output.shape != found.0 {
        return Some(format!("`{}` is {:?} instead of {:?}", output.name, found.0, output.shape));
    }
    let equal = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= case.atol + case.rtol * b.abs();
    let wrong = found.1.iter().zip(wanted).find(|(a, b)| !equal(**a, **b));
    wrong.map(|(a, b)| format!("`{}` ({}) holds {a} instead of {b}", output.name, output.r#type))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// What became of the cases that a script writes.
#[derive(Default)]
struct Verdicts {
    passed: usize,
    not_claimed: usize,
    /// With the reason.
    failed: BTreeMap<String, String>,
}

/// Around the test harness, which keeps what passing tests print to itself.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn judge_all(maker: &str) -> Verdicts {
    let folder = TempDir::new().unwrap();
    let python = std::env::var("ZEROQ_PYTHON").expect("ZEROQ_PYTHON names no Python; run `make test`");
    assert!(Command::new(python).arg(script(maker)).arg(folder.path()).status().unwrap().success());
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.path().join("cases.json")).unwrap()).unwrap();
    let bytes = std::fs::read(folder.path().join("values.bin")).unwrap();
    let values: Vec<f64> = bytes.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
    let mut verdicts = Verdicts::default();
    for case in &cases {
        match judge(case, &values, folder.path()) {
            Verdict::Passed => verdicts.passed += 1,
            Verdict::Failed(reason) => {
                verdicts.failed.insert(case.name.clone(), reason);
            }
            Verdict::NotClaimed => verdicts.not_claimed += 1,
        }
    }
    verdicts
}

#[test]
fn nodes_compute_what_the_standard_says() {
    let Verdicts { passed, not_claimed, failed } = judge_all("make_node_tests.py");
    let total = passed + not_claimed + failed.len();
    say(&format!("node tests of the standard: {passed} pass, {} fail, {total} in all; the others are not claimed", failed.len()));
    let expected: BTreeSet<&str> =
        EXPECTED.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(':').next()).collect();
    let news: Vec<String> =
        failed.iter().filter(|(name, _)| !expected.contains(name.as_str())).map(|(name, reason)| format!("{name}: {reason}")).collect();
    assert!(news.is_empty(), "these failed and should not:\n{}", news.join("\n"));
    let mended: Vec<&&str> = expected.iter().filter(|name| !failed.contains_key(**name)).collect();
    assert!(mended.is_empty(), "these pass and are to be taken off the list: {mended:?}");
}

#[test]
fn older_forms_compute_what_onnx_runtime_says() {
    let Verdicts { passed, not_claimed, failed } = judge_all("make_old_forms.py");
    say(&format!("older forms: {passed} pass, {} fail", failed.len()));
    let failed: Vec<String> = failed.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    assert!(failed.is_empty(), "these failed:\n{}", failed.join("\n"));
    assert_eq!(not_claimed, 0, "the table has operators that zeroq does not know");
}
