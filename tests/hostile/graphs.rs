//! Rows 9 to 13, 25 to 34, 57 and 58: versions, names and order of a graph.

use std::time::{Duration, Instant};

use zeroq::onnx::messages::*;

use super::network::*;
use super::program::*;

#[test]
fn row_09_a_graph_has_nodes_and_outputs() {
    refused([
        case("no graph", ModelProto { graph: None, ..network() }, &["has no graph"]),
        case("no nodes", regraphed(|g| g.node.clear()), &["the graph has no nodes"]),
        case("no outputs", regraphed(|g| g.output.clear()), &["the graph has no outputs"]),
        case("nothing", ModelProto { graph: Some(GraphProto::default()), ..network() }, &["no nodes"]),
        case("no inputs", regraphed(|g| g.input.clear()), &["`conv`", "`x` comes from nowhere"]),
    ]);
}

#[test]
fn rows_10_to_13_versions_must_be_there_and_known() {
    let opset = |versions: &[(&str, i64)]| {
        let import = |(domain, version): &(&str, i64)| OperatorSetIdProto { domain: Some(domain.to_string()), version: Some(*version) };
        ModelProto { opset_import: versions.iter().map(import).collect(), ..network() }
    };
    let ir = |version: Option<i64>| ModelProto { ir_version: version, ..network() };
    refused([
        case("none", opset(&[]), &["opset_import does not name the default operator set", "onnx.helper.make_opsetid"]),
        case("another domain", opset(&[("com.microsoft", 1)]), &["opset_import does not name the default operator set"]),
        case("too new", opset(&[("", 99)]), &["operator set 99", "7 to 28"]),
        case("huge", opset(&[("", i64::MAX)]), &["7 to 28"]),
        case("negative", opset(&[("", -17)]), &["operator set -17"]),
        case("zero", opset(&[("", 0)]), &["operator set 0"]),
        case("too old", opset(&[("", 6)]), &["operator set 6", "onnx.version_converter"]),
        case("twice", opset(&[("", 17), ("ai.onnx", 13)]), &["opset_import names domain ``", "17 and 13"]),
        case("other twice", opset(&[("", 17), ("a", 1), ("a", 2)]), &["domain `a`", "1 and 2"]),
        case("IR missing", ir(None), &["IR version 0"]),
        case("IR too new", ir(Some(99)), &["IR version 99 is newer than 14"]),
        case("IR negative", ir(Some(-1)), &["IR version -1"]),
    ]);
}

#[test]
fn row_25_a_cycle_is_named() {
    refused([
        case("two nodes", renode("relu", |n| n.input[0] = "r2".into()), &["cycle", "`relu`", "`conv2`"]),
        case("one node", renode("relu", |n| n.input[0] = "r".into()), &["`relu`"]),
    ]);
}

#[test]
fn row_25_only_the_nodes_on_the_cycle_are_named() {
    let model = renode("conv2", |n| n.input[0] = "n2".into());
    let place = Place::with(&File::from(model).0);
    let stderr = place.run(&quantize(&[])).stderr;
    assert!(stderr.contains("`conv2`") && stderr.contains("`norm2`") && !stderr.contains("`head`"), "{stderr}");
}

#[test]
fn row_26_nodes_out_of_order_are_sorted() {
    taken(regraphed(|g| g.node.reverse()), &[], &["note: nodes did not stand in execution order and were sorted"]);
}

#[test]
fn row_27_every_input_comes_from_somewhere() {
    let mut body = GraphProto { name: Some("body".into()), output: vec![value("inner", &[1])], ..Default::default() };
    body.node.push(node("Neg", "neg", &["nobody"], &["inner"]));
    refused([
        case("node", renode("relu", |n| n.input[0] = "nobody".into()), &["node `relu` (Relu): its input `nobody` comes from nowhere"]),
        case("output", regraphed(|g| g.output[0].name = Some("nobody".into())), &["graph output `nobody` comes from nowhere"]),
        case("subgraph", branches(body), &["`choose`", "`nobody` comes from nowhere"]),
        case("missing input", renode("conv2", |n| n.input.truncate(1)), &["node `conv2` (Conv)", "input 1 is missing"]),
        case("no input", renode("relu", |n| n.input.clear()), &["node `relu` (Relu)", "input 0 is missing"]),
        case("too many inputs", renode("relu", |n| n.input.push("n".into())), &["node `relu` (Relu): it has 2 inputs"]),
    ]);
}

