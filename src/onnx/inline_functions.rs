//! Calls of the model's own functions, replaced by what the functions do.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::capture::subgraphs;
use super::header::canonical_domain;
use super::messages::{AttributeProto, FunctionProto, ModelProto, NodeProto, OperatorSetIdProto};
use super::read_node::{describe, domain, name, op_type};
use super::rename::{FreshNames, Renames, for_each_subgraph, identity, rename_node};
use crate::error::{Error, Result};

/// Functions within functions, as deep as protobuf lets messages be.
const MOST_NESTED: usize = 100;

/// Domain, name and overload.
type Key = (String, String, String);

/// Puts the nodes of functions where they are called. A function that imports other versions than the model stays one, and
/// so do its calls.
///
/// # Errors
/// If a function calls itself, or the model would have more than `most_nodes` nodes.
pub fn inline_functions(model: &mut ModelProto, most_nodes: u64) -> Result<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let versions: HashMap<String, i64> = model.opset_import.iter().map(version).collect();
    let fits = |function: &&FunctionProto| {
        let mut imports = function.opset_import.iter().map(version);
        imports.all(|(domain, version)| versions.get(&domain).is_none_or(|known| *known == version))
    };
    let functions: HashMap<Key, FunctionProto> = model.functions.iter().filter(fits).map(|f| (key_of(f), f.clone())).collect();
    let mut inliner = Inliner { functions: &functions, fresh: FreshNames::new(model), left: most_nodes };
    if let Some(graph) = &mut model.graph {
        graph.node = inliner.expand(std::mem::take(&mut graph.node), &mut Vec::new())?;
    }
    if functions.len() == model.functions.len() {
        model.functions.clear();
    }
    import_domains(model, &functions);
    Ok(())
}

fn version(import: &OperatorSetIdProto) -> (String, i64) {
    (canonical_domain(import.domain.as_deref().unwrap_or_default()).to_string(), import.version.unwrap_or(0))
}

fn key_of(function: &FunctionProto) -> Key {
    let domain = canonical_domain(function.domain.as_deref().unwrap_or_default());
    (domain.to_string(), function.name.clone().unwrap_or_default(), function.overload.clone().unwrap_or_default())
}

/// What the functions import, the model imports; nobody asks for the domains of functions that are gone.
fn import_domains(model: &mut ModelProto, functions: &HashMap<Key, FunctionProto>) {
    let mut used = HashSet::new();
    let mut nodes: Vec<&NodeProto> = model.graph.iter().flat_map(|graph| &graph.node).collect();
    while let Some(node) = nodes.pop() {
        used.insert(domain(node).to_string());
        nodes.extend(subgraphs(&node.attribute).flat_map(|graph| &graph.node));
    }
    let gone = |domain: &str| !used.contains(domain) && functions.keys().any(|(own, _, _)| own == domain);
    let all_gone = model.functions.is_empty();
    model.opset_import.retain(|import| !(all_gone && gone(&version(import).0)) || version(import).0.is_empty());
    for import in functions.values().flat_map(|function| &function.opset_import) {
        let known = model.opset_import.iter().any(|own| version(own).0 == version(import).0);
        if !known && used.contains(&version(import).0) {
            model.opset_import.push(import.clone());
        }
    }
}

struct Inliner<'a> {
    functions: &'a HashMap<Key, FunctionProto>,
    fresh: FreshNames,
    /// Nodes that may still be looked at.
    left: u64,
}

