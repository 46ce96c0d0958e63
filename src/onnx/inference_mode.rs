//! Layers that were exported as they train, as they compute afterwards.

use std::collections::HashSet;

use super::capture::captured_names;
use super::messages::{ModelProto, NodeProto, TensorProto};
use super::read_node::{describe, domain, is_constant, op_type, read_constant};
use super::tensor_proto;

/// Operators whose outputs beyond the first only training reads, or nobody.
const FIRST_OUTPUT_COUNTS: [&str; 4] = ["BatchNormalization", "Dropout", "LayerNormalization", "MaxPool"];
/// Since this operator set an attribute says that a BatchNormalization trains; before, its outputs beyond the first did.
const TRAINING_MODE_SINCE: i64 = 14;

/// Takes away outputs that nobody reads, and turns BatchNormalization and Dropout in training mode to inference where nobody
/// reads what only training makes. Returns the nodes that were turned.
pub fn set_inference_mode(model: &mut ModelProto, opset: i64) -> Vec<String> {
    let Some(graph) = &mut model.graph else { return Vec::new() };
    let mut read: HashSet<String> = graph.node.iter().flat_map(|node| node.input.iter().cloned().chain(captured_names(node))).collect();
    read.extend(graph.output.iter().filter_map(|info| info.name.clone()));
    let holds = true_constants(&graph.node, &graph.initializer);
    let mut turned = Vec::new();
    let candidates = graph.node.iter_mut().filter(|node| domain(node).is_empty() && FIRST_OUTPUT_COUNTS.contains(&op_type(node)));
    for node in candidates.filter(|node| node.output.iter().skip(1).all(|name| !read.contains(name))) {
        let had_statistics = node.output.len() > 1;
        node.output.truncate(1);
        let trains = match op_type(node) {
            "BatchNormalization" => take_training_mode(node) || opset < TRAINING_MODE_SINCE && had_statistics,
            "Dropout" => take_training_input(node, &holds),
            _ => false,
        };
        if trains {
            turned.push(describe(node));
        }
    }
    turned
}

fn take_training_input(node: &mut NodeProto, holds: &HashSet<String>) -> bool {
    let trains = node.input.get(2).is_some_and(|name| holds.contains(name));
    if trains {
        node.input.truncate(2);
    }
    trains
}

fn take_training_mode(node: &mut NodeProto) -> bool {
    let before = node.attribute.len();
    node.attribute.retain(|attribute| attribute.name.as_deref() != Some("training_mode") || attribute.i.unwrap_or(0) == 0);
    node.attribute.len() < before
}

/// Names of constants that are the truth value `true`.
fn true_constants(nodes: &[NodeProto], initializers: &[TensorProto]) -> HashSet<String> {
    const BOOL: i32 = 9;
    let given = initializers.iter().filter(|tensor| tensor.data_type == Some(BOOL));
    let given = given.filter_map(|tensor| Some((tensor.name.clone()?, tensor_proto::read(tensor, 1).ok()?)));
    let made = nodes.iter().filter(|node| is_constant(node));
    let made = made.filter_map(|node| Some((node.output.first()?.clone(), read_constant(node, 1).ok()?)));
    given.chain(made).filter(|(_, tensor)| tensor.to_f64().is_some_and(|values| values == [1.0])).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{AttributeProto, GraphProto, attribute_type};
    use crate::onnx::samples::{floats, node, value};

    fn model(outputs: &[&str]) -> ModelProto {
        let mut norm = node("BatchNormalization", "norm", &["x", "s", "b", "m", "v"], &["n", "mean", "variance"]);
        let training =
            AttributeProto { name: Some("training_mode".into()), r#type: Some(attribute_type::INT), i: Some(1), ..Default::default() };
        norm.attribute.push(training);
        let holds = TensorProto { name: Some("holds".into()), data_type: Some(9), int32_data: vec![1], ..Default::default() };
        let graph = GraphProto {
            node: vec![norm, node("Dropout", "dropout", &["n", "ratio", "holds"], &["y", "mask"])],
            initializer: vec![floats("ratio", &[], &[0.5]), holds],
            output: outputs.iter().map(|name| value(name, &[])).collect(),
            ..Default::default()
        };
        ModelProto { graph: Some(graph), ..Default::default() }
    }

    #[test]
    fn layers_that_train_infer_where_nobody_reads_their_statistics() {
        let mut trained = model(&["y"]);
        assert_eq!(set_inference_mode(&mut trained, 17), ["`norm` (BatchNormalization)", "`dropout` (Dropout)"]);
        let nodes = trained.graph.unwrap().node;
        assert_eq!((nodes[0].output.len(), nodes[0].attribute.len(), nodes[1].input.len(), nodes[1].output.len()), (1, 0, 2, 1));
    }

    #[test]
    fn outputs_that_nobody_reads_go() {
        let graph = |node: NodeProto| {
            let (initializer, output) = (vec![floats("ratio", &[], &[0.5])], vec![value("y", &[])]);
            ModelProto { graph: Some(GraphProto { node: vec![node], initializer, output, ..Default::default() }), ..Default::default() }
        };
        let mut dropped = graph(node("Dropout", "d", &["x", "ratio"], &["y", "mask"]));
        assert!(set_inference_mode(&mut dropped, 9).is_empty());
        assert_eq!(dropped.graph.unwrap().node[0].output, ["y"]);
        let norm = || graph(node("BatchNormalization", "n", &["x", "s", "b", "m", "v"], &["y", "m1", "v1", "m2", "v2"]));
        assert_eq!(set_inference_mode(&mut norm(), 9).len(), 1);
        assert!(set_inference_mode(&mut norm(), 15).is_empty());
        let mut split = graph(node("Split", "s", &["x"], &["y", "unread"]));
        set_inference_mode(&mut split, 13);
        assert_eq!(split.graph.unwrap().node[0].output.len(), 2);
    }

    #[test]
    fn layers_whose_statistics_are_read_stay() {
        let mut trained = model(&["y", "mean", "mask"]);
        assert!(set_inference_mode(&mut trained, 17).is_empty());
        assert_eq!(trained, model(&["y", "mean", "mask"]));
    }
}
