//! The table of `models/` tells the truth about the files beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn rows() -> Vec<Value> {
    let text = fs::read_to_string(folder().join("models.json")).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    table["models"].as_array().unwrap().clone()
}

fn file_of(row: &Value) -> String {
    row["file"].as_str().unwrap().to_string()
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn onnx_files() -> BTreeSet<String> {
    let entries = fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".onnx")).collect()
}

#[test]
fn lists_every_file_and_nothing_else() {
    let listed: BTreeSet<String> = rows().iter().map(file_of).collect();
    assert_eq!(listed, onnx_files());
    assert!(listed.len() >= 3);
}

#[test]
fn sizes_and_digests_match_the_files() {
    for row in rows() {
        let content = fs::read(folder().join(file_of(&row))).unwrap();
        assert_eq!(row["bytes"], content.len(), "{}", file_of(&row));
        assert_eq!(row["sha256"], hex_digest(&content), "{}", file_of(&row));
        assert!(content.len() < 300_000, "{} is too large to keep in the repository", file_of(&row));
    }
}

#[test]
fn every_model_is_accurate_and_told_in_full() {
    for row in rows() {
        assert!(row["accuracy"].as_f64().unwrap() >= 0.97, "{}", file_of(&row));
        let channels = row["shape"][1].as_u64().unwrap() as usize;
        for key in ["mean", "std"] {
            assert_eq!(row[key].as_array().unwrap().len(), channels, "{}: {key}", file_of(&row));
        }
        for key in ["task", "input", "range", "how", "torch"] {
            assert!(row[key].as_str().is_some_and(|text| !text.is_empty()), "{}: {key}", file_of(&row));
        }
    }
}

#[test]
fn the_readme_lists_every_file_with_its_facts() {
    let text = fs::read_to_string(folder().join("README.md")).unwrap();
    for row in rows() {
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(&format!("| `{}` |", file_of(&row)))).collect();
        let facts = [
            row["sha256"].as_str().unwrap().to_string(),
            row["bytes"].to_string(),
            row["parameters"].to_string(),
            format!("| {} |", row["bn_nodes"]),
            format!("{}, {}", row["opset"], row["ir"]),
            format!("{:.1} %", 100.0 * row["accuracy"].as_f64().unwrap()),
        ];
        for fact in facts {
            assert!(lines.iter().any(|line| line.contains(&fact)), "models/README.md: {}: {fact} is missing", file_of(&row));
        }
    }
}

#[test]
fn one_model_has_its_batch_normalization_folded_and_two_keep_it() {
    let kept = rows().iter().filter(|row| row["bn_nodes"].as_u64().unwrap() > 0).count();
    assert!(kept >= 2 && kept < rows().len());
}
