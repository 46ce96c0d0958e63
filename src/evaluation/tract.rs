//! tract as an engine: a second opinion on files that it supports.

use std::sync::Arc;

use rayon::prelude::*;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::tract_core::tract_data::knobs;

use super::batches::joined;
use super::engine::{Engine, Output, Stacked, Subject, guard, stack};
use crate::calibration::{CalibrationSet, Samples};
use crate::error::{Error, Result};
use crate::progress::check_interrupt;

const NAME: &str = "tract 0.23";

/// tract takes time that grows with the square of the nodes.
const MOST_NODES: usize = 1_500;

pub struct Tract {
    plan: Arc<TypedSimplePlan>,
    /// For each input of the plan, its name, element type and shape.
    inputs: Vec<(String, DatumType, Vec<usize>)>,
}

impl Tract {
    /// Loads `subject` for samples shaped as those of `set`.
    ///
    /// # Errors
    /// If tract does not support the file.
    pub fn new(subject: &Subject<'_>, set: &CalibrationSet) -> Result<Self> {
        if subject.graph.node_count() > MOST_NODES {
            let reason = format!("not asked for the {}: it takes too long to open more than {MOST_NODES} nodes", subject.label);
            return Err(Error::Engine { engine: NAME.into(), reason });
        }
        if subject.graph.is_large() {
            let reason = format!("not asked for the {}: it takes several times the memory of its weights", subject.label);
            return Err(Error::Engine { engine: NAME.into(), reason });
        }
        guard(NAME, || load(subject.bytes, set).map_err(|error| refuse(subject.label, &error)))
    }
}

impl Engine for Tract {
    fn name(&self) -> &str {
        NAME
    }

    fn sizes_of(&self, name: &str) -> Option<Vec<Option<usize>>> {
        let (_, _, shape) = self.inputs.iter().find(|(input, _, _)| input == name)?;
        Some(shape.iter().copied().map(Some).collect())
    }

    fn outputs(&mut self, set: &CalibrationSet) -> Result<Vec<Stacked>> {
        guard(NAME, || {
            let samples: Vec<Result<Vec<Output>>> = (0..set.len()).into_par_iter().map(|sample| self.run_sample(set, sample)).collect();
            stack(NAME, samples.into_iter().collect::<Result<Vec<_>>>()?)
        })
    }
}

impl Tract {
    fn run_sample(&self, set: &CalibrationSet, sample: usize) -> Result<Vec<Output>> {
        check_interrupt()?;
        self.try_sample(set, sample).map_err(|error| Error::Engine { engine: NAME.into(), reason: text(&error) })
    }

    fn try_sample(&self, set: &CalibrationSet, sample: usize) -> TractResult<Vec<Output>> {
        let mut inputs = tvec!();
        for (name, data_type, _) in &self.inputs {
            let samples = find(set, name)?;
            let tensor = Tensor::from_shape(&samples.shape, &samples.sample(sample)?)?;
            inputs.push(tensor.cast_to_dt(*data_type)?.into_owned().into_tvalue());
        }
        self.plan.run(inputs)?.iter().map(|output| to_output(output)).collect()
    }
}

fn to_output(tensor: &Tensor) -> TractResult<Output> {
    let numbers = tensor.cast_to::<f32>()?;
    Ok(Output { shape: tensor.shape().to_vec(), elements: numbers.to_plain_array_view::<f32>()?.iter().copied().collect() })
}

/// tract 0.23.9 now and then ends the process in its kernels for integers on the tiles of AMX: it is kept from them, unless its
/// variable TRACT_CPU_ISA says otherwise.
fn avoid_amx() -> TractResult<()> {
    if cfg!(target_arch = "x86_64") {
        knobs::set_config_global("TRACT_CPU_ISA", "-amx-int8,-amx-bf16")?;
    }
    Ok(())
}

fn load(bytes: &[u8], set: &CalibrationSet) -> TractResult<Tract> {
    avoid_amx()?;
    let mut model = tract_onnx::onnx().with_ignore_value_info(true).model_for_read(&mut std::io::Cursor::new(bytes))?;
    let mut inputs = Vec::new();
    for index in 0..model.inputs.len() {
        let name = model.node(model.inputs[index].node).name.clone();
        let fact = model.input_fact(index)?;
        let data_type = fact.datum_type.concretize().unwrap_or(f32::datum_type());
        let declared: Vec<Option<usize>> = fact.shape.dims().map(|dim| usize::try_from(dim.concretize()?.to_i64().ok()?).ok()).collect();
        let mut shape = find(set, &name)?.shape.clone();
        if let Some((axis, count)) = joined(&shape, &declared) {
            shape[axis] *= count;
        }
        model.set_input_fact(index, InferenceFact::dt_shape(data_type, &shape))?;
        inputs.push((name, data_type, shape));
    }
    let plan = model.into_optimized()?.into_runnable()?;
    Ok(Tract { plan, inputs })
}

fn find<'a>(set: &'a CalibrationSet, name: &str) -> TractResult<&'a Samples> {
    let found = set.inputs.iter().find(|input| input.name == name);
    found.ok_or_else(|| TractError::msg(format!("no samples for input `{name}`")))
}

fn refuse(label: &str, error: &TractError) -> Error {
    Error::Engine { engine: NAME.into(), reason: format!("cannot open the {label}: {}", text(error)) }
}

/// The last and most telling line of tract's chain of causes.
fn text(error: &TractError) -> String {
    error.root_cause().to_string().lines().next().unwrap_or_default().to_string()
}
