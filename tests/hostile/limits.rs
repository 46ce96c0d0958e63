//! Rows 59, 60, 66 to 68 and 70, and the limits: what surrounds the program.

use prost::Message;

use super::network::*;
use super::program::*;

fn place() -> Place {
    Place::with(&network().encode_to_vec())
}

fn quantize_to(output: &str) -> Vec<&str> {
    vec!["quantize", "m.onnx", "-o", output, "--force", "-n", "4", "--steps", "1", "--no-distill"]
}

#[test]
fn every_limit_refuses_when_lowered_and_takes_when_raised() {
    let png = {
        let mut file = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut file);
        image::ImageEncoder::write_image(encoder, &[7; 192], 8, 8, image::ExtendedColorType::Rgb8).unwrap();
        file
    };
    let cases: [(&str, u64, &str); 8] = [
        ("file-bytes", 4287, "m.onnx: the file is larger"),
        ("external-bytes", 2304, "tensor `w2`"),
        ("nodes", 9, "the graph has 9 nodes"),
        ("messages", 28, "m.onnx"),
        ("tensor-elements", 576, "tensor `w2`"),
        ("name-bytes", 18, "`BatchNormalization`"),
        ("data-bytes", 1536, "its 2 pictures"),
        ("picture-pixels", 64, "pictures/"),
    ];
    for (name, exact, says) in cases {
        let model = reweighted("w2", |tensor| {
            if name == "external-bytes" {
                let entry = |key: &str, value: &str| zeroq::onnx::messages::StringStringEntryProto {
                    key: Some(key.into()),
                    value: Some(value.into()),
                };
                (tensor.raw_data, tensor.data_location, tensor.external_data) = (None, Some(1), vec![entry("location", "w.bin")]);
            }
        });
        let bytes = model.encode_to_vec();
        let exact = if name == "file-bytes" { bytes.len() as u64 } else { exact };
        let place = Place::with(&bytes);
        place.write("w.bin", &weights("w2", &[8, 8, 3, 3]).raw_data.unwrap());
        std::fs::create_dir(place.path().join("pictures")).unwrap();
        place.write("pictures/a.png", &png);
        place.write("pictures/b.png", &png);
        let set = |value: u64| format!("{name}={value}");
        let (low, high) = (set(exact - 1), set(exact));
        let job = [
            "quantize",
            "m.onnx",
            "-o",
            "q.onnx",
            "--no-distill",
            "--no-check",
            "--input-range",
            "unit",
            "--calibration",
            "pictures",
            "--limit",
        ];
        place.refuses(&[&job[..], &[&low]].concat(), &[says, &format!("--limit {name}=N sets another")]);
        let run = place.run(&[&job[..], &[&high]].concat());
        assert_eq!(run.code, Some(0), "{name}: {}", run.stderr);
    }
}

#[test]
fn limits_are_known_by_name_and_told_by_the_help() {
    let place = place();
    for (limit, says) in [
        ("colour=1", "file-bytes"),
        ("nodes", "NAME=VALUE"),
        ("nodes=", "whole number"),
        ("nodes=-1", "whole number"),
        ("nodes=1e6", "whole number"),
        ("nodes=99999999999T", "whole number"),
    ] {
        let run = place.run(&["inspect", "m.onnx", "--limit", limit]);
        assert!(run.code == Some(2) && run.stderr.contains(says), "{limit}: {}", run.stderr);
    }
    let help = place.run(&["inspect", "--help"]).stdout;
    for name in ["file-bytes", "external-bytes", "nodes", "messages", "tensor-elements", "name-bytes", "data-bytes", "picture-pixels"] {
        assert!(help.contains(name), "{name}: {help}");
    }
    assert_eq!(place.run(&["inspect", "m.onnx", "--limit", "nodes=1K", "--limit", "file-bytes=1Mi"]).code, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn row_59_what_cannot_be_written_is_refused_before_the_work() {
    use std::os::unix::fs::FileTypeExt;
    let place = place();
    let pipe = place.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (output, says) in [("/proc/q.onnx", "/proc"), ("pipe", "is a device, a pipe or a socket"), ("m.onnx/q.onnx", "m.onnx")] {
        place.refuses(&quantize_to(output), &["error[E0101]", says]);
    }
    assert!(std::fs::symlink_metadata(pipe).unwrap().file_type().is_fifo());
}

/// A limit on the size of files ends writing as a full disk does.
#[test]
#[cfg(unix)]
fn row_59_a_full_disk_leaves_the_old_file() {
    let place = place();
    place.write("q.onnx", b"precious");
    let script = "ulimit -f 1; exec \"$0\" \"$@\"";
    let job = [&["-c", script, env!("CARGO_BIN_EXE_zeroq")][..], &quantize(&[])].concat();
    let output = std::process::Command::new("sh").args(job).current_dir(place.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("error[E0101]: q.onnx: "), "{stderr}");
    assert_eq!(std::fs::read(place.path().join("q.onnx")).unwrap(), b"precious");
    assert_eq!(place.files().len(), 2);
}

#[test]
fn row_66_a_library_that_is_no_onnx_runtime_spoils_nothing() {
    let place = place();
    place.write("library.so", b"\x7fELF and nothing more");
    for library in ["library.so", "missing.so", "/dev/null"] {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_zeroq"));
        let output = command.args(quantize(&[])).current_dir(place.path()).env("ORT_DYLIB_PATH", library).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{library}: {stderr}");
        assert!(stdout.contains("ONNX Runtime: ") && !stderr.contains("panicked"), "{library}: {stdout}{stderr}");
    }
}

#[test]
fn row_67_place_and_language_change_no_byte() {
    let place = place();
    let settings: [&[(&str, &str)]; 3] =
        [&[("TZ", "UTC"), ("LC_ALL", "C")], &[("TZ", "Pacific/Kiritimati"), ("LC_ALL", "de_DE.UTF-8")], &[("LANG", "tr_TR.UTF-8")]];
    let bytes = settings.map(|settings| {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_zeroq"));
        command
            .args(quantize(&["-q"]))
            .current_dir(place.path())
            .env_remove("ORT_DYLIB_PATH")
            .envs(settings.iter().copied())
            .assert()
            .success();
        std::fs::read(place.path().join("q.onnx")).unwrap()
    });
    assert!(bytes[0] == bytes[1] && bytes[0] == bytes[2]);
}

#[test]
fn row_68_of_two_runs_at_once_one_wins_whole() {
    let place = place();
    let start = |seed: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_zeroq"));
        command.args(quantize(&["-q", "--seed", seed])).current_dir(place.path()).env_remove("ORT_DYLIB_PATH");
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let alone = ["1", "2"].map(|seed| {
        assert!(start(seed).wait().unwrap().success());
        std::fs::read(place.path().join("q.onnx")).unwrap()
    });
    let mut both = [start("1"), start("2")];
    assert!(both.iter_mut().all(|child| child.wait().unwrap().success()));
    assert!(alone.contains(&std::fs::read(place.path().join("q.onnx")).unwrap()));
    assert_eq!(place.files().len(), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn row_70_too_little_memory_is_told_of_before_it_ends() {
    let wide = regraphed(|g| g.input[0] = value("x", &[1, 3, 7000, 7000]));
    refused([case("7000 x 7000", wide, &["E0801", "not enough memory for making 4 samples of `x`", "MB are needed"])]);
}
