//! What is fuzzed (fuzz/targets.rs), on the committed seeds and on all that is one step away from them: every file cut off at
//! every length, and every byte changed in several ways. Nothing panics, and nothing takes much memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[path = "../fuzz/targets.rs"]
mod targets;

/// Most that one small file may take: the limits of what folding makes, not of the file.
const MOST_BYTES: isize = 64 << 20;

struct Counting;

thread_local! {
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // Memory is given back after a thread's counters are gone.
    let _ = TAKEN.try_with(|taken| {
        taken.set(taken.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(taken.get())));
    });
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `target` holds at once; `None` if it panics.
fn most_bytes(target: fn(&[u8]), bytes: &[u8]) -> Option<isize> {
    TAKEN.set(0);
    MOST.set(0);
    catch_unwind(|| target(bytes)).ok()?;
    Some(MOST.get())
}

fn seeds(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(kind);
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    seeds
}

/// All files that are one step away from `seed`, each with what was done to it.
fn mutations(seed: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let cut = (0..seed.len()).map(|length| (format!("cut off after {length} bytes"), seed[..length].to_vec()));
    let changed = (0..seed.len()).flat_map(move |at| {
        let flips = (0..8).map(move |bit| seed[at] ^ (1 << bit));
        flips.chain([0, 0x7f, 0x80, 0xff]).filter(move |byte| *byte != seed[at]).map(move |byte| {
            let mut bytes = seed.to_vec();
            bytes[at] = byte;
            (format!("byte {at} is {byte:#04x}"), bytes)
        })
    });
    let doubled = (0..seed.len()).map(move |at| (format!("doubled from {at} on"), [seed, &seed[at..]].concat()));
    cut.chain(changed).chain(doubled)
}

fn check(kind: &str, target: fn(&[u8])) {
    let failures: Vec<String> = seeds(kind)
        .iter()
        .flat_map(|(name, seed)| {
            let all = std::iter::once(("as it is".to_string(), seed.clone())).chain(mutations(seed));
            all.filter_map(move |(what, bytes)| match most_bytes(target, &bytes) {
                None => Some(format!("{name}, {what}: panics")),
                Some(most) if most > MOST_BYTES => Some(format!("{name}, {what}: {most} bytes")),
                Some(_) => None,
            })
        })
        .collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures[..failures.len().min(40)].join("\n"));
}

#[test]
fn models_one_step_away() {
    check("model", targets::model);
}

#[test]
fn recipes_one_step_away() {
    check("recipe", targets::recipe);
}

#[test]
fn data_one_step_away() {
    check("data", targets::data);
}

/// The seeds are good files: most of the readers is behind them.
#[test]
fn seeds_are_taken() {
    use zeroq::onnx::{Limits, from_bytes};
    let taken = seeds("model").into_iter().filter(|(_, bytes)| from_bytes(bytes.clone(), Path::new("m.onnx"), &Limits::default()).is_ok());
    let taken: Vec<String> = taken.map(|(name, _)| name).collect();
    assert_eq!(taken, ["branches.onnx", "old.onnx", "plain.onnx", "quantized.onnx", "residual.onnx", "shapes.onnx"]);
    for name in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/calibration")).unwrap() {
        zeroq::cli::check_recipe(&fs::read_to_string(name.unwrap().path()).unwrap()).unwrap();
    }
}
