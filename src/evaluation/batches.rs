//! Files that take several samples at once, fed with samples one by one.

use ndarray::{ArrayD, IxDyn};

use super::engine::Engine;
use crate::calibration::{CalibrationSet, Elements, Samples};
use crate::error::{Error, Result};
use crate::graph::Graph;

/// How samples are joined for a file that takes `size` of them at once.
pub(super) struct Batches {
    size: usize,
    /// Along which dimension, for each input; `None` for one that has no batch.
    axes: Vec<Option<usize>>,
}

impl Batches {
    /// `None` where the file takes single samples.
    ///
    /// # Errors
    /// If inputs take other numbers of samples.
    pub fn of(engine: &impl Engine, set: &CalibrationSet) -> Result<Option<Self>> {
        let (mut size, mut axes) = (None, Vec::new());
        for samples in &set.inputs {
            let found = engine.sizes_of(&samples.name).and_then(|declared| joined(&samples.shape, &declared));
            axes.push(found.map(|(axis, _)| axis));
            let Some((_, count)) = found else { continue };
            if size.is_some_and(|size| size != count) {
                let reason = format!("input `{}` takes {count} samples at once, another input does not", samples.name);
                return Err(Error::Engine { engine: engine.name().to_string(), reason });
            }
            size = Some(count);
        }
        Ok(size.map(|size| Batches { size, axes }))
    }

    /// Groups of samples; the last one is repeated where it is needed.
    ///
    /// # Errors
    /// If samples cannot be read, or groups not be stored.
    pub fn join(&self, set: &CalibrationSet) -> Result<CalibrationSet> {
        let groups = set.len().div_ceil(self.size);
        let mut inputs = Vec::new();
        for (samples, axis) in set.inputs.iter().zip(&self.axes) {
            let mut shape = samples.shape.clone();
            if let Some(axis) = axis {
                shape[*axis] *= self.size;
            }
            let mut elements = Elements::zeros(shape.iter().product(), groups)?;
            for group in 0..groups {
                elements.write(group, &self.group(samples, *axis, group)?)?;
            }
            inputs.push(Samples { name: samples.name.clone(), shape, elements });
        }
        Ok(CalibrationSet { inputs, provenance: set.provenance.clone() })
    }

    fn group(&self, samples: &Samples, axis: Option<usize>, group: usize) -> Result<Vec<f32>> {
        let (first, last) = (group * self.size, samples.elements.len().saturating_sub(1));
        let Some(axis) = axis else { return Ok(samples.sample(first.min(last))?.into_owned()) };
        let parts = (first..first + self.size).map(|index| samples.sample(index.min(last))).collect::<Result<Vec<_>>>()?;
        let row = samples.shape[axis..].iter().product::<usize>().max(1);
        let rows = (0..samples.sample_len() / row).flat_map(|at| parts.iter().map(move |part| &part[at * row..(at + 1) * row]));
        Ok(rows.flatten().copied().collect())
    }

    /// Outputs of groups as those of `count` samples; `None` for one that has no part for each sample.
    ///
    /// # Errors
    /// If an output has other sizes than it should.
    pub fn part(&self, outputs: Vec<Option<ArrayD<f32>>>, graph: &Graph, count: usize) -> Result<Vec<Option<ArrayD<f32>>>> {
        let one = |(output, value): (Option<ArrayD<f32>>, &crate::graph::ValueId)| {
            let open = graph.value(*value).shape.as_ref().and_then(|shape| shape.iter().position(|dim| dim.known().is_none()));
            output.and_then(|output| self.cut(&output, open.unwrap_or(0), count).transpose()).transpose()
        };
        outputs.into_iter().zip(&graph.outputs).map(one).collect()
    }

    fn cut(&self, output: &ArrayD<f32>, axis: usize, count: usize) -> Result<Option<ArrayD<f32>>> {
        let sizes = &output.shape()[1..];
        if sizes.get(axis).is_none_or(|size| size % self.size != 0) {
            return Ok(None);
        }
        let fail = |error: ndarray::ShapeError| Error::Internal(error.to_string());
        let mut one = sizes.to_vec();
        one[axis] /= self.size;
        // The place of a sample in its group becomes a dimension of its own, and goes to the front.
        let apart = [&output.shape()[..=axis], &[self.size], &one[axis..]].concat();
        let mut order: Vec<usize> = (0..apart.len()).collect();
        let place = order.remove(axis + 1);
        order.insert(1, place);
        let apart = output.view().into_shape_with_order(IxDyn(&apart)).map_err(fail)?;
        let rows: Vec<f32> = apart.permuted_axes(IxDyn(&order)).iter().take(count * one.iter().product::<usize>()).copied().collect();
        ArrayD::from_shape_vec(IxDyn(&[&[count], one.as_slice()].concat()), rows).map(Some).map_err(fail)
    }
}

/// Along which dimension how many samples of `shape` make `declared`; `None` where one does.
pub(super) fn joined(shape: &[usize], declared: &[Option<usize>]) -> Option<(usize, usize)> {
    let differ = |(axis, (own, declared)): (usize, (&usize, &Option<usize>))| {
        declared.filter(|declared| declared > own && *own > 0 && declared % own == 0).map(|declared| (axis, declared / own))
    };
    (shape.len() == declared.len()).then(|| shape.iter().zip(declared).enumerate().find_map(differ))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Provenance;
    use crate::graph::sketch::Sketch;

    #[test]
    fn samples_are_joined_and_outputs_parted_along_their_dimension() {
        for (axis, shape) in [(0, vec![1, 2]), (1, vec![2, 1])] {
            let samples = Samples::new("x", shape.clone(), (0..10).map(|i| i as f32).collect()).unwrap();
            let set = CalibrationSet { inputs: vec![samples], provenance: Provenance::default() };
            let batches = Batches { size: 3, axes: vec![Some(axis)] };
            let joined = batches.join(&set).unwrap();
            let groups: Vec<f32> = (0..2).flat_map(|group| joined.inputs[0].sample(group).unwrap().into_owned()).collect();
            if axis == 1 {
                assert_eq!(groups, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 8.0, 7.0, 9.0, 9.0]);
            }
            let output = ArrayD::from_shape_vec(IxDyn(&[&[2], joined.inputs[0].shape.as_slice()].concat()), groups).unwrap();
            let parted = batches.cut(&output, axis, 5).unwrap().unwrap();
            assert_eq!(parted.shape(), [&[5], shape.as_slice()].concat());
            assert!(parted.iter().enumerate().all(|(i, x)| *x == i as f32));
        }
        let graph = Sketch::new(&[0, 2]).plain("y", "Relu", "x").outputs("y");
        let batches = Batches { size: 3, axes: vec![Some(0)] };
        let scalar = ArrayD::zeros(IxDyn(&[2, 1, 2]));
        assert_eq!(batches.part(vec![Some(scalar)], &graph, 5).unwrap(), [None]);
    }

    #[test]
    fn only_a_larger_size_is_a_batch() {
        assert_eq!(joined(&[1, 3, 8, 8], &[Some(10), Some(3), Some(8), Some(8)]), Some((0, 10)));
        assert_eq!(joined(&[1, 3, 8, 8], &[None, Some(3), None, None]), None);
        assert_eq!(joined(&[1, 3], &[Some(1), Some(3)]), None);
    }
}