impl Inliner<'_> {
    /// `within` lists the functions whose bodies these nodes stand in.
    fn expand(&mut self, nodes: Vec<NodeProto>, within: &mut Vec<Key>) -> Result<Vec<NodeProto>> {
        let mut expanded = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            self.expand_subgraphs(&mut node, within)?;
            let key = (domain(&node).to_string(), op_type(&node).to_string(), node.overload.clone().unwrap_or_default());
            self.left = self.left.checked_sub(1).ok_or_else(|| too_many(&node))?;
            let Some(function) = self.functions.get(&key) else {
                expanded.push(node);
                continue;
            };
            if within.contains(&key) {
                let reason = format!("the function `{}` calls itself", key.1);
                return Err(Error::node(name(&node), op_type(&node), reason));
            }
            if within.len() == MOST_NESTED {
                let reason = format!("functions call each other more than {MOST_NESTED} deep");
                return Err(Error::node(name(&node), op_type(&node), reason));
            }
            let body = self.body(&node, function)?;
            within.push(key);
            expanded.extend(self.expand(body, within)?);
            within.pop();
        }
        Ok(expanded)
    }

    fn expand_subgraphs(&mut self, node: &mut NodeProto, within: &mut Vec<Key>) -> Result<()> {
        let mut result = Ok(());
        for_each_subgraph(node, &mut |graph| match self.expand(std::mem::take(&mut graph.node), within) {
            Ok(nodes) => graph.node = nodes,
            Err(error) => result = Err(error),
        });
        result
    }

    /// The nodes of `function` in the names and with the attributes of `call`.
    fn body(&mut self, call: &NodeProto, function: &FunctionProto) -> Result<Vec<NodeProto>> {
        if call.input.len() > function.input.len() || call.output.len() > function.output.len() {
            return Err(Error::node(name(call), op_type(call), "it has more inputs or outputs than its function"));
        }
        let prefix = if name(call).is_empty() { op_type(call) } else { name(call) };
        let mut renames: Renames = HashMap::new();
        for (index, formal) in function.input.iter().enumerate() {
            renames.insert(formal.clone(), call.input.get(index).cloned().unwrap_or_default());
        }
        let mut nodes = function.node.clone();
        let made: BTreeSet<String> = nodes.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty()).cloned().collect();
        let mut handed_on = Vec::new();
        for (formal, actual) in function.output.iter().zip(&call.output).filter(|(_, actual)| !actual.is_empty()) {
            if made.contains(formal) {
                renames.insert(formal.clone(), actual.clone());
            } else if let Some(source) = renames.get(formal) {
                handed_on.push(identity(format!("{prefix}/{formal}"), source.clone(), actual.clone()));
            } else {
                return Err(Error::node(name(call), op_type(call), format!("its function does not make `{formal}`")));
            }
        }
        for inner in made {
            renames.entry(inner).or_insert_with_key(|inner| self.fresh.make(format!("{prefix}/{inner}")));
        }
        for node in &mut nodes {
            rename_node(node, &renames);
            give_attributes(node, call, function);
            node.name = Some(format!("{prefix}/{}", if name(node).is_empty() { op_type(node) } else { name(node) }));
        }
        nodes.extend(handed_on);
        Ok(nodes)
    }
}

fn too_many(node: &NodeProto) -> Error {
    Error::InvalidModel(format!("the functions of the model have too many nodes when written out, as of {}", describe(node)))
}

/// Attributes that stand for those of the call: the call's own, else the function's default, else none.
fn give_attributes(node: &mut NodeProto, call: &NodeProto, function: &FunctionProto) {
    node.attribute = std::mem::take(&mut node.attribute).into_iter().filter_map(|attribute| give(attribute, call, function)).collect();
    for_each_subgraph(node, &mut |graph| graph.node.iter_mut().for_each(|inner| give_attributes(inner, call, function)));
}

