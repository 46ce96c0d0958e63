//! What a run may take, and that it asks first.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;
use zeroq::calibration::{ExpectedInput, Framing, read_set};
use zeroq::limits::Limits;
use zeroq::progress::Silent;

#[test]
fn too_little_memory_is_refused_and_nothing_is_written() {
    let place = TempDir::new().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
    let output = place.path().join("out.onnx");
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    let done = command.args(["quantize", model, "--max-memory", "1M", "-o"]).arg(&output).output().unwrap();
    let message = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{message}");
    assert!(message.contains("error[E0801]: not enough memory for") && message.contains("--max-memory"), "{message}");
    assert_eq!(message.matches("error[").count(), 1, "{message}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn results_do_not_depend_on_the_memory_allowed() {
    let place = TempDir::new().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
    let run = |name: &str, flags: &[&str]| {
        let output = place.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
        command.args(["quantize", model, "-n", "512", "--steps", "4", "--distill-steps", "4", "--json", "-o"]).arg(&output).args(flags);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        (fs::read(output).unwrap(), report["cost"]["peak_memory_bytes"].as_u64())
    };
    let (free, peak) = run("free.onnx", &[]);
    let Some(peak) = peak else { return };
    let (bound, _) = run("bound.onnx", &["--max-memory", &peak.to_string()]);
    assert!(free == bound);
}

/// Files that are mostly holes: as long as they say, but nobody had to write them.
fn large(path: &Path, head: &[u8], data: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(head).unwrap();
    file.set_len(head.len() as u64 + data).unwrap();
}

fn npy_header(order: &str, count: u64) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': ({count}, 3, 256, 256), }}\n");
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

#[test]
fn samples_of_a_large_file_do_not_stand_in_memory() {
    const COUNT: u64 = 512;
    let data = COUNT * 3 * 256 * 256 * 4;
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name);
    large(&path("rows.npy"), &npy_header("False", COUNT), data);
    large(&path("columns.npy"), &npy_header("True", COUNT), data);
    let text = format!("{{\"x\":{{\"dtype\":\"F32\",\"shape\":[{COUNT},3,256,256],\"data_offsets\":[0,{data}]}}}}");
    large(&path("x.safetensors"), &[&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat(), data);
    let mut archive = zip::ZipWriter::new(File::create(path("x.npz")).unwrap());
    archive.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&npy_header("False", COUNT)).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(data), &mut archive).unwrap();
    archive.finish().unwrap();
    let expected = [ExpectedInput { name: "x".into(), shape: vec![1, 3, 256, 256], bounds: None, framing: Framing::default() }];
    let Some(before) = zeroq::memory::peak() else { return };
    for name in ["rows.npy", "columns.npy", "x.safetensors", "x.npz"] {
        let set = read_set(&path(name), &expected, &Limits::default(), &Silent).unwrap();
        assert_eq!(set.len() as u64, COUNT, "{name}");
        let taken = zeroq::memory::peak().unwrap() - before;
        assert!(taken < data / 3, "{name} of {data} bytes took {taken}");
    }
}
