//! The weights of a product, one output channel after another.

use crate::graph::{Graph, Node};
use crate::ops::{Conv, Gemm, MatMul};
use crate::passes::{channel_of, outputs_of};
use crate::tensor::TensorData;

/// What one output channel is made of.
pub struct Row {
    pub bias: f64,
    /// The first of the input channels that it reads, one after another.
    first: usize,
    /// Weights of each, one for every place of the window.
    weights: Vec<f32>,
    window: usize,
}

impl Row {
    /// Input channels, and the weights of each.
    pub fn terms(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.weights.chunks_exact(self.window).enumerate().map(|(index, taps)| (self.first + index, taps))
    }
}

/// One row for each output channel of a product with constant weights along the channels of `[N, C, ...]`; `None` where `node`
/// is no such product.
pub fn rows(graph: &Graph, node: &Node) -> Option<Vec<Row>> {
    let rank = graph.value(node.input(0)?).shape.as_ref()?.len();
    let gemm = node.is::<Gemm>();
    let along_channels = node.is::<Conv>().is_some() || rank == 2 && (node.is::<MatMul>().is_some() || gemm.is_some());
    if !along_channels || gemm.is_some_and(|gemm| gemm.transpose_a || gemm.alpha != 1.0 || gemm.beta != 1.0) {
        return None;
    }
    let weight = graph.constant(node.input(1)?)?;
    let (shape, elements) = (weight.shape(), weight.as_f32()?);
    let outputs = outputs_of(node, shape)?;
    let biases = node.input(2).map(|bias| graph.constant(bias).and_then(TensorData::to_f32));
    let biases = biases.unwrap_or_else(|| Some(vec![0.0]))?;
    let window = shape[2..].iter().product::<usize>().max(1);
    let rows_first = node.is::<Conv>().is_some() || gemm.is_some_and(|gemm| gemm.transpose_b);
    let (channel, length) = (channel_of(node), shape[1] * window);
    let row = |output: usize| {
        let bias = f64::from(*biases.get(output).or(biases.first())?);
        Some(match rows_first {
            true => Row { bias, first: channel(shape, output * length), weights: elements[output * length..][..length].to_vec(), window },
            false => Row { bias, first: 0, weights: elements.iter().skip(output).step_by(shape[1]).copied().collect(), window },
        })
    };
    (0..outputs).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::tensor::TensorData;

    #[test]
    fn every_product_has_its_rows() {
        let numbers = |shape: &[usize]| TensorData::new(shape, (0..shape.iter().product()).map(|i| i as f32).collect());
        let grouped = Attributes::default().int("group", 2);
        let sketch = Sketch::new(&[1, 4, 5, 5]).constant("cw", numbers(&[2, 2, 1, 2])).constant("b", TensorData::vector(vec![5.0f32, 7.0]));
        let sketch = sketch.node("c", "Conv", "x cw b", grouped).plain("p", "GlobalAveragePool", "c").plain("f", "Flatten", "p");
        let sketch = sketch.constant("gw", numbers(&[3, 2])).node("g", "Gemm", "f gw", Attributes::default().int("transB", 1));
        let graph = sketch.constant("mw", numbers(&[3, 2])).plain("y", "MatMul", "g mw").outputs("y");
        let found = |name: &str| {
            let (_, node) = graph.producer(graph.find_value(name).unwrap()).unwrap();
            rows(&graph, node)
                .unwrap()
                .into_iter()
                .map(|row| (row.bias, row.terms().map(|(input, taps)| (input, taps.to_vec())).collect()))
                .collect::<Vec<(f64, Vec<_>)>>()
        };
        let terms = |parts: &[(usize, &[f32])]| parts.iter().map(|(input, taps)| (*input, taps.to_vec())).collect::<Vec<_>>();
        assert_eq!(found("c"), [(5.0, terms(&[(0, &[0.0, 1.0]), (1, &[2.0, 3.0])])), (7.0, terms(&[(2, &[4.0, 5.0]), (3, &[6.0, 7.0])]))]);
        assert_eq!(found("g")[1], (0.0, terms(&[(0, &[2.0]), (1, &[3.0])])));
        assert_eq!(found("y")[1], (0.0, terms(&[(0, &[1.0]), (1, &[3.0]), (2, &[5.0])])));
    }
}
