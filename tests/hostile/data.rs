//! Rows 61 to 64: what is given beside the model.

use std::io::Write;
use std::os::unix::fs::symlink;

use image::{ExtendedColorType, ImageEncoder};

use super::network::*;
use super::program::*;

const HEADER: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3, 8, 8), }";

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{header}\n");
    [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| ((i % 17) as f32 / 17.0).to_le_bytes()).collect()
}

fn place() -> Place {
    Place::with(&File::from(network()).0)
}

fn on<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["quantize", "m.onnx", "-o", "q.onnx", "--no-distill", "--no-check", "--input-range", "unit", "--calibration", data], more].concat()
}

#[test]
fn row_61_recipes_are_refused_by_line() {
    let place = place();
    for (text, says) in [
        ("--steps 3\n\n# a comment\n--colour red\n", "line 4: unexpected argument '--colour'"),
        ("--steps many\n", "many"),
        ("--steps -1\n", "line 1: "),
        ("--images 1000000000\n", "--images"),
        ("--seed nan\n", "--seed"),
        ("--recipe genie\n", "another"),
        ("steps = 3\n", "steps"),
        ("\u{1}\u{2}", "line 1"),
    ] {
        place.write("r.recipe", text.as_bytes());
        place.refuses(&quantize_with("r.recipe"), &["recipe `r`", says]);
    }
    place.write("r.recipe", &[0xff, 0xfe]);
    place.refuses(&quantize_with("r.recipe"), &["r.recipe", "UTF-8"]);
    place.write("r.recipe", &vec![b'#'; 2 << 20]);
    place.refuses(&quantize_with("r.recipe"), &["r.recipe", "1 MiB"]);
    place.refuses(&quantize_with("/dev/zero"), &["/dev/zero", "regular file"]);
}

fn quantize_with(recipe: &str) -> Vec<&str> {
    vec!["quantize", "m.onnx", "-o", "q.onnx", "--recipe", recipe]
}

#[test]
fn row_61_numbers_of_flags_are_numbers_in_range() {
    let place = place();
    for flag in ["-n=1000000000", "-n=-1", "--steps=nan", "--check-sqnr=nan", "--check-agreement=inf", "--mixup=nan", "--max-size=nanx"] {
        let run = place.run(&quantize(&[flag]));
        assert!(run.code == Some(2) && run.stdout.is_empty() && run.stderr.starts_with("error: "), "{flag}: {}", run.stderr);
    }
    for (range, says) in [("nan,1", "--input-range"), ("0,inf", "--input-range"), ("1,0", "--input-range"), ("0", "--input-range")] {
        let run = place.run(&quantize(&["--input-range", range]));
        assert!(run.code == Some(2) && run.stderr.contains(says), "{range}: {}", run.stderr);
    }
}

#[test]
fn row_62_patterns_that_match_nothing_name_what_is_near() {
    refused([
        case("a typing error", network(), &["--exclude conv3", "near it: `conv`, `conv2`"]).flags(&["--exclude", "conv3"]),
        case("no pattern", network(), &["--exclude [", "error"]).flags(&["--exclude", "["]),
    ]);
}

fn png(width: u32, height: u32, color: ExtendedColorType, bytes: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    image::codecs::png::PngEncoder::new(&mut file).write_image(bytes, width, height, color).unwrap();
    file
}

