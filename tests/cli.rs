//! The program from outside: exit codes, streams, and files that must stay as they are.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

fn zeroq() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    command.env_remove("ORT_DYLIB_PATH").env_remove("CLICOLOR_FORCE").timeout(std::time::Duration::from_secs(60));
    command
}

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str], folder: &Path) -> Run {
    let output = zeroq().args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that look like nothing.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn help_and_version_are_results() {
    let place = TempDir::new().unwrap();
    for arguments in [&["--help"][..], &["--version"], &["quantize", "--help"], &["compare", "-h"], &["help", "inspect"]] {
        let run = run(arguments, place.path());
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!run.stdout.is_empty());
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    struct Case {
        arguments: &'static [&'static str],
        says: &'static str,
    }
    let cases = [
        Case { arguments: &[], says: "Usage" },
        Case { arguments: &["melt", "m.onnx"], says: "melt" },
        Case { arguments: &["quantize", "m.onnx"], says: "--output" },
        Case { arguments: &["quantize", "-o", "q.onnx"], says: "MODEL" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--precision", "int3"], says: "int8, w4a8, w4a4, w8a16, mixed, fp16" },
        Case {
            arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--target", "abacus"],
            says: "ort-cpu, ort-cpu-avx2, ort-arm64, tensorrt, qnn, tract",
        },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--max-size", "9 bananas"], says: "4.5bits" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--no-check", "--check-budget", "1"], says: "--no-check" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--check-agreement", "101"], says: "from 0 to 100" },
        Case { arguments: &["sensitivity", "m.onnx", "--precision", "int8"], says: "--precision" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--observer", "eyes"], says: "percentile" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "-n", "0"], says: "from 1 to" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "-n", "1000000000"], says: "from 1 to" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--shape", "x=1x0"], says: "NAME=SIZES" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--input-range=3,1"], says: "LO < HI" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--seed=-1"], says: "--seed" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--device", "tpu"], says: "cuda:N" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--no-distill", "--distill-steps", "5"], says: "--no-distill" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--device", "cpu", "--devices", "0,1"], says: "--devices" },
        Case { arguments: &["quantize", "m.onnx", "-o", "q.onnx", "--autotune", "--objective", "latency"], says: "--objective" },
        Case { arguments: &["inspect", "m.onnx", "--threads", "0"], says: "--threads" },
        Case { arguments: &["inspect", "m.onnx", "--isa", "mmx"], says: "portable" },
        Case { arguments: &["inspect", "m.onnx", "-q", "-v"], says: "--verbose" },
        Case { arguments: &["compare", "m.onnx"], says: "CANDIDATE" },
        Case { arguments: &["compare", "m.onnx", "q.onnx", "--min-agreement", "nan"], says: "from 0 to 100" },
        Case { arguments: &["compare", "m.onnx", "q.onnx", "--min-agreement", "101"], says: "from 0 to 100" },
    ];
    let place = TempDir::new().unwrap();
    for case in cases {
        let run = run(case.arguments, place.path());
        assert_eq!(run.code, Some(2), "{:?}", case.arguments);
        assert_eq!(run.stdout, "", "{:?}", case.arguments);
        assert!(run.stderr.contains(case.says), "{:?}: {}", case.arguments, run.stderr);
        assert_eq!(files(place.path()), [""; 0]);
    }
}

#[test]
fn negative_ranges_need_no_quoting() {
    let place = TempDir::new().unwrap();
    for range in [&["--input-range=-124,27"][..], &["--input-range", "-1,1,-2,2,-3,3"]] {
        let run = run(&[&["quantize", "m.onnx", "-o", "q.onnx"], range].concat(), place.path());
        assert!(run.stderr.contains("error[E0101]: m.onnx"), "{}", run.stderr);
    }
}

#[test]
fn a_missing_model_is_named() {
    let place = TempDir::new().unwrap();
    for arguments in [
        &["inspect", "no such model.onnx"][..],
        &["quantize", "no such model.onnx", "-o", "q.onnx"],
        &["synthesize", "no such model.onnx", "-o", "images"],
        &["compare", "no such model.onnx", "q.onnx"],
        &["sensitivity", "no such model.onnx", "--plot", "p.svg"],
        &["similarity", "no such model.onnx", "images"],
        &["bench", "no such model.onnx"],
    ] {
        let run = run(arguments, place.path());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
        assert!(run.stderr.starts_with("error[E0101]: no such model.onnx: "), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1);
        assert_eq!(files(place.path()), [""; 0]);
    }
}

