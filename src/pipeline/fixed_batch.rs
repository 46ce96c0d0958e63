//! Files that take several samples at once, worked on one sample at a time.

use ndarray::{ArrayD, Axis};

use crate::calibration::{CalibrationSet, Provenance, Samples};
use crate::distillation::ends;
use crate::error::{Error, Result};
use crate::execution::{Config, evaluate};
use crate::graph::{Graph, ValueId, known_shape};
use crate::passes::{fixed_batch, open_batch as opened, simplify, single_sample, with_batch};
use crate::progress::Progress;
use crate::random::Random;
use crate::tensor::DataType;

/// Largest difference between a sample by itself and in a batch, as a part of the greatest number: kernels may add in other order.
const TOLERANCE: f32 = 1e-3;

/// Opens the batch of a graph that was written for several samples at once, if each is worked on by itself; returns how many they
/// are. Says why it stays closed.
///
/// # Errors
/// If the graph is not sound, or the work should stop.
pub fn open_batch(graph: &mut Graph, config: &Config, progress: &dyn Progress) -> Result<Option<usize>> {
    if fixed_batch(graph).is_none() {
        return Ok(None);
    }
    let mut known = graph.clone();
    simplify(&mut known)?;
    let Some(size) = fixed_batch(&known) else { return Ok(None) };
    let first = graph.inputs.first().map(|input| graph.value(*input).name.clone()).unwrap_or_default();
    match sample_by_sample(&known, size, config)? {
        Ok(opened) => {
            *graph = opened;
            Ok(Some(size))
        }
        Err(reason) => {
            progress.note(&format!("input `{first}` is taken for one sample, whose first size is {size}: {reason}"));
            Ok(None)
        }
    }
}

