//! What a file says of how it was made.

use super::{Config, Tuning};
use crate::calibration::{Provenance, RangeSource, observers};
use crate::distillation::{BiasCorrection, Losses, Rounding};
use crate::onnx::Model;

/// Provenance in the file: how to make it again. No times, paths or thread counts.
pub(super) fn describe(quantized: &mut Model, original: &Model, source: &Provenance, config: &Config, more: &[(&str, String)]) {
    let mut entries = vec![
        ("zeroq.version", env!("CARGO_PKG_VERSION").to_string()),
        ("zeroq.input_sha256", original.sha256.clone()),
        ("zeroq.seed", config.seed.to_string()),
        ("zeroq.calibration", source.source.clone()),
        ("zeroq.isa", config.execution.isa.name().to_string()),
    ];
    entries.extend(config.images.map(|images| ("zeroq.images", images.to_string())));
    if let Some(steps) = source.steps {
        entries.push(("zeroq.synthesis_steps", steps.to_string()));
    }
    if let Some(recipe) = &source.recipe {
        entries.push(("zeroq.recipe", recipe.clone()));
    }
    entries.extend(source.statistics_sha256.iter().map(|sha256| ("zeroq.statistics_sha256", sha256.clone())));
    for (key, value) in entries.iter().chain(more) {
        quantized.set_metadata(key, value);
    }
}

/// What was chosen otherwise than usual, and changes what is written.
pub(super) fn choices(config: &Config) -> Vec<(&'static str, String)> {
    let Config { observer, ranges, exclude, equalize, corrections, tuning, .. } = config;
    let Tuning { reconstruct_steps, mixup, losses, .. } = tuning;
    let usual = observers::all()[0].name();
    let said = [
        observer.clone().filter(|name| name != usual).map(|name| ("zeroq.observer", name)),
        (*ranges != RangeSource::Images).then(|| ("zeroq.ranges", ranges.name().to_string())),
        (!exclude.is_empty()).then(|| ("zeroq.exclude", exclude.join(", "))),
        (!equalize).then(|| ("zeroq.equalize", "false".to_string())),
        corrections.absorb_bias.then(|| ("zeroq.absorb_bias", "true".to_string())),
        (corrections.rounding != Rounding::Squant).then(|| ("zeroq.rounding", corrections.rounding.name().to_string())),
        (corrections.bias != BiasCorrection::None).then(|| ("zeroq.bias_correction", corrections.bias.name().to_string())),
        reconstruct_steps.map(|steps| ("zeroq.reconstruct_steps", steps.to_string())),
        (*mixup > 0.0).then(|| ("zeroq.mixup", mixup.to_string())),
        (losses.outputs != Losses::USUAL.outputs).then(|| ("zeroq.output_loss", losses.outputs.name().to_string())),
        (losses.layers != Losses::USUAL.layers).then(|| ("zeroq.layer_loss", losses.layers.name().to_string())),
    ];
    said.into_iter().flatten().collect()
}
