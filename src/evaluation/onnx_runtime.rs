//! ONNX Runtime as an engine, from the shared library that `ORT_DYLIB_PATH` names.

use std::ffi::OsString;
use std::sync::OnceLock;
use std::time::Instant;

use half::f16;
use ort::environment::Environment;
use ort::ep::CPU;
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorElementType};

use super::engine::{Engine, Output, Stacked, Subject, guard, stack};
use crate::calibration::{CalibrationSet, Samples};
use crate::error::{Error, Result};
use crate::progress::check_interrupt;
use crate::tensor::Element;

const NAME: &str = "ONNX Runtime";
const VARIABLE: &str = "ORT_DYLIB_PATH";

pub struct OnnxRuntime {
    session: Session,
}

/// The library that the environment names, if it names one.
pub fn library() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty())
}

impl OnnxRuntime {
    /// Loads `subject` with the library that the environment names.
    ///
    /// # Errors
    /// If the library cannot be loaded or refuses the model.
    pub fn new(subject: &Subject<'_>) -> Result<Self> {
        Self::with(subject, Ok)
    }

    /// As [`OnnxRuntime::new`], slower and with less memory: by default weights lie there up to four times.
    ///
    /// # Errors
    /// As [`OnnxRuntime::new`].
    pub fn frugal(subject: &Subject<'_>) -> Result<Self> {
        let without_arena = || [CPU::default().with_arena_allocator(false).build()];
        let level = GraphOptimizationLevel::Level2;
        Self::with(subject, |builder| {
            Ok(builder.with_optimization_level(level)?.with_memory_pattern(false)?.with_execution_providers(without_arena())?)
        })
    }

    fn with(subject: &Subject<'_>, set: impl Fn(SessionBuilder) -> ort::Result<SessionBuilder>) -> Result<Self> {
        if subject.path.is_none() && subject.bytes.is_empty() {
            return Err(refuse(format!("the {} is too long to be opened in memory", subject.label)));
        }
        guard(NAME, || {
            let environment = environment()?;
            let session = open(environment, subject, set).map_err(|error| refuse(format!("cannot open the {}: {error}", subject.label)))?;
            Ok(OnnxRuntime { session })
        })
    }

    /// How long the first sample of `set` takes.
    ///
    /// # Errors
    /// If the model does not run on it.
    pub(super) fn seconds(&mut self, set: &CalibrationSet) -> Result<f64> {
        check_interrupt()?;
        let inputs = self.inputs(set, 0)?;
        let start = Instant::now();
        self.session.run(inputs).map_err(|error| refuse(error.to_string()))?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn run_sample(&mut self, set: &CalibrationSet, sample: usize) -> Result<Vec<Output>> {
        check_interrupt()?;
        let inputs = self.inputs(set, sample)?;
        let outputs = self.session.run(inputs).map_err(|error| refuse(error.to_string()))?;
        outputs.values().map(|value| to_output(&value)).collect()
    }

    fn inputs(&self, set: &CalibrationSet, sample: usize) -> Result<Vec<(String, SessionInputValue<'static>)>> {
        let inputs = self.session.inputs().iter().map(|input| {
            let samples = set.inputs.iter().find(|samples| samples.name == input.name());
            let samples = samples.ok_or_else(|| refuse(format!("no samples for input `{}`", input.name())))?;
            let data_type = input.dtype().tensor_type().unwrap_or(TensorElementType::Float32);
            Ok((input.name().to_string(), SessionInputValue::from(to_value(samples, sample, data_type)?)))
        });
        inputs.collect()
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &str {
        NAME
    }

    fn sizes_of(&self, name: &str) -> Option<Vec<Option<usize>>> {
        let input = self.session.inputs().iter().find(|input| input.name() == name)?;
        Some(input.dtype().tensor_shape()?.iter().map(|size| usize::try_from(*size).ok()).collect())
    }

    fn outputs(&mut self, set: &CalibrationSet) -> Result<Vec<Stacked>> {
        guard(NAME, || {
            let samples = (0..set.len()).map(|sample| self.run_sample(set, sample)).collect::<Result<Vec<_>>>()?;
            stack(NAME, samples)
        })
    }
}

fn refuse(reason: String) -> Error {
    Error::Engine { engine: NAME.into(), reason }
}

/// The process has one environment, and the first attempt to make it decides.
fn environment() -> Result<&'static Environment> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    let start = || {
        let path = library().ok_or(format!("{VARIABLE} is not set"))?;
        let builder = ort::init_from(&path).map_err(|error| format!("{VARIABLE}: {error}"))?;
        let environment = builder.with_name("zeroq").with_telemetry(false).build().map_err(|error| error.to_string())?;
        environment.set_log_level(LogLevel::Fatal);
        Ok(environment)
    };
    ENVIRONMENT.get_or_init(start).as_ref().map_err(|reason| refuse(reason.clone()))
}

