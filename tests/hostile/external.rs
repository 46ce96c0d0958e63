//! Rows 19 to 24: tensors in other files.

use std::os::unix::fs::symlink;

use sha1::{Digest, Sha1};
use zeroq::onnx::messages::*;
use zeroq::onnx::{hexadecimal, is_data_of};

use super::network::*;
use super::program::*;

/// The network with `w2` in another file.
fn external(entries: &[(&str, &str)]) -> ModelProto {
    reweighted("w2", |tensor| {
        tensor.raw_data = None;
        tensor.data_location = Some(1);
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: Some(key.to_string()), value: Some(value.to_string()) };
        tensor.external_data = entries.iter().map(entry).collect();
    })
}

fn data() -> Vec<u8> {
    weights("w2", &[8, 8, 3, 3]).raw_data.unwrap().to_vec()
}

/// A folder with the model, its data as `w.bin`, and links to the data.
fn place(entries: &[(&str, &str)]) -> Place {
    let place = Place::with(&File::from(external(entries)).0);
    place.write("w.bin", &data());
    std::fs::create_dir(place.path().join("sub")).unwrap();
    symlink("w.bin", place.path().join("soft.bin")).unwrap();
    symlink("sub", place.path().join("link")).unwrap();
    place.write("sub/w.bin", &data());
    place.write("one.bin", &data());
    std::fs::hard_link(place.path().join("one.bin"), place.path().join("hard.bin")).unwrap();
    place
}

#[test]
fn rows_19_to_23_locations_stay_below_the_folder_and_hold_the_tensor() {
    let at = |location: &'static str| vec![("location", location)];
    let and = |key, value| vec![("location", "w.bin"), (key, value)];
    let cases: Vec<(Vec<(&str, &str)>, &str)> = vec![
        (at("/etc/passwd"), "is absolute"),
        (at("//server/share/w.bin"), "is absolute"),
        (at("../w.bin"), "has `..`"),
        (at("sub/../../w.bin"), "has `..`"),
        (at("sub/../w.bin"), "has `..`"),
        (at("sub\\..\\w.bin"), "backslash"),
        (at("\\\\server\\share\\w.bin"), "backslash"),
        (at("C:/w.bin"), "is absolute"),
        (at("c:w.bin"), "is absolute"),
        (at("w.bin\0.txt"), "NUL"),
        (at("w.bin."), "ends in a dot"),
        (at("w.bin "), "ends in a dot or space"),
        (at(""), "is empty"),
        (at("."), "is a folder"),
        (at("sub"), "not a regular file"),
        (at("sub/"), "is a folder"),
        (at("missing.bin"), "missing.bin"),
        (at("w.bin/inner"), "w.bin/inner"),
        (at("soft.bin"), "symbolic link"),
        (at("link/w.bin"), "symbolic link"),
        (at("hard.bin"), "hard link"),
        (at("m.onnx"), "2304 bytes"),
        (vec![], "no location"),
        (and("offset", "-1"), "not a size"),
        (and("offset", "1e3"), "not a size"),
        (and("offset", "2305"), "behind the end"),
        (and("offset", "4"), "2304 bytes"),
        (and("offset", "99999999999999999999"), "not a size"),
        (and("length", "-1"), "not a size"),
        (and("length", "2303"), "2304 bytes"),
        (and("length", "2305"), "behind the end"),
        (and("length", "18446744073709551615"), "behind the end"),
        (vec![("location", "w.bin"), ("offset", "4"), ("length", "18446744073709551612")], "behind the end"),
        (and("colour", "red"), "`colour` is not one that ONNX defines"),
        (and("location", "w.bin"), "stands twice"),
    ];
    for (entries, says) in cases {
        place(&entries).refuses(&quantize(&[]), &["tensor `w2`", says]);
    }
}

#[test]
#[cfg(unix)]
fn row_22_pipes_and_devices_hold_no_tensors() {
    let place = place(&[("location", "pipe")]);
    assert!(std::process::Command::new("mkfifo").arg(place.path().join("pipe")).status().unwrap().success());
    place.refuses(&quantize(&[]), &["tensor `w2`", "not a regular file"]);
}

