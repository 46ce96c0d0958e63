//! The levels that float weights in front of their pairs will become.

use rayon::prelude::*;

use super::insert::{Student, TunedWeight};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};
use crate::ops::QuantizeLinear;
use crate::quantization::{Channels, squant};
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
        let (tensor, scales) = self.numbers(graph)?;
        let shape = tensor.shape().to_vec();
        let channel = self.channel_of(&shape, scales.len());
        let elements = tensor.as_f32().unwrap_or_default();
        Ok((elements.iter().enumerate().map(|(index, w)| w / scales[channel(index)]).collect(), shape))
    }

    /// The weight and its scales.
    fn numbers<'a>(&self, graph: &'a Graph) -> Result<(&'a TensorData, Vec<f32>)> {
        let scales = graph.constant(self.scale).and_then(TensorData::to_f32).filter(|scales| !scales.is_empty());
        let tensor = graph.constant(self.value).filter(|tensor| !tensor.is_empty());
        tensor.zip(scales).ok_or_else(|| Error::tensor(&graph.value(self.value).name, "has no numbers"))
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
        let moved = |(index, (found, level)): (usize, (&f32, &f32))| toward(*found, *level) * scales[channel(index)];
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

/// As near to `found` as it may stand to round to `level`.
fn toward(found: f32, level: f32) -> f32 {
    found.clamp(level - WITHIN, level + WITHIN)
}

/// Makes every weight round to a level of its quantizer, the weights of each output together, so that their errors cancel in what
/// they compute. See [`squant::round_output`].
///
/// # Errors
/// If a weight has no quantizer.
pub fn balance_weights(graph: &mut Graph, student: &Student) -> Result<()> {
    for weight in &student.weights {
        let range = weight.range(graph)?;
        let (tensor, scales) = weight.numbers(graph)?;
        let shape = tensor.shape().to_vec();
        let channels = Channels::of(&shape, weight.axis);
        let kernel: usize = shape.iter().skip(2).product();
        let elements = tensor.as_f32().unwrap_or_default();
        let row = |channel: usize| {
            let scale = scales[channel % scales.len()];
            let found: Vec<f32> = channels.row(&elements, channel).into_iter().map(|w| w / scale).collect();
            let levels = squant::round_output(&found, kernel, range);
            found.iter().zip(&levels).map(|(found, level)| toward(*found, *level) * scale).collect::<Vec<f32>>()
        };
        let rows: Vec<Vec<f32>> = (0..channels.count).into_par_iter().map(row).collect();
        drop(elements);
        graph.set_constant(weight.value, TensorData::new(&shape, channels.join(&rows)));
    }
    Ok(())
}