fn open(
    environment: &Environment,
    subject: &Subject<'_>,
    set: impl Fn(SessionBuilder) -> ort::Result<SessionBuilder>,
) -> ort::Result<Session> {
    let builder = set(Session::builder(environment)?.with_intra_threads(rayon::current_num_threads())?)?;
    // Threads that go on spinning after a run take the processor from the other session.
    let mut builder = builder.with_config_entry("session.force_spinning_stop", "1")?;
    match subject.path {
        Some(path) => builder.commit_from_file(path),
        None => builder.commit_from_memory(subject.bytes),
    }
}

fn to_value(samples: &Samples, sample: usize, data_type: TensorElementType) -> Result<DynValue> {
    let elements = &*samples.sample(sample)?;
    let shape = samples.shape.clone();
    let value = match data_type {
        TensorElementType::Float32 => Tensor::from_array((shape, elements.to_vec())).map(Tensor::into_dyn),
        TensorElementType::Float64 => Tensor::from_array((shape, cast::<f64>(elements))).map(Tensor::into_dyn),
        TensorElementType::Float16 => Tensor::from_array((shape, cast::<f16>(elements))).map(Tensor::into_dyn),
        TensorElementType::Uint8 => Tensor::from_array((shape, cast::<u8>(elements))).map(Tensor::into_dyn),
        TensorElementType::Int8 => Tensor::from_array((shape, cast::<i8>(elements))).map(Tensor::into_dyn),
        TensorElementType::Int32 => Tensor::from_array((shape, cast::<i32>(elements))).map(Tensor::into_dyn),
        TensorElementType::Int64 => Tensor::from_array((shape, cast::<i64>(elements))).map(Tensor::into_dyn),
        TensorElementType::Bool => Tensor::from_array((shape, cast::<bool>(elements))).map(Tensor::into_dyn),
        other => return Err(refuse(format!("input `{}` has elements of type {other}, which is not supported", samples.name))),
    };
    value.map_err(|error| refuse(error.to_string()))
}

fn cast<T: Element>(elements: &[f32]) -> Vec<T> {
    elements.iter().map(|x| T::from_f64(f64::from(*x))).collect()
}

fn to_output(value: &DynValue) -> Result<Output> {
    let Some(data_type) = value.dtype().tensor_type() else {
        return Err(refuse("an output is no tensor".into()));
    };
    match data_type {
        TensorElementType::Float32 => extract::<f32>(value),
        TensorElementType::Float64 => extract::<f64>(value),
        TensorElementType::Float16 => extract::<f16>(value),
        TensorElementType::Uint8 => extract::<u8>(value),
        TensorElementType::Int8 => extract::<i8>(value),
        TensorElementType::Int32 => extract::<i32>(value),
        TensorElementType::Int64 => extract::<i64>(value),
        TensorElementType::Bool => extract::<bool>(value),
        other => Err(refuse(format!("an output has elements of type {other}, which is not supported"))),
    }
}

fn extract<T: Element + ort::value::PrimitiveTensorElementType>(value: &DynValue) -> Result<Output> {
    let (shape, elements) = value.try_extract_tensor::<T>().map_err(|error| refuse(error.to_string()))?;
    let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
    Ok(Output { shape, elements: elements.iter().map(|x| x.to_f64() as f32).collect() })
}