#[test]
fn row_22_dims_are_counted_before_the_file_is_read() {
    let change = |change: fn(&mut TensorProto)| {
        let mut model = external(&[("location", "w.bin")]);
        change(tensor(model.graph.as_mut().unwrap(), "w2"));
        let place = Place::with(&File::from(model).0);
        place.write("w.bin", &data());
        place
    };
    change(|t| t.dims[0] = -8).refuses(&quantize(&[]), &["tensor `w2`", "-8 is negative"]);
    change(|t| t.dims = vec![1 << 40, 1 << 40]).refuses(&quantize(&[]), &["tensor `w2`", "limit"]);
    change(|t| t.dims[0] = 9).refuses(&quantize(&[]), &["tensor `w2`", "2592 bytes"]);
    change(|t| t.data_type = Some(8)).refuses(&quantize(&[]), &["tensor `w2`", "string"]);
    change(|t| t.data_type = Some(99)).refuses(&quantize(&[]), &["tensor `w2`", "99"]);
    change(|t| t.raw_data = Some(data().into())).refuses(&quantize(&[]), &["tensor `w2`", "at once"]);
    change(|t| t.data_location = Some(0)).refuses(&quantize(&[]), &["tensor `w2`", "not marked as external"]);
    change(|t| t.data_location = Some(7)).refuses(&quantize(&[]), &["tensor `w2`"]);
}

#[test]
fn row_23_a_wrong_checksum_is_refused() {
    let sum = |bytes: &[u8]| hexadecimal(&Sha1::digest(bytes));
    let with = |checksum: &str| place(&[("location", "w.bin"), ("checksum", checksum)]);
    for wrong in ["0000", "", &sum(b"another file")] {
        with(wrong).refuses(&quantize(&[]), &["tensor `w2`", "w.bin", "its SHA-1 is", &sum(&data())]);
    }
    let run = with(&sum(&data()).to_uppercase()).run(&quantize(&[]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[test]
fn row_24_the_output_overwrites_no_data_of_the_input() {
    let place = place(&[("location", "w.bin")]);
    place.refuses(&["quantize", "m.onnx", "-o", "w.bin", "--force"], &["w.bin", "would overwrite the input"]);
    assert_eq!(std::fs::read(place.path().join("w.bin")).unwrap(), data());
}

const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");

fn resnet<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&["quantize", RESNET, "-o", "q.onnx", "-n", "4", "--steps", "1", "--no-distill", "--no-check"], flags].concat()
}

#[test]
fn row_24_tensors_are_written_beside_the_model_where_that_is_wanted() {
    let place = Place::new();
    let whole = place.run(&resnet(&["--json"]));
    assert_eq!((whole.code, place.files().len()), (Some(0), 1), "{}", whole.stderr);
    let size = place.files()["q.onnx"];
    let run = place.run(&resnet(&["--external-data", "--force", "--json"]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let files = place.files();
    let data = files.keys().find(|name| is_data_of(name, "q.onnx")).unwrap();
    assert!(files.len() == 2 && files["q.onnx"] < size && files[data] > 1024, "{files:?}");
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["output"]["bytes"].as_u64(), Some(files.values().sum()));
    let compared = place.run(&["compare", RESNET, "q.onnx", "-n", "4", "--steps", "1", "--min-sqnr", "5"]);
    assert_eq!(compared.code, Some(0), "{}{}", compared.stdout, compared.stderr);
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        assert!(compared.stdout.contains("samples in ONNX Runtime"), "{}", compared.stdout);
    }
}

#[test]
fn row_24_data_of_a_replaced_model_go_and_those_of_others_stay() {
    let former = "q.onnx.0123456789abcdef.data";
    let place = place(&[("location", "q.onnx.fedcba9876543210.data")]);
    place.write("q.onnx.fedcba9876543210.data", &data());
    for name in [former, "q.onnx.data", "p.onnx.0123456789abcdef.data"] {
        place.write(name, b"data");
    }
    let unforced = place.run(&resnet(&["--external-data"]));
    assert!(unforced.code == Some(0) && place.files().contains_key(former), "{}", unforced.stderr);
    let unforced = place.files();
    place.refuses(&resnet(&["--external-data"]), &["q.onnx: exists already", "--force"]);
    let run = place.run(&quantize(&["--external-data"]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let files = place.files();
    let of_output = |name: &&String| is_data_of(name, "q.onnx") && !name.contains("fedcba9876543210");
    let (before, after) = (unforced.keys().filter(of_output).count(), files.keys().filter(of_output).collect::<Vec<_>>());
    assert!(before == 2 && after.len() == 1 && !unforced.contains_key(after[0]), "{unforced:?} {files:?}");
    assert!(files.contains_key("q.onnx.data") && files.contains_key("p.onnx.0123456789abcdef.data"), "{files:?}");
    assert_eq!(std::fs::read(place.path().join("q.onnx.fedcba9876543210.data")).unwrap(), data());
}