fn give(attribute: AttributeProto, call: &NodeProto, function: &FunctionProto) -> Option<AttributeProto> {
    let Some(wanted) = attribute.ref_attr_name.as_deref().filter(|wanted| !wanted.is_empty()) else { return Some(attribute) };
    let mut given = call.attribute.iter().chain(&function.attribute_proto);
    let found = given.find(|candidate| candidate.name.as_deref() == Some(wanted))?;
    Some(AttributeProto { name: attribute.name.clone(), ..found.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{GraphProto, attribute_type};
    use crate::onnx::samples::{encoded, ints, model, node, strings, value};
    use crate::onnx::{Limits, Model, from_bytes};

    fn import(domain: &str, version: i64) -> OperatorSetIdProto {
        OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) }
    }

    fn function(name: &str, inputs: &[&str], outputs: &[&str], node: Vec<NodeProto>) -> FunctionProto {
        FunctionProto {
            name: Some(name.into()),
            domain: Some("own".into()),
            input: strings(inputs),
            output: strings(outputs),
            node,
            opset_import: vec![import("", 17), import("own", 1)],
            ..Default::default()
        }
    }

    fn call(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto { domain: Some("own".into()), ..node(name, name, inputs, outputs) }
    }

    fn read(functions: Vec<FunctionProto>, nodes: Vec<NodeProto>) -> Result<Model> {
        let limits = Limits { nodes: 1000, ..Limits::default() };
        let graph = GraphProto {
            node: nodes,
            input: vec![value("x", &[Ok(1), Ok(3)])],
            output: vec![value("y", &[Ok(1), Ok(3)])],
            ..Default::default()
        };
        let mut model = model(17, graph);
        model.opset_import.push(import("own", 1));
        model.functions = functions;
        from_bytes(encoded(&model), std::path::Path::new(""), &limits)
    }

    #[test]
    fn calls_become_what_the_function_does() {
        let inner = function("Inner", &["a"], &["b"], vec![node("Relu", "r", &["a"], &["b"])]);
        let outer = function("Outer", &["a", "unused"], &["b", "a"], vec![call("Inner", &["a"], &["t"]), node("Neg", "n", &["t"], &["b"])]);
        let nodes = vec![call("Outer", &["x"], &["t", "same"]), node("Add", "add", &["t", "same"], &["y"])];
        let model = read(vec![inner, outer], nodes).unwrap();
        let wanted = ["(x)", "Outer/t = Relu(x)", "t = Neg(Outer/t)", "same = Identity(x)", "y = Add(t, same)", "-> y"];
        assert_eq!(model.graph.to_string().lines().map(str::trim).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn attributes_come_from_the_call_or_the_function_or_nowhere() {
        let refer = |name: &str, to: &str| AttributeProto {
            name: Some(name.into()),
            ref_attr_name: Some(to.into()),
            r#type: Some(attribute_type::FLOAT),
            ..Default::default()
        };
        let float = |name: &str, f: f32| AttributeProto { name: Some(name.into()), f: Some(f), ..refer("", "") };
        let mut sigmoid = node("HardSigmoid", "h", &["a"], &["b"]);
        sigmoid.attribute = vec![refer("alpha", "slope"), refer("beta", "level")];
        let body = FunctionProto { attribute_proto: vec![float("slope", 0.25)], ..function("F", &["a"], &["b"], vec![sigmoid]) };
        let mut second = call("F", &["t"], &["y"]);
        second.attribute = vec![float("slope", 0.75), float("level", 0.125)];
        let model = read(vec![body], vec![call("F", &["x"], &["t"]), second]).unwrap();
        let found: Vec<_> = model.graph.nodes().map(|(_, node)| node.operator.attributes()).collect();
        let wanted = |alpha: f32, beta: f32| crate::ops::Attributes::default().float("alpha", alpha).float("beta", beta);
        assert_eq!(found, [wanted(0.25, 0.5), wanted(0.75, 0.125)]);
    }

    #[test]
    fn refuses_functions_that_call_themselves_and_those_that_explode() {
        let first = function("First", &["a"], &["b"], vec![call("Second", &["a"], &["b"])]);
        let second = function("Second", &["a"], &["b"], vec![call("First", &["a"], &["b"])]);
        let message = read(vec![first, second], vec![call("First", &["x"], &["y"])]).unwrap_err().to_string();
        assert!(message.contains("`First` calls itself"), "{message}");
        let twice = |level: usize| {
            let name = |level: usize| format!("F{level}");
            let body = vec![call(&name(level + 1), &["a"], &["t"]), call(&name(level + 1), &["t"], &["b"])];
            function(&name(level), &["a"], &["b"], body)
        };
        let mut functions: Vec<_> = (0..40).map(twice).collect();
        functions.push(function("F40", &["a"], &["b"], vec![node("Relu", "", &["a"], &["b"])]));
        let message = read(functions, vec![call("F0", &["x"], &["y"])]).unwrap_err().to_string();
        assert!(message.contains("too many nodes"), "{message}");
    }

    #[test]
    fn refuses_functions_that_call_each_other_too_deep() {
        let deep = 100_000;
        let call_next = |level: usize| vec![call(&format!("F{}", level + 1), &["a"], &["b"])];
        let mut functions: Vec<_> = (0..deep).map(|level| function(&format!("F{level}"), &["a"], &["b"], call_next(level))).collect();
        functions.push(function(&format!("F{deep}"), &["a"], &["b"], vec![node("Relu", "", &["a"], &["b"])]));
        let mut model = ModelProto { opset_import: vec![import("", 17), import("own", 1)], functions, ..Default::default() };
        model.graph = Some(GraphProto { node: vec![call("F0", &["x"], &["y"])], ..Default::default() });
        let message = inline_functions(&mut model, 1_000_000).unwrap_err().to_string();
        assert!(message.contains("more than 100 deep"), "{message}");
    }

    #[test]
    fn a_function_of_another_operator_set_stays_a_call() {
        let mut body = function("F", &["a"], &["b"], vec![node("Relu", "r", &["a"], &["b"])]);
        body.opset_import = vec![import("", 13)];
        let mut call = call("F", &["x"], &["y"]);
        call.attribute = vec![ints("axes", &[1])];
        let model = read(vec![body], vec![call]).unwrap();
        assert_eq!(model.graph.to_string().lines().nth(1).map(str::trim), Some("y = F(x)"), "{}", model.graph);
    }
}