/// An If whose branches are `body`, with a condition that only the input decides.
fn choose(body: &GraphProto) -> [NodeProto; 3] {
    let branches = [graph_attribute("then_branch", body.clone()), graph_attribute("else_branch", body.clone())];
    [
        with(node("ReduceMax", "most", &["x"], &["largest"]), [int("keepdims", 0)]),
        node("Greater", "compare", &["largest", "limit"], &["yes"]),
        with(node("If", "choose", &["yes"], &["chosen"]), branches),
    ]
}

/// The network with an If whose branches are `body`, its result another output.
fn branches(body: GraphProto) -> ModelProto {
    regraphed(|g| {
        g.initializer.push(floats("limit", &[], &[0.5]));
        g.node.extend(choose(&body));
        g.output.push(value("chosen", &[1]));
    })
}

#[test]
fn row_28_every_value_has_one_source() {
    let body = |outputs: [&str; 2]| {
        let mut body = GraphProto { name: Some("body".into()), output: vec![value(outputs[0], &[1])], ..Default::default() };
        body.initializer.push(floats("one", &[1], &[1.0]));
        body.node.extend([node("Neg", "neg", &["one"], &[outputs[0]]), node("Abs", "abs", &["one"], &[outputs[1]])]);
        body
    };
    let mut backwards = body(["a", "b"]);
    backwards.node[0].input[0] = "b".into();
    refused([
        case("two nodes", renode("relu", |n| n.output[0] = "c".into()), &["node `", "`c`"]),
        case("an input", renode("relu", |n| n.output[0] = "x".into()), &["node `relu` (Relu)", "`x` has another source"]),
        case("an initializer", renode("relu", |n| n.output[0] = "w".into()), &["node `relu` (Relu)", "`w` has another source"]),
        case("one node twice", renode("relu", |n| n.output.push("r".into())), &["node `relu` (Relu)", "`r`"]),
        case("within a subgraph", branches(body(["a", "a"])), &["`choose`", "`a`"]),
        case("outer name in a subgraph", branches(body(["a", "c"])), &["`choose`", "`c`"]),
        case("read before made", branches(backwards), &["`choose`", "`neg` (Neg): `b` is not produced before it is read"]),
    ]);
    taken(branches(body(["a", "b"])), &[], &[]);
}

