use crate::graph::{Graph, known_shape};
use crate::ops::{Conv, ConvTranspose, Gemm, MatMul};

/// Multiplications of one sample in Conv, ConvTranspose, Gemm and MatMul, as far as shapes are known.
pub fn macs(graph: &Graph) -> u64 {
    let shape = |value: Option<crate::graph::ValueId>| known_shape(graph.value(value?).shape.as_deref()?);
    let count = |sizes: &[usize]| sizes.iter().fold(1u64, |total, n| total.saturating_mul(*n as u64));
    let mut total = 0u64;
    for (_, node) in graph.nodes() {
        let (Some(x), Some(weight), Some(y)) = (shape(node.input(0)), shape(node.input(1)), shape(node.output(0))) else { continue };
        let cost = if node.is::<Conv>().is_some() {
            count(&y).saturating_mul(count(&weight[1..]))
        } else if node.is::<ConvTranspose>().is_some() {
            count(&x).saturating_mul(count(&weight[1..]))
        } else if let Some(gemm) = node.is::<Gemm>() {
            count(&y).saturating_mul(x[usize::from(!gemm.transpose_a)] as u64)
        } else if node.is::<MatMul>().is_some() {
            count(&y).saturating_mul(x.last().copied().unwrap_or(0) as u64)
        } else {
            0
        };
        total = total.saturating_add(cost);
    }
    total
}
