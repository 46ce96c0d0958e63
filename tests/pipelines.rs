//! The GitHub action and the examples for pipelines: their commands are run as a runner would, on a network of `models/`.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What `${{ ... }}` stands for.
type Context = BTreeMap<String, String>;

/// A checkout with `model.onnx`, and a machine with zeroq and with a cargo and a gh that only note how they are called.
struct Runner(TempDir);

impl Runner {
    fn new() -> Self {
        let runner = Runner(TempDir::new().unwrap());
        fs::create_dir_all(runner.path("bin")).unwrap();
        fs::copy(Path::new(ROOT).join("models/digits_resnet.onnx"), runner.path("model.onnx")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zeroq"), runner.path("bin/zeroq")).unwrap();
        runner.program("cargo", "echo \"$@\" >> cargo.log");
        runner.program("gh", "exit 0");
        runner
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn program(&self, name: &str, body: &str) {
        let file = self.path("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn bash(&self, script: &str, variables: &Context) -> Output {
        let search = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).current_dir(self.0.path());
        command.env("PATH", search).env("GITHUB_ACTIONS", "true").env_remove("ORT_DYLIB_PATH").envs(variables);
        for file in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
            command.env(file, self.path(file));
        }
        command.output().unwrap()
    }

    /// Runs the commands of `steps` until one fails: its exit code, and what it said on stderr.
    fn steps(&self, steps: &[Value], context: &mut Context) -> (i32, String) {
        for step in steps {
            if !wanted(step, context) {
                continue;
            }
            let (code, said) = match (text(&step["run"]), text(&step["uses"])) {
                (Some(script), _) => self.step(step, script, context),
                (_, Some("OWNER/zeroq@v0.1.0")) => self.action(&variables(&step["with"], context)),
                _ => (0, String::new()),
            };
            if code != 0 {
                return (code, said);
            }
        }
        (0, String::new())
    }

    fn step(&self, step: &Value, script: &str, context: &mut Context) -> (i32, String) {
        fs::write(self.path("GITHUB_OUTPUT"), "").unwrap();
        let output = self.bash(&expand(script, context), &variables(&step["env"], context));
        for line in self.read("GITHUB_OUTPUT").lines() {
            let (name, value) = line.split_once('=').unwrap();
            context.insert(format!("steps.{}.outputs.{name}", text(&step["id"]).unwrap()), value.into());
        }
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Runs `action.yml` with the inputs of `with`.
    fn action(&self, with: &Context) -> (i32, String) {
        let action = yaml("action.yml");
        let known = action["inputs"].as_object().unwrap();
        assert!(with.keys().all(|name| known.contains_key(name)), "{with:?}");
        let mut context = github();
        for (name, input) in known {
            let given = with.get(name).cloned();
            assert!(given.is_some() || input["required"] != true, "{name}");
            let value = given.unwrap_or_else(|| expand(text(&input["default"]).unwrap(), &context));
            context.insert(format!("inputs.{name}"), value);
        }
        let result = self.steps(action["runs"]["steps"].as_array().unwrap(), &mut context);
        let told = expand(text(&action["outputs"]["exit-code"]["value"]).unwrap(), &context);
        assert_eq!(told, result.0.to_string());
        result
    }
}

fn github() -> Context {
    let facts = [
        ("github.action_path", "/sources/zeroq"),
        ("github.server_url", "https://git.example"),
        ("github.action_repository", "OWNER/zeroq"),
        ("github.token", "token"),
    ];
    facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn yaml(file: &str) -> Value {
    let source = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    serde_saphyr::from_str(&source).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn variables(table: &Value, context: &Context) -> Context {
    let rows = table.as_object().into_iter().flatten();
    rows.map(|(name, value)| (name.clone(), expand(text(value).unwrap(), context))).collect()
}

/// `text` with its expressions replaced; outputs of a step that set none are empty, as on GitHub.
fn expand(text: &str, context: &Context) -> String {
    let Some((before, rest)) = text.split_once("${{ ") else { return text.into() };
    let (name, after) = rest.split_once(" }}").unwrap();
    let value = context.get(name).cloned().or(name.starts_with("steps.").then(String::new));
    format!("{before}{}{}", value.unwrap_or_else(|| panic!("{name} is not known")), expand(after, context))
}

fn wanted(step: &Value, context: &Context) -> bool {
    match text(&step["if"]) {
        Some("${{ inputs.quantize != '' }}") => !context["inputs.quantize"].is_empty(),
        _ => true,
    }
}

fn inputs(more: &[(&str, &str)]) -> Context {
    let always = [("reference", "model.onnx"), ("candidate", "int8.onnx"), ("report-dir", "reports")];
    always.iter().chain(more).map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

const LITTLE: &str = "-n 16 --steps 4 --no-distill";
const LIMITS: &str = "--min-sqnr 18\n--max-size 0.6x -n 16 --steps 4";
const NARROW: &str = "--precision w4a4 --all-layers --no-check";

#[test]
fn the_action_passes_a_good_model_and_leaves_its_reports() {
    let runner = Runner::new();
    let (code, said) = runner.action(&inputs(&[("quantize", LITTLE), ("args", LIMITS)]));
    assert_eq!(code, 0, "{said}");
    assert!(runner.read("GITHUB_STEP_SUMMARY").starts_with("## zeroq compare: passed"));
    assert!(runner.read("reports/report.xml").contains("failures=\"0\""));
    assert_eq!(serde_json::from_str::<Value>(&runner.read("reports/report.json")).unwrap()["passed"], true);
    assert_eq!(runner.read("cargo.log"), "install --locked --path /sources/zeroq\n");
}

#[test]
fn the_action_ends_with_1_for_a_spoiled_model_and_says_why_everywhere() {
    let runner = Runner::new();
    let (code, said) = runner.action(&inputs(&[("quantize", &format!("{LITTLE} {NARROW}")), ("args", LIMITS)]));
    assert_eq!(code, 1, "{said}");
    for report in ["GITHUB_STEP_SUMMARY", "reports/report.xml", "reports/report.sarif"] {
        let report = runner.read(report);
        assert!(report.contains("min-sqnr") && report.contains("at least 18.00 dB asked"), "{report}");
    }
    assert!(said.contains("::error file=int8.onnx"), "{said}");
}

#[test]
fn the_action_keeps_the_exit_code_of_bad_input_and_no_report_of_an_earlier_run() {
    let runner = Runner::new();
    fs::create_dir(runner.path("reports")).unwrap();
    fs::write(runner.path("reports/report.md"), "passed").unwrap();
    let (code, said) = runner.action(&inputs(&[("version", "v0.1.0")]));
    assert!(code == 2 && said.contains("int8.onnx"), "{said}");
    assert!(!runner.path("reports/report.md").exists() && !runner.path("GITHUB_STEP_SUMMARY").exists());
    assert_eq!(runner.read("cargo.log"), "install --locked --git https://git.example/OWNER/zeroq --tag v0.1.0 zeroq\n");
}

#[test]
fn inputs_of_the_action_are_words_and_never_commands() {
    let runner = Runner::new();
    let hostile = "$(touch broken) ; touch broken";
    let (code, _) = runner.action(&inputs(&[("args", hostile), ("candidate", "\"; touch broken; \"")]));
    assert!(code == 2 && !runner.path("broken").exists());
    let action = yaml("action.yml");
    for step in action["runs"]["steps"].as_array().unwrap() {
        assert!(!text(&step["run"]).unwrap().contains("${{"), "an expression within a script is run as shell: {step}");
    }
}

#[test]
fn quoted_inputs_of_the_action_may_hold_blanks() {
    let runner = Runner::new();
    fs::rename(runner.path("model.onnx"), runner.path("my model.onnx")).unwrap();
    let blanks = [("reference", "my model.onnx"), ("candidate", "my int8.onnx"), ("quantize", LITTLE)];
    let limits = format!("{LIMITS} --write 'text=my report.txt'\n--write \"markdown=it's passed.md\"");
    let (code, said) = runner.action(&inputs(&[&blanks[..], &[("args", &limits)]].concat()));
    assert_eq!(code, 0, "{said}");
    assert!(runner.path("my report.txt").exists() && runner.path("it's passed.md").exists());
    let (code, said) = runner.action(&inputs(&[&blanks[..2], &[("args", "--min-sqnr '18")]].concat()));
    assert!(code == 2 && said.contains("quote"), "{said}");
}

#[test]
fn the_example_workflow_passes_twice_and_holds_the_second_build_against_the_first() {
    let (runner, workflow) = (Runner::new(), yaml("examples/github-workflow.yml"));
    let steps = workflow["jobs"]["quantize"]["steps"].as_array().unwrap();
    let first = runner.steps(steps, &mut github());
    assert_eq!(first.0, 0, "{}", first.1);
    let uploads = steps.iter().flat_map(|step| [&step["with"]["path"], &step["with"]["sarif_file"]]).filter_map(text);
    assert_eq!(uploads.map(|path| assert!(runner.path(path).exists(), "{path}")).count(), 3);

    let released = "case \"$2\" in list) echo 7 ;; download) mkdir -p baseline && cp released.json baseline/report.json ;; esac";
    runner.program("gh", released);
    fs::copy(runner.path("zeroq-report/report.json"), runner.path("released.json")).unwrap();
    let second = runner.steps(steps, &mut github());
    assert_eq!(second.0, 0, "{}", second.1);
    assert!(runner.read("zeroq-report/report.xml").contains("max-regression"), "{}", runner.read("zeroq-report/report.xml"));
}

#[test]
fn the_example_job_of_gitlab_passes_a_good_model_and_fails_one_that_is_too_large() {
    let (runner, job) = (Runner::new(), yaml("examples/gitlab-ci.yml"));
    let settings = variables(&job["variables"], &Context::new());
    let script = job["quantize"]["script"].as_array().unwrap().iter().filter_map(text).collect::<Vec<_>>().join("\n");
    let good = runner.bash(&script, &settings);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(runner.read("zeroq.xml").contains("failures=\"0\"") && runner.path("zeroq.json").exists());
    let spoiled = runner.bash(&script.replace("0.4x", "0.1x"), &settings);
    assert_eq!(spoiled.status.code(), Some(1));
    let report = job["quantize"]["artifacts"]["reports"]["junit"].as_str().unwrap();
    assert!(runner.read(report).contains("max-size"), "{}", runner.read(report));
}
