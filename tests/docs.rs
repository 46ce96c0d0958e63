//! Every ```sh block of the documentation is run as printed, page by page, in a folder with a network of `models/`.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Pages print it again and again, always for the same file: it is run once, and its result copied.
const MAIN_JOB: &str = "zeroq quantize model.onnx -o model_int8.onnx";

/// A folder in which the main job was run.
static MADE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = folder();
    bash(folder.path(), MAIN_JOB).unwrap();
    folder
});

/// The pages of the book, in its order, and README.md.
fn pages() -> Vec<PathBuf> {
    let book = Path::new(ROOT).join("docs/src");
    let summary = fs::read_to_string(book.join("SUMMARY.md")).unwrap();
    let links = summary.lines().filter_map(|line| line.split_once("](")?.1.strip_suffix(')'));
    links.map(|link| book.join(link)).chain([Path::new(ROOT).join("README.md")]).collect()
}

/// The lines of all blocks of a language.
fn blocks(page: &str, language: &str) -> String {
    let opening = format!("```{language}\n");
    page.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// A checkout with what the pages call `model.onnx` and `folded.onnx`, and sets of pictures to compare.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (network, name) in [("digits_resnet", "model.onnx"), ("digits_folded", "folded.onnx")] {
        fs::copy(Path::new(ROOT).join(format!("models/{network}.onnx")), folder.path().join(name)).unwrap();
    }
    fs::create_dir(folder.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zeroq"), folder.path().join("bin/zeroq")).unwrap();
    folder
}

fn bash(folder: &Path, script: &str) -> Result<(), String> {
    let search = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-exo", "pipefail", "-c", script])
        .current_dir(folder)
        .env("PATH", search)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("GITHUB_ACTIONS")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let commands: Vec<&str> = said.lines().filter(|line| line.starts_with("+ ") || line.starts_with("error")).collect();
    if output.status.success() { Ok(()) } else { Err(commands.join("\n")) }
}

#[test]
fn every_command_of_the_documentation_works_as_printed() {
    let failures: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = pages().into_iter().map(|page| scope.spawn(move || run(&page))).collect();
        runs.into_iter().filter_map(|run| run.join().unwrap().err()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn run(page: &Path) -> Result<(), String> {
    let text = fs::read_to_string(page).unwrap();
    let folder = folder();
    if page.ends_with("README.md") {
        let sets = "zeroq synthesize model.onnx -o photos -n 16 -q; zeroq synthesize model.onnx -o drawings -n 16 --seed 1 -q";
        bash(folder.path(), sets)?;
    }
    bash(folder.path(), &without_main_job(&blocks(&text, "sh"))).map_err(|said| format!("{}: {said}", page.display()))
}

fn without_main_job(script: &str) -> String {
    let is_main = |line: &str| line.split('#').next().unwrap().trim() == MAIN_JOB;
    let copy = || format!("test ! -e model_int8.onnx\ncp {} .", MADE.path().join("model_int8.onnx").display());
    script.lines().map(|line| if is_main(line) { copy() } else { line.to_string() } + "\n").collect()
}

#[test]
fn blocks_that_are_not_run_are_few_and_every_picture_is_there() {
    let mut unrun = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        unrun += text.matches("```console\n").count();
        assert_eq!(text.matches("```").count() % 2, 0, "{}", page.display());
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let target = page.parent().unwrap().join(link);
            assert!(link.contains("://") || target.exists(), "{}: {link} is not there", page.display());
        }
    }
    assert!(unrun <= 5, "{unrun} blocks are not run");
}
