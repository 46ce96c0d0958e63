//! Running a graph, forward and backward. Nothing outside this folder sees tensors in flight.

use ndarray::ArrayD;

use crate::calibration::CalibrationSet;
use crate::error::{Error, Result};
use crate::graph::{Graph, ValueId};
use crate::kernels::Isa;

/// How to run. Results depend on `isa`, never on the number of threads (rayon's global pool).
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub isa: Isa,
}

impl Default for Config {
    fn default() -> Self {
        Config { isa: Isa::detect() }
    }
}

/// Runs `graph` on each sample of `set` and calls `visit(sample, elements)` in sample order, with the elements of each
/// of `values` in memory order (the same order for every sample; `NHWC` for rank 3 and more).
///
/// # Errors
/// If a value cannot be computed: the foreign or refused nodes before it, all at once.
pub fn observe(
    _graph: &Graph,
    _values: &[ValueId],
    _set: &CalibrationSet,
    _config: &Config,
    _visit: &mut dyn FnMut(usize, &[&[f32]]),
) -> Result<()> {
    Err(Error::Internal("not built yet".into()))
}

/// Runs `graph` on each sample of `set` and returns the row-major `values`, samples stacked along a new first axis.
///
/// # Errors
/// As [`observe`].
pub fn evaluate(_graph: &Graph, _values: &[ValueId], _set: &CalibrationSet, _config: &Config) -> Result<Vec<ArrayD<f32>>> {
    Err(Error::Internal("not built yet".into()))
}
