//! Rows 1 to 8: files that are no models, and models whose bytes are damaged.

use std::path::Path;

use prost::Message;
use zeroq::onnx::{Limits, from_bytes};

use super::network::*;
use super::program::*;

/// Bytes that look like nothing.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A field of wire type 2.
fn field(tag: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = varint(tag << 3 | 2);
    bytes.extend(varint(payload.len() as u64));
    bytes.extend(payload);
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn row_01_only_regular_files_that_can_be_read_are_models() {
    let place = Place::with(b"");
    std::fs::create_dir(place.path().join("folder.onnx")).unwrap();
    for (model, says) in [
        ("m.onnx", "m.onnx: the file is empty"),
        ("folder.onnx", "this is a folder"),
        ("missing.onnx", "missing.onnx: No such file"),
        ("m.onnx/inner.onnx", "m.onnx/inner.onnx"),
        ("/dev/zero", "not a regular file"),
        ("/dev/null", "not a regular file"),
    ] {
        place.refuses(&["quantize", model, "-o", "q.onnx"], &[says]);
    }
}

#[test]
#[cfg(unix)]
fn row_01_pipes_and_files_without_permission_are_refused_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with(&network().encode_to_vec());
    assert!(std::process::Command::new("mkfifo").arg(place.path().join("pipe.onnx")).status().unwrap().success());
    place.refuses(&["inspect", "pipe.onnx"], &["pipe.onnx: this is not a regular file"]);
    std::fs::set_permissions(place.path().join("m.onnx"), std::fs::Permissions::from_mode(0o0)).unwrap();
    // The superuser reads what nobody may.
    match std::fs::File::open(place.path().join("m.onnx")) {
        Ok(_) => assert_eq!(place.run(&["inspect", "m.onnx"]).code, Some(0)),
        Err(_) => place.refuses(&["inspect", "m.onnx"], &["m.onnx: Permission denied"]),
    }
}

#[test]
fn row_02_a_truncated_model_is_refused_or_whole() {
    let model = network();
    let bytes = model.encode_to_vec();
    let nodes = model.graph.unwrap().node.len();
    let read = |end: usize| from_bytes(bytes[..end].to_vec(), Path::new("m.onnx"), &Limits::default());
    let whole: Vec<usize> = (0..bytes.len()).filter(|end| read(*end).is_ok_and(|model| model.graph.node_count() == nodes)).collect();
    let taken: Vec<usize> = (0..bytes.len()).filter(|end| read(*end).is_ok()).collect();
    assert!(taken == whole && taken.len() <= 1, "{taken:?} of {}", bytes.len());
    refused((0..bytes.len() - 16).step_by(bytes.len() / 12).map(|end| case(format!("{end} bytes"), bytes[..end].to_vec(), &["m.onnx: "])));
}

#[test]
fn row_03_random_bytes_are_no_model() {
    let sizes = [1, 2, 7, 64, 4096, 1 << 20];
    refused(sizes.map(|len| case(format!("{len} bytes"), noise(len), &["not an ONNX model, or damaged"])));
    refused([case("zeros", vec![0; 4096], &["not an ONNX model, or damaged"])]);
}

#[test]
fn row_04_a_git_lfs_pointer_says_how_to_get_the_file() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 1\n";
    refused([case("pointer", pointer.to_vec(), &["Git LFS pointer", "git lfs pull"])]);
}

#[test]
fn row_05_other_formats_are_named() {
    let safetensors = [&16u64.to_le_bytes()[..], b"{\"w\":{\"dtype\":0}}"].concat();
    let tar = [&[b'a'; 257][..], b"ustar\0", &[0; 249]].concat();
    let formats: [(&[u8], &str); 21] = [
        (b"PK\x03\x04rest of an archive", "zip archive"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        (b"BZh91AY", "bzip2"),
        (b"\x28\xb5\x2f\xfd\0\0", "Zstandard"),
        (b"\xfd7zXZ\0\0", "xz file"),
        (b"7z\xbc\xaf\x27\x1c\0", "7z archive"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x80\x02}q\0.", "pickle"),
        (b"\x80\x03}q\0.", "pickle"),
        (b"\x80\x05\x95\0", "pickle"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"\x20\0\0\0TFL3\0\0", "TensorFlow Lite"),
        (b"\x20\0\0\0ORTM\0\0", "ORT-format"),
        (b"\n  <!DOCTYPE html><html></html>", "HTML page"),
        (b"<?xml version=\"1.0\"?><net name=\"m\"/>", "XML file"),
        (b"{\"modelTopology\": {}}", "JSON file"),
        (b"ir_version: 8\ngraph {\n}\n", "ONNX model as text"),
        (b"import torch\nmodel = Net()\n", "text file"),
        (b"\x89PNG\r\n\x1a\n\0\0", "picture"),
        (&safetensors, "safetensors"),
        (&tar, "tar archive"),
    ];
    refused(formats.map(|(bytes, says)| case(says, bytes.to_vec(), &[says])));
}

#[test]
fn row_06_deep_nesting_is_refused() {
    let mut graph = Vec::new();
    for _ in 0..20_000 {
        // graph.node.attribute.g
        graph = field(1, &field(5, &field(6, &graph)));
    }
    refused([case("20 000 graphs", field(7, &graph), &["recursion limit"])]);
    let mut groups = vec![0x0b; 200_000];
    groups.extend([0x0c; 200_000]);
    refused([case("groups", groups, &["not an ONNX model, or damaged"])]);
    let mut types = Vec::new();
    for _ in 0..20_000 {
        // type.sequence_type.elem_type
        types = field(4, &field(1, &types));
    }
    let input = [field(1, b"x"), field(2, &types)].concat();
    refused([case("20 000 types", field(7, &field(11, &input)), &["recursion limit"])]);
}

#[test]
fn row_07_a_declared_length_allocates_nothing() {
    for length in [u64::MAX, 1 << 63, 1 << 62, 1 << 40, i32::MAX as u64] {
        let claim = |tag: u64| [varint(tag << 3 | 2), varint(length), vec![0; 16]].concat();
        let tensor = |inner: Vec<u8>| field(7, &field(5, &inner));
        refused([
            case(format!("graph of {length}"), claim(7), &["not an ONNX model, or damaged"]),
            case(format!("name of {length}"), claim(2), &["not an ONNX model, or damaged"]),
            case(format!("raw_data of {length}"), tensor(claim(9)), &["not an ONNX model, or damaged"]),
            case(format!("dims of {length}"), tensor(claim(1)), &["not an ONNX model, or damaged"]),
            case(format!("float_data of {length}"), tensor(claim(4)), &["not an ONNX model, or damaged"]),
        ]);
    }
}

/// Messages take more memory than their bytes: these are counted before anything is decoded.
#[test]
fn row_07_millions_of_empty_messages_allocate_nothing() {
    let many = |tag: u8| [tag << 3 | 2, 0].repeat(12_000_000);
    let graphs = [(field(7, &many(1))), field(7, &many(5)), field(7, &many(13)), field(7, &field(1, &many(5)))];
    refused(graphs.map(|bytes| case("12 000 000 messages", bytes, &["more than the limit of 2000000", "--limit messages"])));
}

#[test]
fn row_08_a_file_of_more_than_2_gb_is_refused_unread() {
    let place = Place::new();
    let file = std::fs::File::create(place.path().join("m.onnx")).unwrap();
    file.set_len((2 << 30) + 1).unwrap();
    place.refuses(&quantize(&[]), &["larger than the limit of 2147483648 bytes", "--limit file-bytes"]);
}