/// A chunk of a PNG file; its checksum is left out, as nobody should come that far.
fn header_of_png(width: u32, height: u32) -> Vec<u8> {
    let mut good = png(1, 1, ExtendedColorType::Rgb8, &[0; 3]);
    good[16..20].copy_from_slice(&width.to_be_bytes());
    good[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&good[12..29]);
    good[29..33].copy_from_slice(&sum.to_be_bytes());
    good
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn row_63_pictures_that_cannot_be_decoded_are_named() {
    let jpeg = {
        let mut file = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut file).write_image(&[90; 64 * 64 * 3], 64, 64, ExtendedColorType::Rgb8).unwrap();
        file
    };
    for (name, bytes, says) in [
        ("a.png", header_of_png(50_000, 50_000), "2500000000 pixels"),
        ("a.png", header_of_png(u32::MAX >> 1, u32::MAX >> 1), "a.png"),
        ("a.png", header_of_png(0, 0), "a.png"),
        ("a.png", png(8, 8, ExtendedColorType::Rgb8, &[7; 192])[..60].to_vec(), "a.png"),
        ("a.jpg", jpeg[..jpeg.len() / 40].to_vec(), "a.jpg"),
        ("a.png", b"<html>".to_vec(), "a.png"),
        ("a.png", Vec::new(), "a.png"),
    ] {
        let place = place();
        std::fs::create_dir(place.path().join("pictures")).unwrap();
        place.write("pictures/0.png", &png(8, 8, ExtendedColorType::Rgb8, &[7; 192]));
        place.write(&format!("pictures/{name}"), &bytes);
        place.refuses(&on("pictures", &[]), &["error[E0101]: pictures/", says]);
    }
    let place = place();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    place.refuses(&on("empty", &[]), &["empty", "no PNG or JPEG"]);
    place.refuses(&on("missing", &[]), &["missing: No such file"]);
    place.refuses(&on("m.onnx", &[]), &["m.onnx", "not a folder"]);
    place.refuses(&on("/dev/zero", &[]), &["/dev/zero", "regular file"]);
    symlink("loop", place.path().join("loop")).unwrap();
    place.refuses(&on("loop", &[]), &["loop"]);
}

#[test]
fn row_63_pictures_of_every_kind_are_taken_and_other_files_are_told_of() {
    let place = place();
    std::fs::create_dir(place.path().join("pictures")).unwrap();
    place.write("pictures/gray.png", &png(8, 8, ExtendedColorType::L8, &[7; 64]));
    place.write("pictures/alpha.PNG", &png(9, 7, ExtendedColorType::Rgba8, &[70; 252]));
    place.write("pictures/deep.png", &png(16, 4, ExtendedColorType::Rgb16, &[90; 384]));
    place.write("pictures/notes.txt", b"not a picture");
    symlink(".", place.path().join("pictures/round")).unwrap();
    symlink("gone.png", place.path().join("pictures/dangling.png")).unwrap();
    let run = place.run(&on("pictures", &[]));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("warning: pictures: 3 entries that are no PNG or JPEG pictures are left out"), "{}", run.stderr);
}

