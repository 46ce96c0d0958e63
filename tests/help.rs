//! What `-h` and `--help` print, as files in tests/help.
//!
//! After a change on purpose: `ZEROQ_RENEW=1 cargo test --release --test help`, and read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

const COMMANDS: [&str; 11] =
    ["quantize", "synthesize", "inspect", "compare", "sensitivity", "similarity", "bench", "explain", "targets", "completions", "man"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help")
}

/// Standard output for these arguments, 100 columns wide.
fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    command.args(arguments).env("COLUMNS", "100").env_remove("CLICOLOR_FORCE").env("NO_COLOR", "1");
    String::from_utf8(command.assert().success().stderr("").get_output().stdout.clone()).unwrap()
}

/// Every page: the name of its file, and what it should hold.
fn pages() -> Vec<(String, String)> {
    let page = |command: Option<&str>, flag: &str, length: &str| {
        let arguments: Vec<&str> = command.into_iter().chain([flag]).collect();
        (format!("{}.{length}.txt", command.unwrap_or("zeroq")), help(&arguments))
    };
    let commands = std::iter::once(None).chain(COMMANDS.into_iter().map(Some));
    commands.flat_map(|command| [page(command, "-h", "short"), page(command, "--help", "long")]).collect()
}

#[test]
fn help_is_as_it_was_read_last() {
    let renew = std::env::var_os("ZEROQ_RENEW").is_some();
    for (name, text) in pages() {
        let path = folder().join(&name);
        if renew {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "{name} has changed; ZEROQ_RENEW=1 renews the files in tests/help. It is now:\n{text}");
    }
    let wanted: BTreeSet<String> = pages().into_iter().map(|(name, _)| name).collect();
    let found = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<String>>(), wanted);
}

#[test]
fn every_command_is_listed_and_has_examples_in_short_and_long() {
    let overview = help(&["-h"]);
    let listed = overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<&str> = listed.filter(|line| !line.starts_with("    ")).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, [&COMMANDS[..], &["help"]].concat());
    for command in COMMANDS {
        let (short, long) = (help(&[command, "-h"]), help(&[command, "--help"]));
        for text in [&short, &long] {
            assert!(text.contains("\nExamples:\n") && text.contains(&format!(" zeroq {command}")), "{command}: {text}");
        }
        assert!(short.lines().count() < long.lines().count(), "{command}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for (name, text) in pages() {
        // Examples, lists of ours and names of values are not wrapped.
        let own = text.find("\nExamples:").unwrap_or(text.len());
        let wide = text[..own].lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{name}");
    }
}
