//! Whether a network is a detector, and how its boxes are to be read.

use super::decoder::Decoder;
use super::engine::{Stacked, Subject};
use super::reading::Named;
use super::readings::Reading;
use super::task::Task;
use crate::calibration::{CalibrationSet, PictureShape};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::tensor::DataType;

/// Operators that choose among boxes, or parts of their names.
const CHOOSERS: [&str; 4] = ["NonMaxSuppression", "NMS", "DetectionOutput", "TopK"];

/// How boxes are to be read, and why so.
pub(super) struct Choice<'a> {
    pub decoder: Decoder,
    pub reading: Reading,
    pub reason: String,
    pub named: Vec<Named<'a>>,
    /// Height and width of the pictures.
    pub area: (usize, usize),
}

/// How the boxes of `reference` are read: as `asked`, or where `task` lets them, as the outputs say. `None` for what is no detector.
///
/// # Errors
/// If it was asked for and cannot be done.
pub(super) fn choose<'a>(
    reference: &'a Subject<'_>,
    outputs: &[Stacked],
    set: &CalibrationSet,
    task: Task,
    asked: Option<Decoder>,
) -> Result<Option<Choice<'a>>> {
    if !matches!(task, Task::Auto | Task::Detect) || outputs.is_empty() {
        return Ok(None);
    }
    let named = names(reference.graph, outputs);
    let picture = set.inputs.iter().find_map(|input| PictureShape::of(&input.shape));
    let Some(area) = picture.map(|picture| (picture.height, picture.width)) else {
        let reason = "boxes are read from the outputs for one picture, and no input is one";
        return if task == Task::Detect || asked.is_some() { Err(Error::Usage(reason.into())) } else { Ok(None) };
    };
    let guessed = || Reading::guess(&named, chooser(reference.graph).as_deref(), area);
    let Some((decoder, reason)) = asked.map(|decoder| (decoder, "--decode says so".to_string())).or_else(guessed) else {
        let reason = "--task detect: nothing says how boxes are read from the outputs; --decode does";
        return if task == Task::Detect { Err(Error::Usage(reason.into())) } else { Ok(None) };
    };
    let reading = Reading::of(decoder, &named, area).map_err(|reason| Error::Usage(format!("--decode {}: {reason}", decoder.name())))?;
    Ok(Some(Choice { decoder, reading, reason, named, area }))
}

fn names<'a>(graph: &'a Graph, outputs: &[Stacked]) -> Vec<Named<'a>> {
    let one = |(value, output): (&crate::graph::ValueId, &Stacked)| {
        let value = graph.value(*value);
        let is_integer = matches!(value.data_type, Some(DataType::I64 | DataType::I32));
        Named { name: &value.name, shape: output.sample(0).shape().to_vec(), is_integer }
    };
    graph.outputs.iter().zip(outputs).map(one).collect()
}

/// The operator that chooses among boxes, the surest first.
fn chooser(graph: &Graph) -> Option<String> {
    let of = |part: &&str| graph.nodes().map(|(_, node)| node.operator.name()).find(|name| name.contains(*part)).map(str::to_string);
    CHOOSERS.iter().find_map(of)
}