#[test]
fn row_29_nodes_get_names_of_their_own() {
    let model = regraphed(|g| {
        g.node[0].name = None;
        g.node[1].name = Some("norm2".into());
    });
    let written = written(model, &[], &["2 nodes without a name of their own were named"]).written.graph.unwrap();
    let mut names: Vec<&str> = written.node.iter().map(|node| node.name.as_deref().unwrap()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn row_30_initializers_stand_once_and_may_be_listed_as_inputs() {
    refused([case("twice", regraphed(|g| g.initializer.push(g.initializer[0].clone())), &["tensor `w`: two initializers have this name"])]);
    refused([case("input twice", regraphed(|g| g.input.push(g.input[0].clone())), &["graph input `x`"])]);
    refused([case("output twice", regraphed(|g| g.output.push(g.output[0].clone())), &["graph output `y` stands twice"])]);
    let replaceable = regraphed(|g| g.input.push(value("w", &[8, 3, 3, 3])));
    let inputs = taken(replaceable, &[], &["note: 1 inputs have a value in the file"]).written.graph.unwrap().input;
    assert_eq!(inputs.len(), 1);
    let listed = changed(|m, g| {
        m.ir_version = Some(3);
        let all: Vec<ValueInfoProto> = g.initializer.iter().map(|tensor| value(tensor.name.as_deref().unwrap(), &tensor.dims)).collect();
        g.input.extend(all);
    });
    taken(listed, &[], &[]);
}

#[test]
fn row_31_outputs_may_be_inputs_or_initializers() {
    let written = taken(regraphed(|g| g.output.extend([g.input[0].clone(), value("bh", &[4])])), &[], &[]).written.graph.unwrap();
    let names: Vec<&str> = written.output.iter().map(|info| info.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["y", "x", "bh"]);
    assert_eq!(written.initializer.iter().find(|tensor| tensor.name.as_deref() == Some("bh")).unwrap().data_type, Some(1));
}

#[test]
fn row_32_unknown_operators_are_carried_where_nothing_behind_must_be_computed() {
    let custom = |input: &str, output: &str| {
        let mut node = node("Mystery", "mystery", &[input], &[output]);
        node.domain = Some("com.example".into());
        node
    };
    let imported = |m: &mut ModelProto| m.opset_import.push(OperatorSetIdProto { domain: Some("com.example".into()), version: Some(1) });
    let behind = changed(|m, g| {
        imported(m);
        g.node.push(custom("y", "z"));
        g.output[0].name = Some("z".into());
    });
    written(
        behind,
        &[],
        &["warning: carried through as they are, in float, and never run: `mystery` (Mystery): operators of domain `com.example`"],
    );
    let within = changed(|m, g| {
        imported(m);
        g.node.push(custom("c", "cc"));
        find(g, "norm").input[0] = "cc".into();
    });
    let undeclared = regraphed(|g| g.node.push(custom("y", "z")));
    refused([
        case("before a norm", within, &["`mystery` (Mystery)", "com.example"]),
        case("domain not imported", undeclared, &["`mystery` (Mystery)", "`com.example` is not in opset_import"]),
        case("no operator", renode("relu", |n| n.op_type = None), &["node `relu`", "names no operator"]),
    ]);
}

#[test]
fn row_33_subgraphs_and_functions_are_kept_where_nothing_behind_must_be_computed() {
    let mut body = GraphProto { name: Some("body".into()), output: vec![value("inner", &[1])], ..Default::default() };
    body.initializer.push(floats("one", &[1], &[1.0]));
    body.node.push(node("Neg", "neg", &["one"], &["inner"]));
    taken(branches(body.clone()), &[], &["`choose` (If)"]);
    let needed = regraphed(|g| {
        g.initializer.push(floats("limit", &[], &[0.5]));
        body.node[0].input[0] = "c".into();
        g.node.extend(choose(&body));
        find(g, "norm").input[0] = "chosen".into();
    });
    let function = changed(|m, g| {
        m.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
        m.functions.push(FunctionProto {
            name: Some("Twice".into()),
            domain: Some("local".into()),
            input: strings(&["a"]),
            output: strings(&["b"]),
            node: vec![node("Add", "add", &["a", "a"], &["b"])],
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(16) }],
            ..Default::default()
        });
        let mut call = node("Twice", "call", &["c"], &["cc"]);
        call.domain = Some("local".into());
        g.node.push(call);
        find(g, "norm").input[0] = "cc".into();
    });
    refused([
        case("If before a norm", needed, &["`choose` (If)"]),
        case("function before a norm", function, &["`call` (Twice)", "function"]),
    ]);
}

