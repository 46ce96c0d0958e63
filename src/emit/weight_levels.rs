//! The levels that float weights in front of their pairs will become.

use rayon::prelude::*;

use super::insert::{Student, TunedWeight};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::QuantizeLinear;
use crate::quantization::squant;
use crate::tensor::{DataType, TensorData};

/// How far from its level, in steps, a weight may lie that must round to it, whatever float32 makes of it.
const WITHIN: f32 = 0.45;

impl TunedWeight {
    /// The QuantizeLinear among the `readers` of the weight, and what it makes of it.
    ///
    /// # Errors
    /// If there is none.
    pub fn quantizer(&self, graph: &Graph, readers: &[(NodeId, usize)]) -> Result<(NodeId, DataType)> {
        let quantizer = readers.iter().find(|(id, _)| graph.node(*id).is::<QuantizeLinear>().is_some());
        let data_type = |id: &NodeId| graph.value(graph.node(*id).input(2)?).data_type;
        let found = quantizer.and_then(|(id, _)| Some((*id, data_type(id)?)));
        found.ok_or_else(|| Error::tensor(&graph.value(self.value).name, "has no quantizer"))
    }

    /// w / s, and the shape of w.
    ///
    /// # Errors
    /// If weight or scale is not constant.
    pub fn levels(&self, graph: &Graph) -> Result<(Vec<f32>, Vec<usize>)> {
        let numbers = |value: ValueId| graph.constant(value).and_then(TensorData::to_f32).unwrap_or_default();
        let (elements, scales) = (numbers(self.value), numbers(self.scale));
        let shape = graph.constant(self.value).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
        if elements.is_empty() || scales.is_empty() {
            return Err(Error::tensor(&graph.value(self.value).name, "has no numbers"));
        }
        let channel = self.channel_of(&shape, scales.len());
        Ok((elements.iter().enumerate().map(|(index, w)| w / scales[channel(index)]).collect(), shape))
    }

    /// What readers of the pair get, and its shape.
    ///
    /// # Errors
    /// As [`TunedWeight::quantizer`] and [`TunedWeight::levels`].
    pub fn dequantized(&self, graph: &Graph) -> Result<(Vec<f32>, Vec<usize>)> {
        let (low, high) = self.range(graph)?;
        let (levels, shape) = self.levels(graph)?;
        let scales = graph.constant(self.scale).and_then(TensorData::to_f32).unwrap_or_default();
        let channel = self.channel_of(&shape, scales.len());
        let nearest = |(index, level): (usize, &f32)| level.round_ties_even().clamp(low as f32, high as f32) * scales[channel(index)];
        Ok((levels.iter().enumerate().map(nearest).collect(), shape))
    }

    fn range(&self, graph: &Graph) -> Result<(f64, f64)> {
        let (_, data_type) = self.quantizer(graph, graph.readers(self.value))?;
        data_type.integer_range().ok_or_else(|| Error::Internal("a weight is not an integer".into()))
    }

    /// Makes the weight round to `levels`: where it does not yet, it moves as far as 0.45 steps of its level, so that tuning
    /// can still take it back.
    ///
    /// # Errors
    /// As [`TunedWeight::levels`].
    pub fn set_levels(&self, graph: &mut Graph, levels: &[f32]) -> Result<()> {
        let (found, shape) = self.levels(graph)?;
        let scales = graph.constant(self.scale).and_then(TensorData::to_f32).unwrap_or_default();
        let channel = self.channel_of(&shape, scales.len());
        let moved = |(index, (found, level)): (usize, (&f32, &f32))| found.clamp(level - WITHIN, level + WITHIN) * scales[channel(index)];
        let elements = found.iter().zip(levels).enumerate().map(moved).collect();
        graph.set_constant(self.value, TensorData::new(&shape, elements));
        Ok(())
    }

    /// Which of `scales` scales an element of the weight has.
    pub fn channel_of(&self, shape: &[usize], scales: usize) -> impl Fn(usize) -> usize + use<> {
        let inner: usize = self.axis.map_or(usize::MAX, |axis| shape[axis + 1..].iter().product());
        move |index| index / inner.max(1) % scales.max(1)
    }
}

/// Makes every weight round to a level of its quantizer, the weights of each output together, so that their errors cancel in what
/// they compute. See [`squant::round_output`].
///
/// # Errors
/// If a weight has no quantizer.
pub fn balance_weights(graph: &mut Graph, student: &Student) -> Result<()> {
    for weight in &student.weights {
        let range = weight.range(graph)?;
        let (mut levels, shape) = weight.levels(graph)?;
        let outputs = weight.axis.map_or(1, |axis| shape[axis]);
        let channel = weight.channel_of(&shape, outputs);
        let mut places: Vec<Vec<usize>> = vec![Vec::with_capacity(levels.len() / outputs.max(1)); outputs];
        (0..levels.len()).for_each(|index| places[channel(index)].push(index));
        let kernel: usize = shape.iter().skip(2).product();
        let row = |places: &Vec<usize>| {
            let row: Vec<f32> = places.iter().map(|index| levels[*index]).collect();
            squant::round_output(&row, kernel, range)
        };
        let rows: Vec<Vec<f32>> = places.par_iter().map(row).collect();
        for (places, row) in places.iter().zip(rows) {
            places.iter().zip(row).for_each(|(index, level)| levels[*index] = level);
        }
        weight.set_levels(graph, &levels)?;
    }
    Ok(())
}
