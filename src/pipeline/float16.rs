//! The story of float16: load → simplify → synthesize → prepare → round → convert.

use super::prepared::simplify_and_say;
use super::provenance::describe;
use super::samples::{assess_or_note, check_runs, hold_out, samples};
use super::{Budget, Config, Quantized};
use crate::calibration::{CalibrationSet, magnitudes};
use crate::emit::{round_to_float16, to_float16};
use crate::error::Result;
use crate::onnx::Model;
use crate::passes::{prepare, single_sample};
use crate::progress::Progress;
use crate::synthesis::input::Input;
use crate::synthesis::{ASSUMED, DEAD_LEAVES, GAUSSIAN};

/// Samples that float16 takes: magnitudes and second moments need fewer than tuning does.
const FLOAT16_IMAGES: usize = 48;
/// Weights of one output that are rounded together, at most: more of them average their errors out by themselves.
const FLOAT16_LARGEST_ROW: usize = 1024;

/// Converts `model` to float16, its weights rounded together on `given` samples or on synthesized ones. Inputs and outputs
/// stay float32 if `keep_io`. The operator set stays.
///
/// # Errors
/// If the model is not sound.
pub fn convert_to_float16(
    model: &Model,
    given: Option<CalibrationSet>,
    keep_io: bool,
    config: &Config,
    progress: &dyn Progress,
) -> Result<Quantized> {
    let mut graph = model.graph.clone();
    simplify_and_say(&mut graph, progress)?;
    let budget = Budget { images: FLOAT16_IMAGES, ..Budget::of(&single_sample(&graph)?) };
    let (set, inputs) = samples(&graph, given, &budget, model, config, progress)?;
    check_runs(&graph, &set, config)?;
    let assessment = assess_or_note(&graph, &set, config, progress);
    let (seen, held_out) = hold_out(&set);
    prepare(&mut graph)?;
    let largest = magnitudes(&graph, &seen, &config.execution, progress)?;
    if tells_of_real_data(&set, &inputs) {
        round_to_float16(&mut graph, &seen, FLOAT16_LARGEST_ROW, &config.execution, progress)?;
    } else {
        progress.note("weights are rounded one by one: procedural samples say nothing of an input that is not a picture");
    }
    graph.restore_made()?;
    let report = to_float16(&mut graph, keep_io, &largest)?;
    if report.clamped > 0 {
        progress.warn(&format!("{} weights beyond ±65504 were clamped", report.clamped));
    }
    for (node, reason) in &report.kept {
        progress.warn(&format!("node `{node}` stays float32: {reason}"));
    }
    let mut converted = model.with_graph(graph);
    describe(&mut converted, model, &set.provenance, config, &[("zeroq.precision", "fp16".to_string())]);
    Ok(Quantized {
        model: converted,
        kernels: Vec::new(),
        trials: Vec::new(),
        distillation: None,
        samples: set,
        held_out,
        inputs,
        assessment,
        check: None,
        mixed: None,
        profile: None,
        ranges: Vec::new(),
    })
}

/// Whether what is seen on `set` goes for real data: samples that were given or matched do, procedural ones for pictures.
fn tells_of_real_data(set: &CalibrationSet, inputs: &[Input]) -> bool {
    match set.provenance.source.as_str() {
        DEAD_LEAVES | ASSUMED => inputs.iter().all(|input| input.image_channels() == Some(3)),
        source => source != GAUSSIAN,
    }
}
