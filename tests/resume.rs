//! Runs that are stopped: what they leave behind, and that `--resume` goes on from there to the same bytes.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
/// Enough work to be stopped in.
const WORK: [&str; 6] = ["-n", "96", "--steps", "60", "--threads", "2"];

fn zeroq(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    command.args(arguments).args(WORK).current_dir(folder).env_remove("ORT_DYLIB_PATH").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn finish(folder: &Path, arguments: &[&str]) -> Output {
    zeroq(folder, arguments).output().unwrap()
}

/// Starts a run and sends it a signal after some milliseconds.
fn stop(folder: &Path, arguments: &[&str], after: u64, signal: &str) -> Output {
    let child: Child = zeroq(folder, arguments).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(after));
    // It may be over already.
    let _ = Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status().unwrap();
    child.wait_with_output().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_killed_run_leaves_the_old_output_and_no_other_file() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("out.onnx"), "old").unwrap();
    for (after, signal) in [(20, "-KILL"), (150, "-TERM"), (400, "-KILL"), (700, "-INT")] {
        let done = stop(place.path(), &["quantize", RESNET, "-o", "out.onnx", "--force"], after, signal);
        assert!(!done.status.success());
        assert_eq!(fs::read(place.path().join("out.onnx")).unwrap(), b"old", "{signal} after {after} ms");
        assert_eq!(files(place.path()), ["out.onnx"], "{signal} after {after} ms");
    }
}

/// Stops `command` again and again, later every time, until it comes to its end; then holds what it wrote against what it writes
/// in one go. `file` is the part of the output that is compared.
fn check_resuming(command: &[&str], file: &str) {
    let place = TempDir::new().unwrap();
    let resumed = [command, &["-o", "out", "--resume"]].concat();
    let mut stopped = 0;
    for after in (1..200).map(|turn| 120 * turn) {
        let done = stop(place.path(), &resumed, after, if stopped % 2 == 0 { "-INT" } else { "-KILL" });
        if done.status.success() {
            break;
        }
        stopped += 1;
        let left = files(place.path());
        assert!(left.is_empty() || left == ["out.resume"], "{left:?}: {}", text(&done));
    }
    assert!(stopped > 1, "it was never stopped");
    assert_eq!(files(place.path()), ["out"]);
    let done = finish(place.path(), &[command, &["-o", "whole"]].concat());
    assert!(done.status.success(), "{}", text(&done));
    let read = |output: &str| fs::read(place.path().join(format!("{output}{file}"))).unwrap();
    assert!(read("out") == read("whole"));
}

#[test]
fn a_stopped_quantization_goes_on_to_the_same_bytes() {
    check_resuming(&["quantize", RESNET, "--distill-steps", "60", "--reconstruct-steps", "6"], "");
}

#[test]
fn a_stopped_synthesis_goes_on_to_the_same_bytes() {
    check_resuming(&["synthesize", RESNET], "/set.safetensors");
}

#[test]
fn the_checkpoint_of_another_run_is_refused() {
    let place = TempDir::new().unwrap();
    let command = ["quantize", RESNET, "-o", "out.onnx", "--resume"];
    let done = stop(place.path(), &command, 400, "-INT");
    assert_eq!(done.status.code(), Some(130), "{}", text(&done));
    assert!(text(&done).contains("kept in out.onnx.resume"), "{}", text(&done));
    let done = finish(place.path(), &[&command[..], &["--seed", "7"]].concat());
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done).contains("`seed: 0,` there, `seed: 7,` here"), "{}", text(&done));
    assert_eq!(files(place.path()), ["out.onnx.resume"]);
}

#[test]
fn a_disk_that_is_full_leaves_nothing() {
    let place = TempDir::new().unwrap();
    for command in [["quantize", "out.onnx"], ["synthesize", "set"]] {
        // The shell's limit of file sizes, in blocks of 512 or 1024 bytes, stands for a disk with no more room than that.
        let line = format!("trap '' XFSZ; ulimit -f 4; exec \"$0\" {} '{RESNET}' -o {} -n 96 --steps 3", command[0], command[1]);
        let done = Command::new("sh").args(["-c", &line, env!("CARGO_BIN_EXE_zeroq")]).current_dir(place.path()).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{}", text(&done));
        assert!(text(&done).contains("File too large"), "{}", text(&done));
        assert_eq!(files(place.path()), [""; 0]);
    }
}
