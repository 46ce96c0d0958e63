//! Convolution kernels on one thread, against what the machine can do.
//!
//!     cargo bench --bench kernels [-- FILTER]      each kernel, with criterion
//!     cargo bench --bench kernels -- --roofline    a table of GFLOP/s and of their share of the measured peak

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use zeroq::kernels::{AlignedBuffer, Convolution, Direction, Isa, Window};

/// Channels, features, size of image and kernel, stride, groups.
struct Shape {
    channels: usize,
    features: usize,
    size: usize,
    kernel: usize,
    stride: usize,
    group: usize,
}

const fn dense(channels: usize, features: usize, size: usize, kernel: usize, stride: usize) -> Shape {
    Shape { channels, features, size, kernel, stride, group: 1 }
}

const fn depthwise(channels: usize, size: usize, stride: usize) -> Shape {
    Shape { channels, features: channels, size, kernel: 3, stride, group: channels }
}

const SHAPES: [Shape; 20] = [
    dense(16, 16, 32, 3, 1),
    dense(32, 32, 16, 3, 1),
    dense(64, 64, 8, 3, 1),
    dense(64, 64, 56, 3, 1),
    dense(128, 128, 28, 3, 1),
    dense(256, 256, 14, 3, 1),
    dense(512, 512, 7, 3, 1),
    dense(64, 128, 56, 3, 2),
    dense(128, 256, 28, 3, 2),
    dense(64, 64, 56, 1, 1),
    dense(128, 128, 28, 1, 1),
    dense(256, 256, 14, 1, 1),
    dense(96, 24, 56, 1, 1),
    dense(64, 384, 14, 1, 1),
    dense(3, 64, 224, 7, 2),
    dense(3, 8, 224, 3, 2),
    depthwise(16, 112, 1),
    depthwise(144, 56, 1),
    depthwise(144, 56, 2),
    depthwise(384, 14, 1),
];

impl Shape {
    fn name(&self) -> String {
        let Shape { channels, features, size, kernel, stride, group } = self;
        let kind = if *group > 1 { "depthwise " } else { "" };
        format!("{kind}{kernel}x{kernel}/{stride} {channels}->{features} @{size}")
    }

    fn window(&self) -> Window {
        let pad = self.kernel / 2;
        let map = (self.size + 2 * pad - self.kernel) / self.stride + 1;
        Window {
            batch: 1,
            group: self.group,
            channels: self.channels,
            features: self.features,
            image: [1, self.size, self.size],
            map: [1, map, map],
            kernel: [1, self.kernel, self.kernel],
            stride: [1, self.stride, self.stride],
            dilation: [1; 3],
            pad: [0, pad, pad],
        }
    }
}

/// A convolution with buffers: forward, gradient of the image, gradient of the weights.
struct Work {
    convolution: Convolution,
    image: AlignedBuffer,
    map: AlignedBuffer,
    weights: AlignedBuffer,
    packed: [AlignedBuffer; 2],
    scratch: Vec<f32>,
    flops: f64,
}

const KINDS: [&str; 3] = ["forward", "image gradient", "weight gradient"];

impl Work {
    fn new(shape: &Shape) -> Self {
        let window = shape.window();
        let convolution = Convolution::new(&window, Isa::detect());
        let filled = |len: usize| {
            let mut buffer = AlignedBuffer::new(len);
            buffer.values_mut().iter_mut().enumerate().for_each(|(i, x)| *x = (i % 17) as f32 * 0.1 - 0.8);
            buffer
        };
        let mut weights = filled(window.weight_len());
        weights.values_mut().iter_mut().for_each(|x| *x *= 0.1);
        let packed = [Direction::ToMap, Direction::ToImage].map(|direction| {
            let mut packed = AlignedBuffer::new(convolution.packed_len(direction));
            convolution.pack(direction, &weights.values()[..window.weight_len()], packed.values_mut());
            packed
        });
        Work {
            image: filled(shape.size * shape.size * shape.channels),
            map: filled(window.map.iter().product::<usize>() * shape.features),
            scratch: vec![0.0; convolution.scratch()],
            flops: 2.0 * window.multiplications() as f64,
            convolution,
            weights,
            packed,
        }
    }

