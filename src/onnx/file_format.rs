//! What a file is that is not an ONNX model, told from its first bytes.

/// What to tell the user about a file that starts like this; `None` where it may be an ONNX model.
pub fn wrong_format(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("the file is empty");
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("this is a tar archive; unpack it first");
    }
    if bytes.get(8..10) == Some(b"{\"") {
        return Some("this is a safetensors file: weights without a network; export the model to ONNX");
    }
    let by_start = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic));
    let by_tag = TAGS.iter().find(|(tag, _)| bytes.get(4..8) == Some(*tag));
    if let Some((_, hint)) = by_start.or(by_tag) {
        return Some(hint);
    }
    text_format(bytes)
}

const MAGIC: [(&[u8], &str); 18] = [
    (b"version https://git-lfs", "this is a Git LFS pointer, not the model itself; run `git lfs pull` in its repository"),
    (b"PK\x03\x04", "this is a zip archive; if it is a PyTorch .pt or .pth file, export it with torch.onnx.export, otherwise unpack it"),
    (b"\x1f\x8b", "this is a gzip file; unpack it with `gunzip` first"),
    (b"BZh", "this is a bzip2 file; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "this is a Zstandard file; unpack it with `unzstd` first"),
    (b"\xfd7zXZ", "this is an xz file; unpack it with `unxz` first"),
    (b"\x89HDF", "this is an HDF5 file, probably a Keras model; convert it with tf2onnx"),
    (b"\x80\x02", "this is a Python pickle, probably an old PyTorch file; export it with torch.onnx.export"),
    (b"\x80\x03", "this is a Python pickle; export the model with torch.onnx.export"),
    (b"\x80\x04", "this is a Python pickle; export the model with torch.onnx.export"),
    (b"\x80\x05", "this is a Python pickle; export the model with torch.onnx.export"),
    (b"7z\xbc\xaf", "this is a 7z archive; unpack it first"),
    (b"\x89PNG", "this is a picture, not a model"),
    (b"\xff\xd8\xff", "this is a picture, not a model"),
    (b"%PDF", "this is a PDF document, not a model"),
    (b"GGUF", "this is a GGUF model, not ONNX"),
    (b"\x93NUMPY", "this is a NumPy array, not a model"),
    (b"\x7fELF", "this is a program or library, not a model"),
];

const TAGS: [(&[u8], &str); 2] = [
    (b"TFL3", "this is a TensorFlow Lite model; convert it with tf2onnx (`python -m tf2onnx.convert --tflite`)"),
    (b"ORTM", "this is an ORT-format model, which cannot be turned back; use the .onnx file that it was made from"),
];

fn text_format(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(512)];
    let text = head.trim_ascii_start().to_ascii_lowercase();
    let contains = |word: &str| text.windows(word.len()).any(|window| window == word.as_bytes());
    match text.first()? {
        _ if text.starts_with(b"ir_version") || (text.starts_with(b"<") && contains("ir_version")) => {
            Some("this is an ONNX model as text; turn it into the binary form with onnx.parser or google.protobuf.text_format")
        }
        b'<' if contains("<html") || contains("<!doctype") => Some("this is an HTML page; the download probably went wrong"),
        b'<' if contains("<?xml") => Some("this is an XML file; if it is an OpenVINO model, use the ONNX file that it was made from"),
        b'{' | b'[' => Some("this is a JSON file, not a model"),
        _ if head.len() > 8 && head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            Some("this is a text file, not a model")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_format_of_files_that_are_no_onnx() {
        let cases: [(&[u8], &str); 12] = [
            (b"", "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
            (b"PK\x03\x04rest", "zip"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\n<!DOCTYPE html><html>", "HTML"),
            (b"<html lang=en>", "HTML"),
            (b"<?xml version=\"1.0\"?><net>", "OpenVINO"),
            (b" {\"a\": 1}", "JSON"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"\x20\0\0\0ORTM", "ORT-format"),
            (b"ir_version: 8\n", "as text"),
            (b"<\n  ir_version: 8,", "as text"),
        ];
        for (bytes, wanted) in cases {
            let hint = wrong_format(bytes).unwrap();
            assert!(hint.contains(wanted), "{hint} should say {wanted}");
        }
        assert_eq!(wrong_format(b"\x08\x08\x12\x07pytorch"), None);
    }
}
