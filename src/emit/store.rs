//! Weights that are integers in the file alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::ops::{Cast, DequantizeLinear, Mul};
use crate::quantization::{QuantPlan, WeightPoint};
use crate::tensor::{DataType, TensorData};

/// Before: `y = Conv(x, DequantizeLinear(w, s))`, where the plan has the product in float. After:
/// `y = Conv(x, Mul(Cast(w), s))`. ONNX Runtime folds the latter as it loads, and never a DequantizeLinear: with one it
/// dequantizes in every run and does without its blocked layout, which more than doubles the time of a network.
///
/// # Errors
/// If the graph is not sound.
pub(super) fn store_weights(graph: &mut Graph, plan: &QuantPlan) -> Result<()> {
    let weights = |point: &WeightPoint| graph.node(point.node).input(point.input);
    let integer: BTreeSet<Option<ValueId>> = plan.weights.iter().filter(|point| point.integer).map(weights).collect();
    let stored: BTreeSet<Option<ValueId>> = plan.weights.iter().map(weights).collect();
    for (index, value) in stored.difference(&integer).flatten().enumerate() {
        multiply_out(graph, *value, index);
    }
    graph.sort()
}

/// Replaces the DequantizeLinear that makes `value`, under short names, unless its zero points say otherwise.
fn multiply_out(graph: &mut Graph, value: ValueId, index: usize) -> Option<()> {
    let (id, node) = graph.producer(value)?;
    let (axis, weight, scale) = (node.is::<DequantizeLinear>()?.sharing.axis, node.input(0)?, node.input(1)?);
    let zero_points = node.input(2).and_then(|zero| graph.constant(zero)).and_then(TensorData::to_i64).unwrap_or_default();
    let (rank, scales) = (graph.constant(weight)?.shape().len(), graph.constant(scale)?.to_f32()?);
    if zero_points.iter().any(|zero| *zero != 0) {
        return None;
    }
    let mut shape = vec![1; rank];
    if scales.len() > 1 {
        shape[usize::try_from(axis).ok()?] = scales.len();
    }
    let facts = graph.value(value).clone();
    graph.remove_node(id);
    let [product, factor, cast, multiplier, caster] =
        ["w", "f", "c", "Mul", "Cast"].map(|prefix| graph.unused_name(&format!("{prefix}{index}")));
    graph.rename_value(value, product);
    let factor = graph.add_constant(factor, TensorData::new(&shape, scales));
    let (_, cast) = graph.add_operation(&caster, Arc::new(Cast { to: DataType::F32 }), vec![weight], &cast);
    graph.set_facts(cast, Some(DataType::F32), facts.shape);
    graph.add_node(multiplier, Arc::new(Mul), vec![Some(cast), Some(factor)], vec![Some(value)]);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{calibrate, observers};
    use crate::emit::{insert, seal, verify};
    use crate::execution::{self, evaluate};
    use crate::graph::sketch::{Sketch, noise};
    use crate::passes::{prepare, simplify};
    use crate::progress::Silent;
    use crate::quantization::{plan_around, targets};

    #[test]
    fn a_float_product_has_integer_weights_in_the_file_and_no_dequantizer() {
        let mut teacher = Sketch::residual();
        simplify(&mut teacher).unwrap();
        prepare(&mut teacher).unwrap();
        let first = teacher.nodes().next().map(|(id, node)| (id, node.name.clone())).unwrap();
        let float = [(first.0, "float is faster".to_string())].into();
        let plan = plan_around(&teacher, &targets::find("ort-cpu").unwrap(), &[], &float).unwrap();
        let config = execution::Config::default();
        let set = noise(&teacher, 16);
        let ranges = calibrate(&teacher, &plan, &set, observers::find("mse").unwrap().as_ref(), &config, &Silent).unwrap();
        let mut graph = teacher.clone();
        let student = insert(&mut graph, &plan, &ranges).unwrap();
        let open = evaluate(&graph, &graph.outputs, &set, &config).unwrap();
        seal(&mut graph, &plan, &student).unwrap();
        let sealed = evaluate(&graph, &graph.outputs, &set, &config).unwrap();
        let apart = open[0].iter().zip(sealed[0].iter()).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        assert!(apart < 0.05, "{apart}");

        let node = graph.node(first.0);
        let (_, product) = graph.producer(node.input(1).unwrap()).unwrap();
        let (_, cast) = graph.producer(product.input(0).unwrap()).unwrap();
        assert!(product.is::<Mul>().is_some() && cast.is::<Cast>().is_some());
        assert_eq!(graph.constant(cast.input(0).unwrap()).unwrap().data_type(), DataType::I8);
        assert_eq!(graph.constant(node.input(2).unwrap()).unwrap().data_type(), DataType::F32);
        let integer: Vec<bool> = verify(&graph, &plan.target).iter().map(|kernel| kernel.integer).collect();
        assert_eq!(integer, [false, true, true]);
        let forecast = plan.kernels.iter().find(|kernel| kernel.node == first.1).unwrap();
        assert_eq!(forecast.reason.as_deref(), Some("float is faster"));
    }
}