    fn run(&mut self, kind: &str) {
        let Work { convolution, image, map, weights, packed, scratch, .. } = self;
        match kind {
            "forward" => convolution.run(Direction::ToMap, image.values(), packed[0].values(), &[], false, map.values_mut(), scratch),
            "image gradient" => {
                convolution.run(Direction::ToImage, map.values(), packed[1].values(), &[], false, image.values_mut(), scratch);
            }
            _ => convolution.add_weight_gradient(image.values(), map.values(), weights.values_mut(), scratch),
        }
    }
}

fn bench(criterion: &mut Criterion) {
    for kind in KINDS {
        let mut group = criterion.benchmark_group(kind);
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
        for shape in &SHAPES {
            let mut work = Work::new(shape);
            group.throughput(Throughput::Elements(work.flops as u64));
            group.bench_function(BenchmarkId::from_parameter(shape.name()), |bencher| bencher.iter(|| work.run(kind)));
        }
        group.finish();
    }
}

/// The shortest of several runs of `work`, in seconds per call.
fn best(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    let calls = (0.01 / start.elapsed().as_secs_f64().max(1e-9)).ceil() as usize;
    let run = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed().as_secs_f64() / calls as f64
    };
    (0..15).map(|_| run(&mut work)).fold(f64::INFINITY, f64::min)
}

/// Multiplications and additions per second that one core can do, in GFLOP/s.
fn peak() -> f64 {
    const ROUNDS: usize = 100_000;
    // Independent sums, enough to hide the latency of each.
    let flops = 2.0 * (ROUNDS * 12) as f64;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        fn wide() -> f32 {
            let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3)));
            let mut sums = [_mm512_set1_ps(0.0); 12];
            for _ in 0..ROUNDS {
                sums.iter_mut().for_each(|sum| *sum = _mm512_fmadd_ps(*sum, a, b));
            }
            sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
        }
        #[target_feature(enable = "avx2,fma")]
        fn narrow() -> f32 {
            let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3)));
            let mut sums = [_mm256_set1_ps(0.0); 12];
            for _ in 0..ROUNDS {
                sums.iter_mut().for_each(|sum| *sum = _mm256_fmadd_ps(*sum, a, b));
            }
            sums.into_iter().map(|sum| _mm256_cvtss_f32(sum)).sum()
        }
        // SAFETY: detected on this machine.
        match Isa::detect() {
            Isa::Avx512 => return 16.0 * flops / best(|| _ = black_box(unsafe { wide() })) / 1e9,
            Isa::Avx2 => return 8.0 * flops / best(|| _ = black_box(unsafe { narrow() })) / 1e9,
            Isa::Portable | Isa::Neon => {}
        }
    }
    let portable = || {
        let (a, b) = (black_box(0.999f32), black_box(1e-3f32));
        let mut sums = [0.0f32; 48];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = *sum * a + b);
        }
        sums.iter().sum::<f32>()
    };
    4.0 * flops / best(|| _ = black_box(portable())) / 1e9
}

/// Bytes per second that one core reads from and writes to memory, in GB/s.
fn bandwidth() -> f64 {
    let (from, mut to) = (vec![1.0f32; 1 << 26], vec![0.0f32; 1 << 26]);
    let bytes = 2.0 * 4.0 * from.len() as f64;
    bytes / best(|| black_box(&mut to).copy_from_slice(black_box(&from))) / 1e9
}

fn roofline() {
    let peak = peak();
    println!("One thread, {}: peak {peak:.0} GFLOP/s, memory {:.1} GB/s (read and written).\n", Isa::detect().name(), bandwidth());
    println!("| convolution | {} |\n|---|---|---|---|", KINDS.join(" | "));
    for shape in &SHAPES {
        let mut work = Work::new(shape);
        let cells = KINDS.map(|kind| {
            let rate = work.flops / best(|| work.run(kind)) / 1e9;
            format!("{rate:.0} ({:.0} %)", 100.0 * rate / peak)
        });
        println!("| {} | {} |", shape.name(), cells.join(" | "));
    }
}

fn main() {
    if std::env::args().any(|argument| argument == "--roofline") {
        return roofline();
    }
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
