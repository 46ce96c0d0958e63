//! What data of the user must be like.

use std::path::Path;

use super::work::range_names;
use crate::calibration::{Bounds, ExpectedInput, Framing, SET_FILE};
use crate::error::Result;
use crate::execution::Config;
use crate::graph::{Graph, ValueId, known_shape};
use crate::onnx::Model;
use crate::passes::{simplify, single_sample};
use crate::progress::{Progress, Silent};
use crate::synthesis;
use crate::synthesis::input_range::InputRange;
use crate::synthesis::method::{Assumption, Method};

/// What data must be like to fill the inputs. The range is searched for only where pictures need it.
///
/// # Errors
/// If the model is not sound, or its range cannot be found.
pub fn expected_inputs(
    model: &Model,
    path: &Path,
    range: &InputRange,
    framing: &Framing,
    execution: Config,
    progress: &dyn Progress,
) -> Result<Vec<ExpectedInput>> {
    let mut graph = model.graph.clone();
    simplify(&mut graph)?;
    let found = match range {
        range if path.is_dir() && !path.join(SET_FILE).exists() && !says_all(range, &graph) => {
            search_bounds(&graph, range, execution, progress)?
        }
        range => graph.inputs.iter().map(|id| Some(range.of(&graph.value(*id).name)?.channels.clone())).collect(),
    };
    let graph = single_sample(&graph)?;
    let expect = |(id, bounds): (&ValueId, Option<Bounds>)| {
        let value = graph.value(*id);
        let shape = value.shape.as_deref().and_then(known_shape).unwrap_or_default();
        ExpectedInput { name: value.name.clone(), shape, bounds, framing: framing.clone() }
    };
    Ok(graph.inputs.iter().zip(found).map(expect).collect())
}

fn says_all(range: &InputRange, graph: &Graph) -> bool {
    graph.inputs.iter().all(|id| range.of(&graph.value(*id).name).is_some())
}

/// What pixels 0 and 255 are to the model, from its first BatchNormalization.
fn search_bounds(graph: &Graph, range: &InputRange, execution: Config, progress: &dyn Progress) -> Result<Vec<Option<Bounds>>> {
    let config = synthesis::Config {
        samples: 2,
        batch: 2,
        steps: 0,
        sufficient: None,
        seed: 0,
        input_range: range.clone(),
        method: Method { assumption: Assumption::None, ..Method::default() },
        execution,
    };
    let found = synthesis::synthesize(graph, &config, &Silent)?;
    let names = range_names(&found.inputs);
    match found.loss {
        Some(_) => progress.note(&format!("pictures are mapped to the input range {names}, found from the first BatchNormalization")),
        None => progress.warn(&format!("pictures are mapped to the input range {names}, an assumption; --input-range sets another")),
    }
    Ok(found.inputs.into_iter().map(|input| Some(input.range.channels)).collect())
}
