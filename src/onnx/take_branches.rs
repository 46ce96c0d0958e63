//! If nodes whose condition is known, replaced by the branch that runs.

use std::collections::HashMap;

use super::messages::{GraphProto, ModelProto, NodeProto};
use super::read_node::{domain, name, op_type};
use super::rename::{FreshNames, Renames, identity, local_names, rename_node};
use crate::graph::{Graph, ValueId};
use crate::passes::fold_constants;
use crate::tensor::TensorData;

/// Conditions by the name of their value.
pub type Conditions = HashMap<String, bool>;

fn is_branch(node: &NodeProto) -> bool {
    op_type(node) == "If" && domain(node).is_empty()
}

pub fn has_branches(model: &ModelProto) -> bool {
    model.graph.iter().flat_map(|graph| &graph.node).any(is_branch)
}

/// Conditions of the If nodes in `model` that follow from constants and shapes of `graph`, which was read from it.
pub fn known_conditions(model: &ModelProto, graph: &Graph) -> Conditions {
    let mut folded = graph.clone();
    // What cannot be folded is judged where it matters.
    if fold_constants(&mut folded).is_err() {
        return Conditions::new();
    }
    let names: HashMap<&str, ValueId> = folded.value_ids().map(|id| (folded.value(id).name.as_str(), id)).collect();
    let wanted = model.graph.iter().flat_map(|graph| &graph.node).filter(|node| is_branch(node)).filter_map(|node| node.input.first());
    let known = wanted.filter_map(|name| {
        let value = folded.constant(*names.get(name.as_str())?).and_then(TensorData::to_f64)?;
        Some((name.clone(), *value.first()? != 0.0))
    });
    known.collect()
}

/// Puts the branches that `conditions` choose in the place of their nodes; returns how many.
pub fn take_branches(model: &mut ModelProto, conditions: &Conditions) -> usize {
    let mut fresh = FreshNames::new(model);
    let Some(graph) = &mut model.graph else { return 0 };
    let mut taken = 0;
    for node in std::mem::take(&mut graph.node) {
        let condition = node.input.first().and_then(|name| conditions.get(name)).filter(|_| is_branch(&node));
        let wanted = condition.map(|holds| if *holds { "then_branch" } else { "else_branch" });
        let branch = node.attribute.iter().find(|attribute| attribute.name.as_deref() == wanted && wanted.is_some());
        match branch.and_then(|attribute| attribute.g.as_deref()).filter(|branch| branch.output.len() == node.output.len()) {
            Some(branch) => {
                append(graph, &node, branch.clone(), &mut fresh);
                taken += 1;
            }
            None => graph.node.push(node),
        }
    }
    taken
}