#[test]
fn what_is_no_model_is_refused_and_nothing_is_written() {
    let place = TempDir::new().unwrap();
    let contents: [(&str, Vec<u8>); 6] = [
        ("empty.onnx", Vec::new()),
        ("noise.onnx", noise(4096)),
        ("page.onnx", b"<!DOCTYPE html><html></html>".to_vec()),
        ("pointer.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec()),
        ("zip.onnx", b"PK\x03\x04rest of an archive".to_vec()),
        ("zeros.onnx", vec![0; 100]),
    ];
    for (name, bytes) in &contents {
        fs::write(place.path().join(name), bytes).unwrap();
    }
    let before = files(place.path());
    for (name, _) in &contents {
        for arguments in [
            &["inspect", name][..],
            &["quantize", name, "-o", "q.onnx", "--report", "r.json"],
            &["synthesize", name, "-o", "images"],
            &["compare", name, name],
            &["sensitivity", name, "--plot", "p.svg"],
            &["similarity", name, "."],
        ] {
            let run = run(arguments, place.path());
            assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", run.stderr);
            assert!(run.stderr.starts_with("error[E"), "{arguments:?}: {}", run.stderr);
            assert!(!run.stderr.contains("panicked") && !run.stderr.contains("E0901"), "{arguments:?}: {}", run.stderr);
        }
    }
    assert_eq!(files(place.path()), before);
    assert!(run(&["inspect", "pointer.onnx"], place.path()).stderr.contains("git lfs pull"));
}

#[test]
fn a_folder_is_no_model() {
    let place = TempDir::new().unwrap();
    fs::create_dir(place.path().join("model.onnx")).unwrap();
    let run = run(&["inspect", "model.onnx"], place.path());
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.starts_with("error[E0101]: model.onnx: "), "{}", run.stderr);
}

#[test]
fn an_existing_output_is_not_replaced() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("m.onnx"), noise(64)).unwrap();
    fs::write(place.path().join("q.onnx"), "precious").unwrap();
    fs::write(place.path().join("q.json"), "precious").unwrap();
    fs::create_dir(place.path().join("images")).unwrap();
    fs::write(place.path().join("images/photo.jpg"), "precious").unwrap();
    for (arguments, says) in [
        (&["quantize", "m.onnx", "-o", "q.onnx"][..], "--force"),
        (&["quantize", "m.onnx", "-o", "m.onnx", "--force"], "is an input"),
        (&["quantize", "m.onnx", "-o", "./m.onnx", "--force"], "is an input"),
        (&["quantize", "m.onnx", "-o", "images"], "is a folder"),
        (&["quantize", "m.onnx", "-o", "no/such/folder/q.onnx"], "no such folder"),
        (&["quantize", "m.onnx", "-o", "new.onnx", "--report", "q.json"], "--force"),
        (&["quantize", "m.onnx", "-o", "new.onnx", "--report", "new.txt"], ".html"),
        (&["quantize", "m.onnx", "-o", "new.onnx", "--report", "new.onnx"], "the same file"),
        (&["synthesize", "m.onnx", "-o", "images"], "--force"),
        (&["synthesize", "m.onnx", "-o", "images", "--force"], "photo.jpg"),
        (&["synthesize", "m.onnx", "-o", "q.onnx", "--force"], "not a folder"),
    ] {
        let run = run(arguments, place.path());
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(run.stderr.contains(says), "{arguments:?}: {}", run.stderr);
    }
    assert_eq!(fs::read(place.path().join("q.onnx")).unwrap(), b"precious");
    assert_eq!(fs::read(place.path().join("images/photo.jpg")).unwrap(), b"precious");
    assert_eq!(files(place.path()), ["images", "m.onnx", "q.json", "q.onnx"]);
}

#[test]
fn a_card_that_this_build_cannot_use_is_refused() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("m.onnx"), noise(64)).unwrap();
    let run = run(&["quantize", "m.onnx", "-o", "q.onnx", "--device", "cuda:1"], place.path());
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.starts_with("error[E0401]: --device cuda:1: ") && run.stderr.contains("--device cpu"), "{}", run.stderr);
}

