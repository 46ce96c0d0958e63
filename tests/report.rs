//! `quantize --report page.html`: one page that is whole, needs nothing else, and runs nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use prost::Message;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use tempfile::TempDir;
use zeroq::onnx::messages::GraphProto;

#[allow(dead_code)]
#[path = "hostile/network.rs"]
mod network;

const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_resnet.onnx");
const LITTLE: [&str; 5] = ["-n", "24", "--steps", "4", "-f"];
const TUNED: [&str; 2] = ["--distill-steps", "2"];

/// What quantizing `model` to q.onnx with `more` writes as a page.
fn page(folder: &Path, model: &str, more: &[&str]) -> String {
    let arguments = [&["quantize", model, "-o", "q.onnx", "--report", "page.html"], &LITTLE[..], more].concat();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeroq"));
    let output = command.args(&arguments).current_dir(folder).env_remove("ORT_DYLIB_PATH").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(folder.join("page.html")).unwrap()
}

/// A page as a strict parser sees it.
#[derive(Default)]
struct Seen {
    /// Elements, by name.
    names: Vec<String>,
    /// Attributes of all elements.
    attributes: Vec<(String, String)>,
    text: String,
}

impl Seen {
    fn add(&mut self, element: &BytesStart<'_>) {
        self.names.push(String::from_utf8(element.name().as_ref().to_vec()).unwrap());
        for attribute in element.attributes() {
            let attribute = attribute.unwrap();
            let value = attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).unwrap().into_owned();
            self.attributes.push((String::from_utf8(attribute.key.as_ref().to_vec()).unwrap(), value));
        }
    }

    fn values(&self, key: &str) -> Vec<&str> {
        self.attributes.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
    }
}