fn append(graph: &mut GraphProto, node: &NodeProto, branch: GraphProto, fresh: &mut FreshNames) {
    let prefix = if name(node).is_empty() { op_type(node) } else { name(node) };
    let made: Vec<&String> = branch.node.iter().flat_map(|node| &node.output).collect();
    let mut renames: Renames = HashMap::new();
    let mut copies = Vec::new();
    for (output, info) in node.output.iter().zip(&branch.output) {
        let source = info.name.clone().unwrap_or_default();
        if made.contains(&&source) && !renames.contains_key(&source) {
            renames.insert(source, output.clone());
        } else if !output.is_empty() {
            copies.push((source, output.clone()));
        }
    }
    for local in local_names(&branch) {
        renames.entry(local).or_insert_with_key(|local| fresh.make(format!("{prefix}/{local}")));
    }
    for mut inner in branch.node {
        rename_node(&mut inner, &renames);
        graph.node.push(inner);
    }
    for mut tensor in branch.initializer {
        tensor.name = tensor.name.map(|name| renames.get(&name).cloned().unwrap_or(name));
        graph.initializer.push(tensor);
    }
    for (source, output) in copies {
        let source = renames.get(&source).cloned().unwrap_or(source);
        graph.node.push(identity(format!("{prefix}/{output}"), source, output));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::TensorProto;
    use crate::onnx::samples::{encoded, floats, graph_attribute, model, node, value};
    use crate::onnx::{Limits, Model, from_bytes};

    fn read(condition: &str) -> Model {
        let output = || vec![value("r", &[Ok(1), Ok(3)])];
        let then_branch = GraphProto {
            node: vec![node("Add", "add", &["x", "c"], &["t"]), node("Relu", "relu", &["t"], &["r"])],
            initializer: vec![floats("c", &[1], &[2.0])],
            output: output(),
            ..Default::default()
        };
        let else_branch = GraphProto { output: vec![value("x", &[Ok(1), Ok(3)])], ..Default::default() };
        let mut branches = node("If", "if", &["condition"], &["y"]);
        branches.attribute = vec![graph_attribute("then_branch", then_branch), graph_attribute("else_branch", else_branch)];
        let nodes = vec![
            node("Shape", "shape", &["x"], &["sizes"]),
            node("ReduceSum", "total", &["sizes"], &["sum"]),
            node("ReduceSum", "flow", &["x"], &["flowing"]),
            node("Greater", "greater", &[condition, "limit"], &["condition"]),
            branches,
        ];
        let limit = match condition {
            "sum" => TensorProto { name: Some("limit".into()), data_type: Some(7), int64_data: vec![5], ..Default::default() },
            _ => floats("limit", &[], &[3.0]),
        };
        let graph = GraphProto {
            node: nodes,
            initializer: vec![limit],
            input: vec![value("x", &[Ok(1), Ok(3)])],
            output: vec![value("y", &[Ok(1), Ok(3)])],
            ..Default::default()
        };
        from_bytes(encoded(&model(17, graph)), std::path::Path::new(""), &Limits::default()).unwrap()
    }

    fn text(model: &Model) -> Vec<String> {
        model.graph.to_string().lines().map(|line| line.trim().to_string()).collect()
    }

    #[test]
    fn a_condition_that_follows_from_shapes_chooses_its_branch() {
        let model = read("sum");
        assert!(model.notes.iter().any(|note| note.starts_with("1 If")), "{:?}", model.notes);
        assert_eq!(text(&model).last().map(String::as_str), Some("-> y"));
        assert!(text(&model).contains(&"y = Identity(x)".to_string()), "{:?}", text(&model));
    }

    #[test]
    fn the_other_branch_brings_its_constants() {
        let mut model = ModelProto::default();
        let then_branch = GraphProto {
            node: vec![node("Add", "add", &["x", "c"], &["x_2"]), node("Relu", "relu", &["x_2"], &["r"])],
            initializer: vec![floats("c", &[1], &[2.0])],
            output: vec![value("r", &[])],
            ..Default::default()
        };
        let mut branches = node("If", "if", &["holds"], &["y"]);
        branches.attribute = vec![graph_attribute("then_branch", then_branch)];
        model.graph = Some(GraphProto { node: vec![branches], initializer: vec![floats("c", &[], &[1.0])], ..Default::default() });
        assert_eq!(take_branches(&mut model, &[("holds".to_string(), true)].into()), 1);
        let graph = model.graph.unwrap();
        assert_eq!((graph.node[0].input.clone(), graph.node[0].output.clone()), (vec!["x".into(), "if/c".into()], vec!["if/x_2".into()]));
        assert_eq!((graph.node[1].input[0].as_str(), graph.node[1].output[0].as_str()), ("if/x_2", "y"));
        assert_eq!(graph.initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect::<Vec<_>>(), ["c", "if/c"]);
    }

    #[test]
    fn a_condition_that_data_decides_stays() {
        let model = read("flowing");
        assert!(text(&model).iter().any(|line| line.starts_with("y = If(condition")), "{:?}", text(&model));
    }
}