#[test]
fn row_34_what_is_no_dense_tensor_is_refused_by_name() {
    let kind = |r#type: TypeProto| regraphed(|g| g.input[0].r#type = Some(r#type));
    refused([
        case("sparse", regraphed(|g| g.sparse_initializer.push(SparseTensorProto::default())), &["sparse initializer"]),
        case("sequence", kind(TypeProto { sequence_type: Some(Box::default()), ..Default::default() }), &["input `x`", "a sequence"]),
        case("optional", kind(TypeProto { optional_type: Some(Box::default()), ..Default::default() }), &["input `x`", "an optional"]),
        case("map", kind(TypeProto { map_type: Some(Box::default()), ..Default::default() }), &["input `x`", "a map"]),
        case("training", changed(|m, _| m.training_info.push(TrainingInfoProto::default())), &["training_info"]),
        case("no type", regraphed(|g| g.input[0].r#type = None), &["input `x`"]),
    ]);
}

#[test]
fn row_57_names_are_text_of_sane_length() {
    let mut bytes = File::from(network()).0;
    let at = bytes.windows(4).position(|window| window == b"conv").unwrap();
    bytes[at] = 0xff;
    let long = "n".repeat(1 << 20);
    refused([
        case("not UTF-8", bytes, &["m.onnx", "UTF-8"]),
        case("1 MB", renode("relu", |n| n.name = Some(long.clone())), &["1048576 bytes", "--limit name-bytes"]),
        case("1 MB of a value", regraphed(|g| g.value_info.push(value(&long, &[1]))), &["1048576 bytes"]),
        case("1 MB of a symbol", regraphed(|g| g.input[0] = typed("x", 1, &[open(&long), size(3), size(8), size(8)])), &["1048576 bytes"]),
        case("1 MB of an attribute", renode("conv", |n| n.attribute[0].name = Some(long.clone())), &["1048576 bytes"]),
    ]);
}

#[test]
fn row_57_names_cannot_steer_a_terminal_or_break_json() {
    let name = "a\u{1b}[2J\n\r\"</script>\u{202e}\u{0}b";
    let model = regraphed(|g| {
        let relu = find(g, "relu");
        relu.name = Some(name.into());
        relu.output[0] = name.into();
        find(g, "conv2").input[0] = name.into();
    });
    let bad = renode("relu", |n| (n.name, n.input[0]) = (Some(name.into()), "nobody\u{1b}[1m".into()));
    let place = Place::with(&File::from(model).0);
    for arguments in [vec!["inspect", "m.onnx"], quantize(&[]), quantize(&["--exclude", "nothing"])] {
        let run = place.run(&arguments);
        assert!(!(run.stdout + &run.stderr).contains(['\u{1b}', '\r', '\u{202e}', '\0']), "{arguments:?}");
    }
    let report = place.run(&quantize(&["--json"]));
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    serde_json::from_str::<serde_json::Value>(&report.stdout).unwrap();
    let drawn = place.run(&["sensitivity", "m.onnx", "-n", "4", "--steps", "1", "--plot", "p.svg", "-q"]);
    assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
    let drawing = std::fs::read_to_string(place.path().join("p.svg")).unwrap();
    assert!(!drawing.contains("</script>") && !drawing.contains(['\u{1b}', '\0']));
    let refused = Place::with(&File::from(bad).0).run(&["inspect", "m.onnx", "--json"]);
    assert!(refused.code == Some(2) && !refused.stderr.contains(['\u{1b}', '\r', '\0']), "{:?}", refused.stderr);
    serde_json::from_str::<serde_json::Value>(&refused.stdout).unwrap();
}

#[test]
fn row_58_time_grows_with_size_and_no_faster() {
    let chain = regraphed(|g| {
        let name = |i: usize| if i == 0 { "y".to_string() } else { format!("y{i}") };
        for i in 0..100_000 {
            g.node.push(node("Relu", "", &[&name(i)], &[&name(i + 1)]));
        }
        g.output[0].name = Some(name(100_000));
    });
    let backwards =
        ModelProto { graph: chain.graph.clone().map(|g| GraphProto { node: g.node.into_iter().rev().collect(), ..g }), ..chain.clone() };
    let crowd = regraphed(|g| g.initializer.extend((0..1_000_000).map(|i| floats(&format!("unused{i}"), &[1], &[1.0]))));
    for (what, model) in [("100 000 nodes", chain), ("100 000 nodes backwards", backwards), ("1 000 000 initializers", crowd)] {
        let place = Place::with(&File::from(model).0);
        let start = Instant::now();
        let run = place.run(&["inspect", "m.onnx", "-q"]);
        assert_eq!(run.code, Some(0), "{what}: {}", run.stderr);
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", start.elapsed());
    }
}
