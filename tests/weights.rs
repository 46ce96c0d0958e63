//! Weights of a model in a file are never in memory more often than kernels need them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use zeroq::calibration::RangeSource;
use zeroq::distillation::{BiasCorrection, Corrections, Rounding};
use zeroq::execution;
use zeroq::graph::sketch::Sketch;
use zeroq::onnx::{Limits, Model, Placement, encode, load, save, to_bytes};
use zeroq::pipeline::{Config, Quantized, Tuning, convert_to_float16, quantize};
use zeroq::progress::Silent;
use zeroq::quantization::{Objective, Widths, targets};
use zeroq::synthesis::input_range::InputRange;
use zeroq::synthesis::method::Method;

/// Bytes that are allocated now, and the most so far.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sixteen layers of 1 MiB on pictures of one pixel.
fn network() -> Model {
    let mut sketch = Sketch::new(&[0, 3, 1, 1]).conv("c0", "x", (3, 512), 1, 1).norm("n0", "c0", 512).plain("r0", "Relu", "n0");
    for layer in 1..=16 {
        let name = |kind: char| format!("{kind}{layer}");
        let (c, n, before) = (name('c'), name('n'), format!("r{}", layer - 1));
        sketch = sketch.conv(&c, &before, (512, 512), 1, 1).norm(&n, &c, 512).plain(&name('r'), "Relu", &n);
    }
    Model::from_graph(sketch.outputs("r16"))
}

fn config() -> Config {
    Config {
        target: targets::find("ort-cpu").unwrap(),
        widths: Widths::INT8,
        mixed: None,
        check: None,
        objective: Objective::Integer,
        autotune: false,
        observer: None,
        ranges: RangeSource::Images,
        exclude: Vec::new(),
        equalize: true,
        corrections: Corrections { absorb_bias: false, rounding: Rounding::Squant, bias: BiasCorrection::None },
        input_range: "-1,1".parse::<InputRange>().unwrap(),
        images: Some(4),
        steps: Some(1),
        tuning: Tuning::NONE,
        seed: 0,
        method: Method::default(),
        statistics_from: None,
        execution: execution::Config::default(),
    }
}

/// How often the bytes of `path` are in memory at once while `work` is done on the model there and the result encoded.
fn copies(path: &Path, work: impl Fn(&Model) -> Quantized) -> f64 {
    let bytes = load(path, &Limits::default()).unwrap().file_bytes;
    let before = LIVE.load(Relaxed);
    MOST.store(before, Relaxed);
    let quantized = work(&load(path, &Limits::default()).unwrap());
    assert!(encode(&quantized.model, "q.onnx", Placement::External).unwrap().has_data());
    (MOST.load(Relaxed) - before) as f64 / bytes as f64
}

/// One test, since all of it is counted.
#[test]
fn weights_are_in_memory_as_seldom_as_can_be_and_are_read_as_long_as_the_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("inside.onnx"), folder.path().join("outside.onnx"));
    save(&network(), &inside, false).unwrap();
    let encoded = encode(&network(), "outside.onnx", Placement::External).unwrap();
    fs::write(&outside, &encoded.model).unwrap();
    let mut data = fs::File::create(folder.path().join(&encoded.data_name)).unwrap();
    for (offset, bytes) in encoded.data() {
        data.set_len(offset).unwrap();
        std::io::Seek::seek(&mut data, std::io::SeekFrom::End(0)).unwrap();
        data.write_all(&bytes).unwrap();
    }
    drop(encoded);
    for path in [&inside, &outside] {
        let integers = copies(path, |model| quantize(model, None, &config(), &Silent).unwrap());
        let halves = copies(path, |model| convert_to_float16(model, None, true, &config(), &Silent).unwrap());
        assert!(integers < 3.0 && halves < 2.5, "{}: {integers:.2} times for int8, {halves:.2} for float16", path.display());
    }
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_zeroq"));
    let done = command.args(["quantize", "outside.onnx", "-o", "q.onnx", "--max-memory", "40M"]).current_dir(&folder).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(2) && said.contains("not enough memory for the weights, as kernels read them"), "{said}");
    assert!(!folder.path().join("q.onnx").exists());
    let model = load(&outside, &Limits::default()).unwrap();
    data.set_len(1 << 24).unwrap();
    let message = to_bytes(&model).unwrap_err().to_string();
    assert!(message.contains("was changed while it was in use"), "{message}");
}
