use std::collections::BTreeMap;

use super::{fold_constants, infer_shapes};
use crate::error::{Error, Result};
use crate::graph::{Dim, Graph};

/// Gives graph inputs the shapes that the user names. The others keep theirs.
///
/// # Errors
/// If a name or rank does not fit, or contradicts a size in the file.
pub fn bind_shapes(graph: &mut Graph, shapes: &BTreeMap<String, Vec<usize>>) -> Result<()> {
    for (name, shape) in shapes {
        let Some(input) = graph.inputs.iter().copied().find(|input| graph.value(*input).name == *name) else {
            let names: Vec<&str> = graph.inputs.iter().map(|input| graph.value(*input).name.as_str()).collect();
            return Err(Error::Usage(format!("--shape {name}: the model has no such input; it has `{}`", names.join("`, `"))));
        };
        let value = graph.value(input);
        let (data_type, known) = (value.data_type, value.shape.clone().unwrap_or_else(|| vec![Dim::Unknown; shape.len()]));
        let fits =
            known.len() == shape.len() && known.iter().zip(shape).all(|(dim, size)| *size > 0 && dim.known().is_none_or(|n| n == *size));
        if !fits {
            let shown: Vec<String> = known.iter().map(Dim::to_string).collect();
            return Err(Error::Usage(format!("--shape {name}={shape:?} does not fit the model's [{}]", shown.join(", "))));
        }
        // A batch of 1 is how samples run anyway; the file keeps its own batch dimension.
        let dims = known.iter().zip(shape).enumerate().map(|(i, (dim, size))| match dim {
            dim if i == 0 && dim.known().is_none() => dim.clone(),
            _ => Dim::Known(*size),
        });
        graph.set_facts(input, data_type, Some(dims.collect()));
    }
    Ok(())
}

/// A copy in which one sample flows: unknown batch dimensions are 1. Values keep their ids.
///
/// # Errors
/// If another size of an input is not known.
pub fn single_sample(graph: &Graph) -> Result<Graph> {
    let mut sample = graph.clone();
    for input in &graph.inputs {
        let value = graph.value(*input);
        let Some(shape) = &value.shape else {
            return Err(Error::Usage(format!("input `{}` has no shape: pass --shape {}=1x3x224x224", value.name, value.name)));
        };
        if let Some(dim) = shape.iter().skip(1).position(|dim| dim.known().is_none()) {
            let shown: Vec<String> = shape.iter().map(Dim::to_string).collect();
            let example: Vec<String> =
                shape.iter().enumerate().map(|(i, dim)| dim.known().unwrap_or(if i == 0 { 1 } else { 224 }).to_string()).collect();
            return Err(Error::Usage(format!(
                "input `{}` [{}]: size of dimension {} is not known: pass --shape {}={}",
                value.name,
                shown.join(", "),
                dim + 1,
                value.name,
                example.join("x")
            )));
        }
        let known = shape.iter().map(|dim| Dim::Known(dim.known().unwrap_or(1)));
        sample.set_facts(*input, value.data_type, Some(known.collect()));
    }
    fold_constants(&mut sample)?;
    infer_shapes(&mut sample)?;
    Ok(sample)
}
