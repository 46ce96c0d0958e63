//! Weights that become float16 are rounded together, so that their errors cancel in what they compute.

use std::collections::HashMap;

use half::f16;
use rayon::prelude::*;

use crate::calibration::SecondMoments;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Gemm;
use crate::quantization::rounding::round_row;
use crate::tensor::TensorData;

/// Rounds weights and biases of the products that `moments` knows to numbers that float16 holds exactly; they stay float32
/// tensors. Weights with other readers are left alone. Returns how many products were rounded.
pub fn round_to_float16(graph: &mut Graph, moments: &HashMap<NodeId, SecondMoments>) -> usize {
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).filter(|id| moments.contains_key(id)).collect();
    let consumers = graph.consumers();
    let rounded: Vec<(NodeId, Product)> = nodes
        .into_par_iter()
        .filter_map(|id| {
            let mut product = Product::of(graph, id, &consumers)?;
            product.round(&moments[&id])?;
            Some((id, product))
        })
        .collect();
    for (_, product) in &rounded {
        graph.set_constant(product.weight.0, product.weight.1.clone());
        if let Some((bias, tensor)) = &product.bias {
            graph.set_constant(*bias, tensor.clone());
        }
    }
    rounded.len()
}

struct Product {
    weight: (ValueId, TensorData),
    bias: Option<(ValueId, TensorData)>,
    /// Weights stand as `[inputs, outputs]`.
    transposed: bool,
}

impl Product {
    fn of(graph: &Graph, id: NodeId, consumers: &[Vec<(NodeId, usize)>]) -> Option<Product> {
        let node = graph.node(id);
        let own = |index: usize| {
            let value = node.input(index)?;
            let tensor = graph.constant(value).filter(|tensor| matches!(tensor, TensorData::F32(_)))?;
            (consumers[value.0 as usize].len() == 1).then(|| (value, tensor.clone()))
        };
        let weight = own(1)?;
        let transposed = node.is::<Gemm>().is_some_and(|gemm| !gemm.transpose_b);
        let outputs = weight.1.shape()[usize::from(transposed)];
        let bias = own(2).filter(|(_, tensor)| tensor.shape() == [outputs]);
        (bias.is_some() || node.input(2).is_none()).then_some(Product { weight, bias, transposed })
    }

    fn round(&mut self, moments: &SecondMoments) -> Option<()> {
        let (shape, mut weights) = (self.weight.1.shape().to_vec(), self.weight.1.to_f32()?);
        let outputs = shape[usize::from(self.transposed)];
        let inputs = weights.len() / outputs.max(1);
        let mut biases = self.bias.as_ref().and_then(|(_, tensor)| tensor.to_f32());
        let at = |output: usize, input: usize| if self.transposed { input * outputs + output } else { output * inputs + input };
        let largest = f64::from(f16::MAX);
        let row = |output: usize| {
            let group = &moments.groups[output * moments.groups.len() / outputs];
            let mut row: Vec<f64> = (0..inputs).map(|input| f64::from(weights[at(output, input)])).collect();
            row.extend(biases.iter().map(|biases| f64::from(biases[output])));
            let trimmed = leading_square(group, moments.size, row.len())?;
            Some(round_row(&row, &trimmed, |x| f16::from_f64(x.clamp(-largest, largest)).to_f64(), float16_step))
        };
        let rows: Option<Vec<Vec<f64>>> = (0..outputs).into_par_iter().map(row).collect();
        for (output, row) in rows?.into_iter().enumerate() {
            for (input, x) in row[..inputs].iter().enumerate() {
                weights[at(output, input)] = *x as f32;
            }
            if let (Some(biases), Some(x)) = (&mut biases, row.get(inputs)) {
                biases[output] = *x as f32;
            }
        }
        self.weight.1 = TensorData::new(&shape, weights);
        if let (Some((_, tensor)), Some(biases)) = (&mut self.bias, biases) {
            *tensor = TensorData::vector(biases);
        }
        Some(())
    }
}

/// The first `wanted` rows and columns: all of them, or all but the bias's.
fn leading_square(gram: &[f64], size: usize, wanted: usize) -> Option<std::borrow::Cow<'_, [f64]>> {
    match size - wanted.min(size) {
        0 if wanted == size => Some(gram.into()),
        1 => Some(gram.chunks(size).take(wanted).flat_map(|row| &row[..wanted]).copied().collect::<Vec<_>>().into()),
        _ => None,
    }
}

/// Distance of neighbouring float16 numbers near `x`.
fn float16_step(x: f64) -> f64 {
    let exponent = x.abs().max(f64::from(f16::MIN_POSITIVE)).log2().floor();
    (exponent - 10.0).exp2()
}