/// Fails where an element is not closed or an attribute not quoted.
fn parse(page: &str) -> Seen {
    let mut reader = Reader::from_str(page);
    let (mut seen, mut depth) = (Seen::default(), 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(element) => {
                seen.add(&element);
                depth += 1;
            }
            Event::Empty(element) => seen.add(&element),
            Event::End(_) => depth -= 1,
            Event::Text(text) => seen.text.push_str(&text.decode().unwrap()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().unwrap() {
                Some(character) => seen.text.push(character),
                None => seen.text.push_str(quick_xml::escape::resolve_predefined_entity(&reference.decode().unwrap()).unwrap()),
            },
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    seen
}

/// Nothing runs, nothing is fetched, and the page says so itself.
fn check_harmless(page: &str) {
    let seen = parse(page);
    let known: BTreeSet<&str> = "a body br caption circle code dd details div dl dt figcaption figure h1 h2 h3 head header html img li line \
                                 link main meta nav p path polyline rect section small span strong style summary svg table tbody td text th \
                                 thead title tr ul"
        .split_whitespace()
        .collect();
    let strange: Vec<&String> = seen.names.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(seen.attributes.iter().all(|(name, _)| !name.starts_with("on")), "an attribute that runs");
    assert!(seen.values("href").iter().all(|to| to.starts_with('#') || *to == "data:,"), "{:?}", seen.values("href"));
    assert!(seen.values("src").iter().all(|from| from.starts_with("data:image/png;base64,")));
    assert!(seen.values("content").contains(&"default-src 'none'; img-src data:; style-src 'unsafe-inline'"));
    assert!(!page.contains("url(") && !page.contains("@import"));
}

#[test]
fn the_page_is_whole_and_shows_all_there_is() {
    let place = TempDir::new().unwrap();
    let said = ["--precision", "mixed", "--max-size", "0.3x", "--check-sqnr", "90", "--input-range", "signed"];
    let page = page(place.path(), RESNET, &[&said[..], &TUNED[..]].concat());
    check_harmless(&page);
    let seen = parse(&page);
    for section in ["warnings", "images", "distance", "losses", "accuracy", "ranges", "kernels", "sensitivity", "cost", "settings"] {
        assert!(seen.values("id").contains(&section), "{section}");
    }
    for link in seen.values("href").into_iter().filter_map(|to| to.strip_prefix('#')) {
        assert!(seen.values("id").contains(&link), "{link} leads nowhere");
    }
    assert_eq!(seen.values("src").len(), 24);
    let drawings = seen.names.iter().filter(|name| *name == "svg").count();
    let titles = seen.names.iter().filter(|name| *name == "title").count();
    assert!(drawings > 30 && titles == drawings + 1, "{drawings} drawings, {titles} titles with that of the page");
    for word in
        ["self-check: output `scores` has", "synthesize", "distill", "on average", "bits per weight", "zeroq.seed", "signed (-1 to 1)"]
    {
        assert!(seen.text.contains(word), "{word}: {}", seen.text);
    }
    assert!(!seen.text.contains("NaN") && !seen.text.contains("undefined"));
}

#[test]
fn a_page_changes_nothing_in_the_result_and_is_the_same_again_but_for_times() {
    let place = TempDir::new().unwrap();
    let untimed = |page: String| {
        let (before, after) = (page.find("<section id=\"cost\"").unwrap(), page.find("<section id=\"settings\"").unwrap());
        let page = format!("{}{}", &page[..before], &page[after..]);
        page.lines().filter(|line| !line.contains("<dt>Time</dt>")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let first = untimed(page(place.path(), RESNET, &[&["--threads", "1"], &TUNED[..]].concat()));
    let looked_at = fs::read(place.path().join("q.onnx")).unwrap();
    assert!(first == untimed(page(place.path(), RESNET, &[&["--threads", "3"], &TUNED[..]].concat())));
    let arguments = [&["quantize", RESNET, "-o", "q.onnx"], &LITTLE[..], &TUNED].concat();
    let plain = Command::new(env!("CARGO_BIN_EXE_zeroq")).args(arguments).current_dir(place.path()).output().unwrap();
    assert!(plain.status.success() && fs::read(place.path().join("q.onnx")).unwrap() == looked_at);
}

#[test]
fn a_page_says_what_it_cannot_show() {
    let place = TempDir::new().unwrap();
    let folded = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits_folded.onnx");
    let page = page(place.path(), folded, &["--input-range", "signed", "--precision", "fp16"]);
    check_harmless(&page);
    let text = parse(&page).text;
    for word in ["Nothing is shown: the model has no BatchNormalization", "no activation", "there was no self-check", "--precision mixed"] {
        assert!(text.to_lowercase().contains(&word.to_lowercase()), "{word}: {text}");
    }
}

/// Names that would be markup, script or a trick if they were taken for more than names.
const NAMES: [(&str, &str); 9] = [
    ("x", "\"><img src=x onerror=alert(1)>"),
    ("c", "</title></svg><script>alert(2)</script>"),
    ("r", "'><svg/onload=alert(3)>"),
    ("y", "{{ 7 * 7 }}{% raw %}&lt;b&gt;&#60;i&#62;"),
    ("conv", "\"><script>alert(1)</script>"),
    ("conv2", "</style><style>*{display:none}"),
    ("norm", "javascript:alert(4)"),
    ("norm2", "\u{202e}gnp.exe"),
    ("head", "<!--]]>\u{1b}[31m\u{0}"),
];

fn rename(graph: &mut GraphProto) {
    let rename = |name: &mut String| {
        if let Some((_, other)) = NAMES.iter().find(|(old, _)| old == name) {
            *name = other.to_string();
        }
    };
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).chain(&mut node.name).for_each(rename);
    }
    graph.input.iter_mut().chain(&mut graph.output).flat_map(|value| &mut value.name).for_each(rename);
}

#[test]
fn names_stay_text() {
    let place = TempDir::new().unwrap();
    let file = "<b onclick=alert(5)>&amp;.onnx";
    fs::write(place.path().join(file), network::regraphed(rename).encode_to_vec()).unwrap();
    for more in [&["--objective", "integer"][..], &["--precision", "mixed", "--max-size", "6bits"]] {
        let page = page(place.path(), file, &[more, &TUNED].concat());
        check_harmless(&page);
        assert!(!page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\u{1b}') && !page.contains('\0'));
        let seen = parse(&page);
        assert_eq!(seen.names.iter().filter(|name| *name == "style").count(), 1);
        for (_, name) in NAMES.iter().filter(|(old, _)| ["x", "y", "conv2", "norm"].contains(old)) {
            assert!(seen.text.contains(name), "{name} is not told as it is");
        }
        assert!(seen.text.contains("\\u{202e}gnp.exe") && seen.text.contains(file));
    }
}
