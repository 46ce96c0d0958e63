use std::collections::BTreeMap;

use super::{fold_constants, infer_shapes};
use crate::error::{Error, Result};
use crate::graph::{Dim, Graph, ValueId};

/// Gives graph inputs the shapes that the user names. The others keep theirs, but for sizes that have the same name.
///
/// # Errors
/// If a name or rank does not fit, contradicts a size in the file, or one size of a name contradicts another.
pub fn bind_shapes(graph: &mut Graph, shapes: &BTreeMap<String, Vec<usize>>) -> Result<()> {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for (name, shape) in shapes {
        let Some(input) = graph.inputs.iter().copied().find(|input| graph.value(*input).name == *name) else {
            let names: Vec<&str> = graph.inputs.iter().map(|input| graph.value(*input).name.as_str()).collect();
            return Err(Error::Usage(format!("--shape {name}: the model has no such input; it has `{}`", names.join("`, `"))));
        };
        let value = graph.value(input);
        let (data_type, known) = (value.data_type, value.shape.clone().unwrap_or_else(|| vec![Dim::Unknown; shape.len()]));
        let fits = known.len() == shape.len()
            && known.iter().zip(shape).all(|(dim, size)| *size > 0 && dim.known().is_none_or(|n| n == 0 || n == *size));
        if !fits {
            let shown: Vec<String> = known.iter().map(Dim::to_string).collect();
            return Err(Error::Usage(format!("--shape {name}={shape:?} does not fit the model's [{}]", shown.join(", "))));
        }
        for (dim, size) in known.iter().zip(shape).skip(1) {
            if let Dim::Symbol(symbol) = dim
                && let Some(other) = sizes.insert(symbol.clone(), *size).filter(|other| other != size)
            {
                return Err(Error::Usage(format!("--shape {name}={shape:?}: the size `{symbol}` of the model is {other} already")));
            }
        }
        // A batch of 1 is how samples run anyway; the file keeps its own batch dimension.
        let dims = known.iter().zip(shape).enumerate().map(|(i, (dim, size))| match dim {
            dim if i == 0 && dim.known().is_none() => dim.clone(),
            _ => Dim::Known(*size),
        });
        graph.set_facts(input, data_type, Some(dims.collect()));
    }
    for input in graph.inputs.clone() {
        let (data_type, shape) = (graph.value(input).data_type, graph.value(input).shape.clone());
        let bound = |(i, dim): (usize, Dim)| match &dim {
            Dim::Symbol(symbol) if i > 0 => sizes.get(symbol).map_or(dim, |size| Dim::Known(*size)),
            _ => dim,
        };
        graph.set_facts(input, data_type, shape.map(|shape| shape.into_iter().enumerate().map(bound).collect()));
    }
    Ok(())
}

/// Height and width that open image sizes are taken to have while samples run; the file keeps them open.
const ASSUMED: usize = 224;

/// Inputs whose sizes beyond the batch are open, with the sizes that samples will have.
///
/// # Errors
/// If a size is open that is not a height or a width.
pub fn assumed_shapes(graph: &Graph) -> Result<Vec<(String, Vec<usize>)>> {
    let mut assumed = Vec::new();
    for input in &graph.inputs {
        let shape = sample_shape(graph, *input)?;
        let open = graph.value(*input).shape.iter().flatten().skip(1).any(|dim| dim.known().is_none() && !is_batch(graph, dim));
        if open {
            assumed.push((graph.value(*input).name.clone(), shape));
        }
    }
    Ok(assumed)
}

/// Sizes of one sample of `input`: an unknown batch is 1, wherever it stands; open image sizes are as [`assumed_shapes`] says.
///
/// # Errors
/// If another size is not known, or 0.
pub fn sample_shape(graph: &Graph, input: ValueId) -> Result<Vec<usize>> {
    let value = graph.value(input);
    let Some(shape) = &value.shape else {
        return Err(Error::Usage(format!("input `{}` has no shape: pass --shape {}=1x3x224x224", value.name, value.name)));
    };
    if let Some(dim) = shape.iter().position(|size| *size == Dim::Known(0)) {
        let reason =
            format!("size of dimension {dim} is 0, so that no sample holds anything: pass --shape {}=, all sizes joined by x", value.name);
        return Err(Error::Usage(format!("input `{}`: {reason}", value.name)));
    }
    let channels_last = shape.len() == 4 && shape[3].known().is_some_and(|n| n == 1 || n == 3);
    let is_side = |dim: usize| shape.len() == 4 && if channels_last { dim == 1 || dim == 2 } else { dim >= 2 };
    let size = |(dim, size): (usize, &Dim)| match size.known() {
        Some(size) => Ok(size),
        None if dim == 0 || is_batch(graph, size) => Ok(1),
        None if is_side(dim) => Ok(ASSUMED),
        None => {
            let shown: Vec<String> = shape.iter().map(Dim::to_string).collect();
            Err(Error::Usage(format!(
                "input `{}` [{}]: size of dimension {dim} is not known: pass --shape {}=, all sizes joined by x",
                value.name,
                shown.join(", "),
                value.name
            )))
        }
    };
    shape.iter().enumerate().map(size).collect()
}

/// Whether `size` has the name that the first size of an input has.
fn is_batch(graph: &Graph, size: &Dim) -> bool {
    let first = |input: &ValueId| graph.value(*input).shape.as_ref().and_then(|shape| shape.first());
    matches!(size, Dim::Symbol(_)) && graph.inputs.iter().any(|input| first(input) == Some(size))
}

/// A copy in which one sample flows: unknown batch dimensions are 1, open image sizes as [`assumed_shapes`] says. Values
/// keep their ids.
///
/// # Errors
/// If another size of an input is not known.
pub fn single_sample(graph: &Graph) -> Result<Graph> {
    sized(graph, |_, size| Dim::Known(size))
}

/// As [`single_sample`], with the batch as open as it is.
///
/// # Errors
/// As [`single_sample`].
pub fn sized_samples(graph: &Graph) -> Result<Graph> {
    sized(graph, |dim, size| if is_batch(graph, dim) { dim.clone() } else { Dim::Known(size) })
}

/// A copy whose inputs have the dimensions that `choose` makes of those of `graph` and their sizes in one sample.
fn sized(graph: &Graph, choose: impl Fn(&Dim, usize) -> Dim) -> Result<Graph> {
    let mut sample = graph.clone();
    for input in &graph.inputs {
        let (value, sizes) = (graph.value(*input), sample_shape(graph, *input)?);
        let shape = value.shape.iter().flatten().zip(sizes).map(|(dim, size)| choose(dim, size)).collect();
        sample.set_facts(*input, value.data_type, Some(shape));
    }
    fold_constants(&mut sample)?;
    infer_shapes(&mut sample)?;
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DataType;

    #[test]
    fn sizes_of_one_name_are_one_size_and_the_batch_is_one_wherever_it_stands() {
        let mut graph = Graph::default();
        let symbol = |name: &str| Dim::Symbol(name.to_string());
        let shapes = [("x", vec![symbol("batch"), symbol("length")]), ("state", vec![Dim::Known(2), symbol("batch"), symbol("length")])];
        let ids = shapes.map(|(name, shape)| {
            let id = graph.add_value(name, Some(DataType::F32), Some(shape));
            graph.inputs.push(id);
            id
        });
        assert!(sample_shape(&graph, ids[0]).is_err());
        bind_shapes(&mut graph, &[("x".to_string(), vec![1, 9])].into()).unwrap();
        assert_eq!(ids.map(|id| sample_shape(&graph, id).unwrap()), [vec![1, 9], vec![2, 1, 9]]);
    }
}
