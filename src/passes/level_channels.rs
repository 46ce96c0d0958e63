//! A scale for each channel of a result.

use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, NodeId, ValueId, check};
use crate::ops::Mul;
use crate::tensor::{DataType, TensorData};

/// Multiplies the channels of `value`, which convolution `producer` makes, by `factors` > 0 where they are made, and divides by
/// them behind it; between the two may be what is positively homogeneous. What lies between can have one scale for all.
///
/// Before: `y = f(W · x + b)`. After: `y = S⁻¹ · f(S W · x + S b)`. With powers of two no number changes.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn level_channels(graph: &mut Graph, producer: NodeId, value: ValueId, factors: &[f32]) -> Result<()> {
    let node = graph.node(producer).clone();
    for (index, input) in [(1, node.input(1)), (2, node.input(2))] {
        let Some(tensor) = input.and_then(|input| graph.constant(input)) else { continue };
        let (inner, factors) = ((tensor.len() / factors.len()).max(1), factors.to_vec());
        let Some(scaled) = tensor.map_f32(move |at, x| x * factors[at / inner]) else { continue };
        let name = graph.unused_name(&input.map_or(String::new(), |input| format!("{}_leveled", graph.value(input).name)));
        let constant = graph.add_constant(name, scaled);
        graph.set_input(producer, index, Some(constant));
    }
    let before = graph.value(value).clone();
    let name = graph.unused_name(&format!("{}_leveled", before.name));
    let leveled = graph.add_value(name.as_str(), before.data_type, before.shape.clone());
    if let Some((id, maker)) = graph.producer(value) {
        let index = maker.outputs.iter().position(|output| *output == Some(value)).unwrap_or(0);
        graph.set_output(id, index, leveled);
    }
    let mut shape = vec![1; before.shape.as_ref().map_or(factors.len().min(2), Vec::len)];
    shape[1] = factors.len();
    let inverse = TensorData::new(&shape, factors.iter().map(|factor| 1.0 / factor).collect());
    let constant = graph.add_constant(graph.unused_name(&format!("{name}_factors")), inverse);
    let node_name = graph.unused_name(&format!("{name}_back"));
    graph.add_node(node_name, Arc::new(Mul), vec![Some(leveled), Some(constant)], vec![Some(value)]);
    graph.set_facts(value, Some(DataType::F32), before.shape);
    graph.sort()?;
    check(graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, assert_same_function};

    #[test]
    fn leveled_channels_are_scaled_back() {
        let sketch = Sketch::new(&[0, 3, 6, 6]).weights("w", &[4, 3, 3, 3], 0.3).weights("b", &[4], 0.3).plain("c", "Conv", "x w b");
        let before = sketch.plain("r", "Relu", "c").plain("y", "Neg", "r").outputs("y r");
        let mut after = before.clone();
        let (value, producer) = (after.find_value("r").unwrap(), after.producer(after.find_value("c").unwrap()).unwrap().0);
        level_channels(&mut after, producer, value, &[1.0, 4.0, 256.0, 2.0]).unwrap();
        assert_same_function(&before, &after);
        assert_eq!(after.outputs, before.outputs);
    }
}