/// The graph with an open batch, or why there is none.
///
/// # Errors
/// If the work should stop.
fn sample_by_sample(known: &Graph, size: usize, config: &Config) -> Result<Result<Graph, String>> {
    let graph = match opened(known, size) {
        Ok(graph) => graph,
        Err(reason) => return Ok(Err(reason)),
    };
    match check(&graph, config) {
        Ok(None) => Ok(Ok(graph)),
        Ok(Some(reason)) => Ok(Err(reason)),
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// Runs samples together and one by one: what makes a difference.
///
/// # Errors
/// If they do not run.
fn check(graph: &Graph, config: &Config) -> Result<Option<String>> {
    const TOGETHER: usize = 2;
    let mut values: Vec<ValueId> = ends(graph, graph).into_iter().map(|(value, _)| value).collect();
    if values.is_empty() {
        values.clone_from(&graph.outputs);
    }
    let (single, joint) = (single_sample(graph)?, with_batch(graph, TOGETHER)?);
    let (alone, together) = probes(&single, &joint, TOGETHER)?;
    let (alone, together) = (evaluate(&single, &values, &alone, config)?, evaluate(&joint, &values, &together, config)?);
    for (value, (alone, together)) in values.iter().zip(alone.iter().zip(&together)) {
        if !is_the_same(alone, &together.index_axis(Axis(0), 0).to_owned()) {
            return Ok(Some(format!("`{}` is another one for a sample alone than beside others", graph.value(*value).name)));
        }
    }
    Ok(None)
}

/// The same noise for graphs of one sample and of several.
fn probes(single: &Graph, joint: &Graph, count: usize) -> Result<(CalibrationSet, CalibrationSet)> {
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let mut random = Random::new(0, 0);
    for input in &single.inputs {
        let shape = |graph: &Graph| graph.value(*input).shape.as_deref().and_then(known_shape).unwrap_or_default();
        let (name, one, many) = (&single.value(*input).name, shape(single), shape(joint));
        let len = one.iter().product::<usize>();
        let is_float = single.value(*input).data_type.is_some_and(DataType::is_float);
        let has_batch = one != many;
        let mut draw = || (0..len).map(|_| if is_float { random.normal() } else { 0.0 }).collect::<Vec<f32>>();
        let first = draw();
        let samples: Vec<Vec<f32>> = (0..count).map(|index| if has_batch && index > 0 { draw() } else { first.clone() }).collect();
        let axis = (0..one.len()).find(|axis| one[*axis] != many[*axis]);
        let joined = match axis {
            Some(axis) => interleave(&samples, one[axis..].iter().product()),
            None => first,
        };
        alone.push(Samples::new(name, one, samples.concat())?);
        together.push(Samples::new(name, many, joined)?);
    }
    let set = |inputs| CalibrationSet { inputs, provenance: Provenance::default() };
    Ok((set(alone), set(together)))
}

/// Rows of `row` elements, of each sample in turn.
fn interleave(samples: &[Vec<f32>], row: usize) -> Vec<f32> {
    let len = samples.first().map_or(0, Vec::len);
    let rows = (0..len / row.max(1)).flat_map(|at| samples.iter().map(move |sample| &sample[at * row..(at + 1) * row]));
    rows.flatten().copied().collect()
}

/// Whether `together`, of all samples, has a part for each of `alone`, whose first axis are samples; or is what each of them gives.
fn is_the_same(alone: &ArrayD<f32>, together: &ArrayD<f32>) -> bool {
    let (samples, one) = (alone.shape()[0], &alone.shape()[1..]);
    if one.len() != together.ndim() {
        return false;
    }
    let differ: Vec<usize> = (0..one.len()).filter(|axis| one[*axis] != together.shape()[*axis]).collect();
    match differ[..] {
        [] => alone.outer_iter().all(|sample| near(sample.iter(), together.iter())),
        [axis] if together.shape()[axis] == samples * one[axis] => alone.outer_iter().enumerate().all(|(index, sample)| {
            let part = together.slice_axis(Axis(axis), (index * one[axis]..(index + 1) * one[axis]).into());
            near(sample.iter(), part.iter())
        }),
        _ => false,
    }
}

fn near<'a>(one: impl Iterator<Item = &'a f32> + Clone, other: impl Iterator<Item = &'a f32>) -> bool {
    let greatest = one.clone().filter(|x| x.is_finite()).fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    one.zip(other).all(|(a, b)| a.to_bits() == b.to_bits() || (a - b).abs() <= TOLERANCE * greatest || a.is_nan() && b.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::passes::{fixed_batch, sample_shape};
    use crate::progress::Silent;
    use crate::tensor::TensorData;

    fn open(mut graph: Graph) -> (Option<usize>, Graph) {
        let size = open_batch(&mut graph, &Config::default(), &Silent).unwrap();
        (size, graph)
    }

    fn flat(sketch: Sketch, outputs: &str) -> (Option<usize>, Graph) {
        open(sketch.outputs(outputs))
    }

    #[test]
    fn sizes_and_constants_that_hold_the_batch_follow_it() {
        let part: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let sketch = Sketch::new(&[10, 3, 4, 4]).conv("c", "x", (3, 8), 3, 2).integers("s", &[10, 8, 4]);
        let sketch = sketch.plain("r", "Reshape", "c s").constant("k", TensorData::new(&[10, 8, 1], part.repeat(10)));
        let sketch = sketch.node("j", "Concat", "r k", crate::ops::Attributes::default().int("axis", 2)).plain("a", "Add", "j k");
        let sketch = sketch.integers("f", &[10, 40]).plain("y", "Reshape", "a f");
        let before = sketch.outputs("y");
        let (size, graph) = open(before.clone());
        assert_eq!((size, fixed_batch(&graph)), (Some(10), None));
        let input = graph.inputs[0];
        assert_eq!(sample_shape(&graph, input).unwrap(), [1, 3, 4, 4]);
        let again = with_batch(&graph, 10).unwrap();
        crate::graph::sketch::assert_same_function(&before, &again);
    }

    #[test]
    fn a_batch_stays_where_samples_are_mixed_or_none_are_there() {
        let mean = crate::ops::Attributes::default().ints("axes", &[0]);
        let mixed = Sketch::new(&[10, 8]).node("m", "ReduceMean", "x", mean).plain("y", "Sub", "x m");
        assert_eq!(flat(mixed, "y").0, None);
        let other: Vec<f32> = (0..80).map(|i| i as f32).collect();
        let positions = Sketch::new(&[10, 8]).constant("k", TensorData::new(&[10, 8], other)).plain("y", "Add", "x k");
        assert_eq!(flat(positions, "y").0, None);
        let picture = Sketch::new(&[3, 8, 8]).integers("a", &[0]).plain("u", "Unsqueeze", "x a").conv("y", "u", (3, 4), 3, 1);
        assert_eq!(flat(picture, "y").0, None);
        assert_eq!(flat(Sketch::new(&[1, 8]).plain("y", "Relu", "x"), "y").0, None);
    }
}
