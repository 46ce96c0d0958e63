//! What runs a model for comparison.

use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};

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

/// What one output gave for all samples, as row-major numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Stacked {
    /// Along a new first axis.
    Whole(ArrayD<f32>),
    /// One by one, where the shape changes from sample to sample.
    Ragged(Vec<ArrayD<f32>>),
}

impl Stacked {
    pub fn whole(&self) -> Option<&ArrayD<f32>> {
        match self {
            Stacked::Whole(all) => Some(all),
            Stacked::Ragged(_) => None,
        }
    }

    /// What one sample gave.
    pub fn sample(&self, index: usize) -> ArrayViewD<'_, f32> {
        match self {
            Stacked::Whole(all) => all.index_axis(Axis(0), index),
            Stacked::Ragged(samples) => samples[index].view(),
        }
    }
}

/// Something that runs one model.
pub trait Engine {
    /// Name and version.
    fn name(&self) -> &str;

    /// Sizes of the input `name`, as far as the model fixes them; `None` where it says nothing of them.
    fn sizes_of(&self, name: &str) -> Option<Vec<Option<usize>>>;

    /// The outputs in their order.
    ///
    /// # Errors
    /// If the engine cannot run the model on these samples.
    fn outputs(&mut self, set: &CalibrationSet) -> Result<Vec<Stacked>>;

    /// As [`Engine::outputs`], where no shape may change.
    ///
    /// # Errors
    /// If one does, or the engine cannot run the model on these samples.
    fn run(&mut self, set: &CalibrationSet) -> Result<Vec<ArrayD<f32>>> {
        let outputs = self.outputs(set)?;
        let reason = || "the shape of an output changes from sample to sample".to_string();
        let whole = |output| match output {
            Stacked::Whole(all) => Ok(all),
            Stacked::Ragged(_) => Err(Error::Engine { engine: self.name().to_string(), reason: reason() }),
        };
        outputs.into_iter().map(whole).collect()
    }
}

/// One output of one sample.
pub(super) struct Output {
    pub shape: Vec<usize>,
    pub elements: Vec<f32>,
}

/// Outputs, `[sample][output]`, by output: along a new first axis where all samples have the same shape.
pub(super) fn stack(engine: &str, samples: Vec<Vec<Output>>) -> Result<Vec<Stacked>> {
    let fail = |reason: String| Error::Engine { engine: engine.to_string(), reason };
    let count = samples.first().map_or(0, Vec::len);
    if samples.iter().any(|outputs| outputs.len() != count) {
        return Err(fail("the number of outputs changes from sample to sample".into()));
    }
    let mut by_output: Vec<Vec<Output>> = (0..count).map(|_| Vec::new()).collect();
    for sample in samples {
        by_output.iter_mut().zip(sample).for_each(|(outputs, output)| outputs.push(output));
    }
    by_output.into_iter().map(|outputs| stack_one(outputs).map_err(|error| fail(error.to_string()))).collect()
}

fn stack_one(samples: Vec<Output>) -> std::result::Result<Stacked, ndarray::ShapeError> {
    let array = |shape: &[usize], elements| ArrayD::from_shape_vec(IxDyn(shape), elements);
    let (count, shape) = (samples.len(), samples.first().map(|sample| sample.shape.clone()).unwrap_or_default());
    if samples.iter().any(|sample| sample.shape != shape) {
        return samples
            .into_iter()
            .map(|sample| array(&sample.shape, sample.elements))
            .collect::<std::result::Result<_, _>>()
            .map(Stacked::Ragged);
    }
    let mut elements = Vec::with_capacity(count * shape.iter().product::<usize>());
    samples.into_iter().for_each(|sample| elements.extend(sample.elements));
    array(&[&[count], shape.as_slice()].concat(), elements).map(Stacked::Whole)
}

/// Runs foreign code that may panic.
///
/// # Errors
/// If it fails or panics.
pub(super) fn guard<T>(engine: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    outcome.unwrap_or_else(|_| Err(Error::Engine { engine: engine.to_string(), reason: "stopped unexpectedly".into() }))
}