#[test]
fn flags_of_one_precision_are_refused_with_another() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("m.onnx"), noise(64)).unwrap();
    let cases = [
        ("int8", "--max-size=4bits", "--precision mixed"),
        ("fp16", "--no-check", "--no-check is for integers"),
        ("fp16", "--target=tensorrt", "--target is for integers"),
        ("fp16", "--no-equalize", "--no-equalize is for integers"),
        ("fp16", "--mixup=0.5", "--mixup is for integers"),
        ("w4a8", "--objective=latency", "--precision int8"),
        ("mixed", "--check-budget=2", "its budget"),
        ("mixed", "--no-distill", "--max-size or --min-sqnr"),
        ("int8", "--all-layers", "--precision w4a8 or w4a4"),
        ("w8a16", "--all-layers", "--precision w4a8 or w4a4"),
        ("w4a4", "--fp16-io", "--precision fp16"),
        ("fp16", "--absorb-bias", "--absorb-bias is for integers"),
        ("fp16", "--bias-correction=empirical", "--bias-correction is for integers"),
    ];
    for (precision, flag, says) in cases {
        let run = run(&["quantize", "m.onnx", "-o", "q.onnx", "--precision", precision, flag], place.path());
        assert_eq!(run.code, Some(2));
        assert!(run.stderr.starts_with("error[E0401]") && run.stderr.contains(says), "{precision} {flag}: {}", run.stderr);
    }
}

#[test]
fn with_json_even_an_error_is_exactly_one_value() {
    let place = TempDir::new().unwrap();
    let run = run(&["inspect", "m.onnx", "--json"], place.path());
    assert_eq!(run.code, Some(2));
    let value: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(value["error"]["code"], "E0101");
    assert_eq!(value["schema"], 1);
}

#[test]
fn names_cannot_steer_the_terminal() {
    let place = TempDir::new().unwrap();
    let run = run(&["inspect", "\u{1b}[2Jm.onnx"], place.path());
    assert!(!run.stderr.contains('\u{1b}') && run.stderr.contains("\\u{1b}"), "{:?}", run.stderr);
}

#[test]
fn colors_follow_the_flag_and_then_the_environment() {
    let colored = |flags: &[&str], set: &[(&str, &str)]| {
        let output = zeroq().args(["inspect", "nowhere.onnx"]).args(flags).env_remove("NO_COLOR").envs(set.iter().copied()).output();
        output.unwrap().stderr.contains(&0x1b)
    };
    for (flags, set, expected) in [
        (&[][..], &[][..], false),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
        (&["--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
        (&[], &[("CLICOLOR_FORCE", "1")], true),
        (&[], &[("CLICOLOR_FORCE", "0")], false),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")], true),
    ] {
        assert_eq!(colored(flags, set), expected, "{flags:?} {set:?}");
    }
}

#[test]
fn without_a_terminal_progress_is_one_line_for_every_tenth() {
    let place = TempDir::new().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits_resnet.onnx").to_string_lossy().into_owned();
    let work = ["synthesize", &model, "-o", "images", "-f", "-n", "8", "--steps", "50", "--input-range", "signed"];
    let lines: Vec<String> = run(&work, place.path()).stderr.lines().map(str::to_string).collect();
    let percents: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("synthesize: ")?.split(' ').next()).collect();
    assert_eq!(percents, ["10", "20", "30", "40", "50", "60", "70", "80", "90", "100"], "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains(['\r', '\u{1b}'])), "{lines:?}");
    assert_eq!(run(&[&work[..], &["-q"]].concat(), place.path()).stderr, "");
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_is_no_failure() {
    let place = TempDir::new().unwrap();
    let script = format!("'{}' --help | true; exit \"${{PIPESTATUS[0]}}\"", env!("CARGO_BIN_EXE_zeroq"));
    let output = std::process::Command::new("bash").args(["-c", &script]).current_dir(place.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn statistics_come_from_a_sibling_and_from_no_stranger() {
    let place = TempDir::new().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let from = |name: &str| models.join(name).to_string_lossy().into_owned();
    let (folded, unfolded, stranger) = (from("digits_folded.onnx"), from("digits_resnet.onnx"), from("digits_mobilenet.onnx"));
    let with = |other: &str| {
        let flags = ["-n", "16", "--steps", "3", "--no-distill", "--force", "--json", "--stats-from"];
        run(&[&["quantize", &folded, "-o", "q.onnx"], &flags[..], &[other]].concat(), place.path())
    };
    let made = with(&unfolded);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(made.stdout.contains("\"statistics_sha256\"") && made.stdout.contains("\"distance\"") && !made.stderr.contains("ASSUMED"));
    let written = fs::read(place.path().join("q.onnx")).unwrap();
    assert!(written.windows(23).any(|bytes| bytes == b"zeroq.statistics_sha256"));
    for (other, says) in [(stranger.as_str(), "differ from those of the model by"), (folded.as_str(), "no BatchNormalization either")] {
        let refused = with(other);
        assert_eq!(refused.code, Some(2), "{other}");
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    let both = run(&["quantize", &folded, "-o", "r.onnx", "--stats-from", &unfolded, "--calibration", "x.npy"], place.path());
    assert!(both.code == Some(2) && both.stderr.contains("one of the two"), "{}", both.stderr);
}