#[test]
fn row_64_arrays_are_read_without_trust() {
    let file = |text: &str, data: &[u8]| npy(text, data);
    let good = numbers(768);
    let mut long = b"\x93NUMPY\x02\x00\xff\xff\xff\x7f".to_vec();
    long.extend([b' '; 4096]);
    for (bytes, says) in [
        (file("{'descr': '|O', 'fortran_order': False, 'shape': (4, 3, 8, 8), }", b"\x80\x04cos\nsystem\n"), "pickled objects"),
        (file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", &good), "structured"),
        (file("{'descr': '<c8', 'fortran_order': False, 'shape': (4, 3, 8, 8), }", &good), "`<c8`"),
        (file("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3, 8, 9), }", &numbers(864)), "[1, 3, 8, 8]"),
        (file("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 3, 8, 8), }", &good), "elements"),
        (file("{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 3, 8, 8), }", &good), "malformed"),
        (file("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3, 8, 8), }", &[]), "no samples"),
        (file(HEADER, &good[..good.len() - 1]), "bytes of data"),
        (file(HEADER, &f32::NAN.to_le_bytes().repeat(768)), "NaN"),
        (long, "header"),
        (b"\x93NUMPY".to_vec(), "header"),
        (b"hello".to_vec(), "not a .npy"),
    ] {
        let place = place();
        place.write("x.npy", &bytes);
        place.refuses(&on("x.npy", &[]), &["x.npy", says]);
    }
}

#[test]
fn row_64_orders_of_bytes_and_dimensions_are_taken() {
    let place = place();
    place.write("plain.npy", &npy(HEADER, &numbers(768)));
    place.write("fortran.npy", &npy("{'descr': '<f4', 'fortran_order': True, 'shape': (4, 3, 8, 8), }", &numbers(768)));
    let big: Vec<u8> = numbers(768).chunks(4).flat_map(|bytes| bytes.iter().rev().copied().collect::<Vec<u8>>()).collect();
    place.write("big.npy", &npy("{'descr': '>f4', 'fortran_order': False, 'shape': (4, 3, 8, 8), }", &big));
    let bytes = |name: &str| {
        let run = place.run(&on(name, &["-f"]));
        assert_eq!(run.code, Some(0), "{name}: {}", run.stderr);
        std::fs::read(place.path().join("q.onnx")).unwrap()
    };
    assert!(bytes("plain.npy") == bytes("big.npy"));
    bytes("fortran.npy");
}

fn npz(name: &str, chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut file);
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    archive.start_file(name, options).unwrap();
    chunks.into_iter().for_each(|chunk| archive.write_all(&chunk).unwrap());
    archive.finish().unwrap();
    file.into_inner()
}

#[test]
fn row_64_archives_are_no_bombs_and_name_their_arrays() {
    let zeros = |count: usize| std::iter::repeat_n(vec![0; 1 << 20], count);
    let of = |header: &str, count: usize| npz("x.npy", std::iter::once(npy(header, &[])).chain(zeros(count)));
    for (bytes, says) in [
        (of(HEADER, 100), "bytes of data where its shape asks for 768 elements"),
        (of("{'descr': '<f4', 'fortran_order': False, 'shape': (20000000, 3, 8, 8), }", 0), "--limit data-bytes"),
        (of("{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 3, 8, 8), }", 1), "bytes of data where its shape asks"),
        (npz("../x.npy", [npy(HEADER, &numbers(768)), Vec::new()]), "no array for input `x`"),
        (npz("y.npy", [b"\x80\x04cos\nsystem\n".to_vec()]), "not a .npy"),
        (npz("x.txt", [b"hello".to_vec()]), "no array for input `x`"),
        (b"PK\x03\x04".to_vec(), "not a .npz"),
    ] {
        let place = Place::with(&File::from(two_inputs()).0);
        place.write("x.npz", &bytes);
        place.refuses(&on("x.npz", &[]), &["x.npz", says]);
    }
}

/// With two inputs an array must have the name of its input.
fn two_inputs() -> zeroq::onnx::messages::ModelProto {
    regraphed(|g| {
        g.input.push(value("bonus", &[1, 4]));
        find(g, "head").output[0] = "h".into();
        g.node.push(node("Add", "add", &["h", "bonus"], &["y"]));
    })
}

#[test]
fn row_64_tensors_of_samples_are_read_without_trust() {
    let file = |header: &str, data: &[u8]| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
    for (bytes, says) in [
        (u64::MAX.to_le_bytes().to_vec(), "not a .safetensors"),
        (file("{\"x\":{\"dtype\":\"F32\",\"shape\":[4,3,8,8],\"data_offsets\":[0,9999]}}", &[0; 64]), "not a .safetensors"),
        (file("{\"x\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", &[0; 8]), "I64"),
        (file("{\"x\":{\"dtype\":\"F32\",\"shape\":[1,3,8],\"data_offsets\":[0,96]}}", &[0; 96]), "[1, 3, 8, 8]"),
        (Vec::new(), "not a .safetensors"),
    ] {
        let place = place();
        place.write("x.safetensors", &bytes);
        place.refuses(&on("x.safetensors", &[]), &["x.safetensors", says]);
    }
}
