//! The loops of synthesis and distillation take no memory: a compiled tape runs forward and backward without allocating.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use zeroq::execution::tape::{Request, Tape};
use zeroq::graph::ValueId;
use zeroq::kernels::Isa;
use zeroq::onnx::{Limits, load};
use zeroq::passes::{batch_norm_statistics, simplify, single_sample};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn a_step_allocates_nothing() {
    for name in ["digits_resnet", "digits_mobilenet", "digits_squeezenet"] {
        let path = format!("{}/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let mut graph = load(path, &Limits::default()).unwrap().graph;
        simplify(&mut graph).unwrap();
        let graph = single_sample(&graph).unwrap();
        let sites: Vec<ValueId> = batch_norm_statistics(&graph).unwrap().iter().map(|site| site.input).collect();
        let request = Request { targets: &[], seeds: &sites, input_gradients: true, parameters: &[], isa: Isa::detect() };
        let tape = Tape::compile(&graph, &request).unwrap();
        let (mut lane, mut gradients) = (tape.lane(), tape.shared_gradients());
        tape.input_mut(&mut lane, 0).iter_mut().enumerate().for_each(|(i, x)| *x = (i % 5) as f32 * 0.1);
        let before = allocations();
        let mut seen = 0.0;
        tape.forward_with(&mut lane, &mut |_, values| seen += values[0]);
        tape.backward(&mut lane, &mut gradients, &|_, values, gradient| {
            gradient.open().iter_mut().zip(values).for_each(|(target, value)| *target += value);
        });
        assert_eq!(allocations() - before, 0, "{name}");
        assert!(seen != 0.0 && tape.input_gradient(&lane, 0).iter().any(|g| *g != 0.0));
    }
}
