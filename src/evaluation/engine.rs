//! What runs a model for comparison.

use std::path::Path;

use ndarray::{ArrayD, IxDyn};

use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::graph::Graph;

/// A model to be run, as a file and as a graph.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// How messages call it: `reference`, `candidate`, or a file name.
    pub label: &'a str,
    /// The whole file; may be left out where there is a path and the graph is large.
    pub bytes: &'a [u8],
    /// Where the file lies, if its weights lie beside it.
    pub path: Option<&'a Path>,
    /// The same as a graph that our executor can run.
    pub graph: &'a Graph,
}

/// Something that runs one model.
pub trait Engine {
    /// Name and version.
    fn name(&self) -> &str;

    /// Sizes of the input `name`, as far as the model fixes them; `None` where it says nothing of them.
    fn sizes_of(&self, name: &str) -> Option<Vec<Option<usize>>>;

    /// The outputs in their order, as row-major numbers; samples stacked along a new first axis. `None` for an output whose
    /// shape changes from sample to sample.
    ///
    /// # Errors
    /// If the engine cannot run the model on these samples.
    fn outputs(&mut self, set: &CalibrationSet) -> Result<Vec<Option<ArrayD<f32>>>>;

    /// As [`Engine::outputs`], where no shape may change.
    ///
    /// # Errors
    /// If one does, or the engine cannot run the model on these samples.
    fn run(&mut self, set: &CalibrationSet) -> Result<Vec<ArrayD<f32>>> {
        let whole = self.outputs(set)?.into_iter().collect::<Option<Vec<ArrayD<f32>>>>();
        let reason = "the shape of an output changes from sample to sample".to_string();
        whole.ok_or_else(|| Error::Engine { engine: self.name().to_string(), reason })
    }
}

/// One output of one sample.
pub(super) struct Output {
    pub shape: Vec<usize>,
    pub elements: Vec<f32>,
}

/// Stacks outputs, `[sample][output]`, along a new first axis, where all samples have the same shape.
pub(super) fn stack(engine: &str, samples: Vec<Vec<Output>>) -> Result<Vec<Option<ArrayD<f32>>>> {
    let fail = |reason: String| Error::Engine { engine: engine.to_string(), reason };
    let count = samples.len();
    let shapes: Vec<Vec<usize>> = samples.first().map(|outputs| outputs.iter().map(|o| o.shape.clone()).collect()).unwrap_or_default();
    let mut stacked: Vec<Option<Vec<f32>>> = vec![Some(Vec::new()); shapes.len()];
    for outputs in samples {
        if outputs.len() != shapes.len() {
            return Err(fail("the number of outputs changes from sample to sample".into()));
        }
        for ((all, shape), output) in stacked.iter_mut().zip(&shapes).zip(outputs) {
            match all {
                Some(elements) if output.shape == *shape => elements.extend(output.elements),
                _ => *all = None,
            }
        }
    }
    let build = |(shape, elements): (Vec<usize>, Option<Vec<f32>>)| {
        let shape = [&[count], shape.as_slice()].concat();
        elements.map(|elements| ArrayD::from_shape_vec(IxDyn(&shape), elements).map_err(|error| fail(error.to_string()))).transpose()
    };
    shapes.into_iter().zip(stacked).map(build).collect()
}

/// Runs foreign code that may panic.
///
/// # Errors
/// If it fails or panics.
pub(super) fn guard<T>(engine: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    outcome.unwrap_or_else(|_| Err(Error::Engine { engine: engine.to_string(), reason: "stopped unexpectedly".into() }))
}
