//! Claims about whole models: what is read, what is refused, and what is written.

use std::path::Path;

use prost::Message;

use super::messages::*;
use super::samples::*;
use super::{Limits, Model, from_bytes, load, to_bytes, value_info};
use crate::error::{Error, Result};
use crate::graph::Dim;
use crate::passes::{bind_shapes, infer_shapes};
use crate::tensor::{DataType, TensorData};

fn read(model: &ModelProto) -> Result<Model> {
    from_bytes(encoded(model), Path::new("sample.onnx"), &Limits::default())
}

fn written(model: &Model) -> ModelProto {
    ModelProto::decode(&to_bytes(model).unwrap()[..]).unwrap()
}

fn changed(change: impl FnOnce(&mut ModelProto, &mut GraphProto)) -> ModelProto {
    let mut model = convolution();
    let mut graph = model.graph.take().unwrap();
    change(&mut model, &mut graph);
    model.graph = Some(graph);
    model
}

fn names(infos: &[ValueInfoProto]) -> Vec<&str> {
    infos.iter().filter_map(|info| info.name.as_deref()).collect()
}

#[test]
fn a_file_decodes_and_encodes_to_the_same_bytes() {
    let model = changed(|model, graph| {
        model.doc_string = Some(String::new());
        model.model_version = Some(0);
        graph.node[0].overload = Some("o".into());
        graph.node[0].metadata_props = model.metadata_props.clone();
        graph.quantization_annotation = vec![TensorAnnotation { tensor_name: Some("w".into()), ..Default::default() }];
    });
    let bytes = encoded(&model);
    assert_eq!(encoded(&ModelProto::decode(&bytes[..]).unwrap()), bytes);
    assert!(read(&model).unwrap().warnings.is_empty());
}

#[test]
fn reads_names_shapes_and_constants() {
    let model = read(&convolution()).unwrap();
    let graph = &model.graph;
    let input = graph.value(graph.inputs[0]);
    let shape = vec![Dim::Symbol("batch".into()), Dim::Known(1), Dim::Known(3), Dim::Known(3)];
    assert_eq!((input.name.as_str(), input.data_type, input.shape.clone()), ("x", Some(DataType::F32), Some(shape)));
    assert_eq!(graph.nodes().map(|(_, node)| node.operator.name().to_string()).collect::<Vec<_>>(), ["Conv", "Relu"]);
    let weight = graph.constant(graph.find_value("w").unwrap()).unwrap();
    assert_eq!((weight.shape(), weight.to_f32().unwrap()[7]), (&[2usize, 1, 2, 2][..], -4.0));
    assert_eq!((model.opset, model.output_opset(), model.ir_version), (17, 17, 8));
    assert_eq!((model.metadata("origin"), model.producer().as_str(), model.sha256.len()), (Some("test"), "sample", 64));
}

#[test]
fn writes_what_it_read() {
    let original = convolution();
    let mut model = read(&original).unwrap();
    model.set_metadata("seed", "1");
    model.set_metadata("seed", "2");
    let proto = written(&model);
    let (before, after) = (original.graph.unwrap(), proto.graph.unwrap());
    assert_eq!((after.input, after.output, after.name), (before.input, before.output, before.name));
    assert_eq!(after.initializer, before.initializer);
    assert_eq!(after.node[0].input, strings(&["x", "w"]));
    assert!(after.value_info.is_empty());
    assert_eq!((proto.producer_name.as_deref(), proto.ir_version, proto.metadata_props.len()), (Some("zeroq"), Some(8), 2));
    assert_eq!(to_bytes(&read(&written(&model)).unwrap()).unwrap(), to_bytes(&model).unwrap(), "writing is idempotent");
}

#[test]
fn accepts_unusual_but_sound_models() {
    let constant = |output: &str| {
        let mut proto = node("Constant", "", &[], &[output]);
        proto.attribute = vec![AttributeProto {
            name: Some("value".into()),
            r#type: Some(attribute_type::TENSOR),
            t: Some(Box::new(TensorProto { name: None, ..floats("", &[2, 1, 2, 2], &[0.5; 8]) })),
            ..Default::default()
        }];
        proto
    };
    let cases: [(&str, ModelProto); 6] = [
        ("nodes out of order", changed(|_, g| g.node.reverse())),
        ("no names", changed(|_, g| g.node.iter_mut().for_each(|n| n.name = None))),
        ("the same name twice", changed(|_, g| g.node.iter_mut().for_each(|n| n.name = Some("conv".into())))),
        ("an output that is an input", changed(|_, g| g.output.push(value("x", &[])))),
        ("an output that is an initializer", changed(|_, g| g.output.push(value("w", &[])))),
        (
            "weights in a Constant node",
            changed(|_, g| {
                g.initializer.clear();
                g.node.push(constant("w"));
            }),
        ),
    ];
    for (what, proto) in cases {
        let model = read(&proto).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(model.graph.node_count(), 2, "{what}");
        assert_eq!(model.graph.inputs.len(), 1, "{what}");
        let (before, after) = (proto.graph.unwrap(), written(&model).graph.unwrap());
        assert_eq!((names(&after.input), names(&after.output)), (names(&before.input), names(&before.output)), "{what}");
        assert_eq!(names_of_nodes(&after).len(), 2, "{what}");
        assert_eq!(after.initializer.len(), 1, "{what}");
    }
}

#[test]
fn initializers_are_no_inputs_of_what_is_written() {
    for (ir_version, notes) in [(3, 0), (4, 1), (8, 1)] {
        let model = read(&changed(|m, g| {
            m.ir_version = Some(ir_version);
            g.input.push(value("w", &[Ok(2), Ok(1), Ok(2), Ok(2)]));
        }))
        .unwrap();
        assert_eq!(names(&written(&model).graph.unwrap().input), ["x"]);
        assert_eq!(model.notes.iter().filter(|note| note.contains("1 inputs have a value in the file")).count(), notes);
    }
}

#[test]
fn sizes_that_an_open_input_is_bound_to_are_declared_and_so_is_what_follows_from_them() {
    let dims = |info: &ValueInfoProto| value_info::read(info).unwrap().1.unwrap();
    let open = changed(|_, g| {
        g.input[0] = value("x", &[Err("n"), Ok(1), Err("h"), Err("w")]);
        g.output[0] = value("y", &[Err("n"), Ok(2), Err("h"), Err("w")]);
    });
    let mut model = read(&open).unwrap();
    let sizes = |graph: GraphProto| (dims(&graph.input[0]), dims(&graph.output[0]));
    assert_eq!(sizes(written(&model).graph.unwrap()), sizes(open.graph.unwrap()));
    bind_shapes(&mut model.graph, &[("x".to_string(), vec![1, 1, 6, 4])].into()).unwrap();
    infer_shapes(&mut model.graph).unwrap();
    let (input, output) = sizes(written(&model).graph.unwrap());
    let text = |dims: Vec<Dim>| dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!((text(input), text(output)), ("n 1 6 4".to_string(), "n 2 5 3".to_string()));
}

fn names_of_nodes(graph: &GraphProto) -> std::collections::BTreeSet<&str> {
    graph.node.iter().filter_map(|node| node.name.as_deref()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn refuses_models_that_contradict_themselves() {
    let cases: Vec<(&str, ModelProto)> = vec![
        ("the graph has no nodes", changed(|_, g| g.node.clear())),
        ("the graph has no outputs", changed(|_, g| g.output.clear())),
        ("operator set 6", changed(|m, _| m.opset_import[0].version = Some(6))),
        ("IR version 2", changed(|m, _| m.ir_version = Some(2))),
        ("node `relu` (Relu): its input `nobody` comes from nowhere", changed(|_, g| g.node[1].input[0] = "nobody".into())),
        ("output `c` has another source", changed(|_, g| g.node[1].output[0] = "c".into())),
        ("output `x` has another source", changed(|_, g| g.node[1].output[0] = "x".into())),
        ("output `w` has another source", changed(|_, g| g.node[1].output[0] = "w".into())),
        ("output `y` stands twice", changed(|_, g| g.node[1].output.push("y".into()))),
        ("graph output `z` comes from nowhere", changed(|_, g| g.output[0].name = Some("z".into()))),
        ("graph output `y` stands twice", changed(|_, g| g.output.push(value("y", &[])))),
        ("graph input `x` has no name or stands twice", changed(|_, g| g.input.push(value("x", &[])))),
        ("two initializers", changed(|_, g| g.initializer.push(g.initializer[0].clone()))),
        ("an initializer has no name", changed(|_, g| g.initializer[0].name = None)),
        ("tensor `w`: dims [-2, 1, 2, 2]: -2 is negative", changed(|_, g| g.initializer[0].dims[0] = -2)),
        ("tensor `w`: dims [1099511627776, 1099511627776, 2, 2] are more", changed(|_, g| g.initializer[0].dims[..2].fill(1 << 40))),
        ("tensor `w`: dims [3, 1, 2, 2] of f32 need 48 bytes", changed(|_, g| g.initializer[0].dims[0] = 3)),
        ("tensor `w`: element 1 is NaN", changed(|_, g| g.initializer[0] = floats("w", &[2], &[0.0, f32::NAN]))),
        ("tensor `w`: element 0 is inf", changed(|_, g| g.initializer[0] = floats("w", &[1], &[f32::INFINITY]))),
        ("tensor `w`: string tensors", changed(|_, g| g.initializer[0].data_type = Some(8))),
        ("training_info", changed(|m, _| m.training_info.push(TrainingInfoProto::default()))),
        ("sparse initializer", changed(|_, g| g.sparse_initializer.push(SparseTensorProto::default()))),
        ("domain `other` is not in opset_import", changed(|_, g| g.node[1].domain = Some("other".into()))),
        ("names no operator", changed(|_, g| g.node[1].op_type = None)),
        ("graph input `x`: a sequence", changed(|_, g| g.input[0].r#type = Some(sequence()))),
        ("graph input `x` has no element type", changed(|_, g| g.input[0].r#type = None)),
        ("longer than the limit", changed(|_, g| g.node[1].name = Some("n".repeat(70_000)))),
        ("no graph", ModelProto { graph: None, ..convolution() }),
    ];
    for (wanted, proto) in cases {
        let message = read(&proto).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message} should say {wanted}");
    }
}

fn sequence() -> TypeProto {
    TypeProto { sequence_type: Some(Box::default()), ..Default::default() }
}

#[test]
fn names_the_nodes_of_a_cycle() {
    let proto = changed(|_, g| {
        g.node.push(node("Identity", "back", &["y"], &["b"]));
        g.node[0].input[0] = "b".into();
    });
    let message = read(&proto).unwrap_err().to_string();
    assert!(message.contains("cycle") && message.contains("`back`") && message.contains("`conv`"), "{message}");
}

#[test]
fn names_all_refused_nodes_at_once() {
    let text = |output: &str| {
        let mut proto = node("Constant", output, &[], &[output]);
        let kind = attribute_type::STRING;
        proto.attribute =
            vec![AttributeProto { name: Some("value_string".into()), r#type: Some(kind), s: Some(vec![]), ..Default::default() }];
        proto
    };
    match read(&changed(|_, g| g.node.extend([text("one"), text("two")]))) {
        Err(Error::Unsupported(lines)) => assert_eq!((lines.len(), lines[1].starts_with("node `two` (Constant): ")), (2, true)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn raises_old_operator_sets_and_says_so() {
    let model = read(&changed(|m, g| {
        m.opset_import[0].version = Some(9);
        m.ir_version = Some(3);
        g.input.push(value("w", &[]));
        g.node[1].op_type = Some("Mystery".into());
    }))
    .unwrap();
    assert_eq!((model.opset, model.output_opset()), (9, 17));
    assert!(model.notes.iter().any(|note| note.contains("raised from 9 to 17")));
    assert!(model.warnings.iter().any(|warning| warning.contains("`relu` (Mystery)")));
    let proto = written(&model);
    assert_eq!((proto.opset_import[0].version, proto.ir_version), (Some(17), Some(8)));
    assert_eq!(names(&proto.graph.unwrap().input), ["x"], "the old rule made it list its initializers");
}

#[test]
fn writes_foreign_nodes_as_they_came() {
    let body = GraphProto { node: vec![node("Neg", "inner", &["c"], &["n"])], output: vec![value("n", &[])], ..Default::default() };
    let proto = changed(|m, g| {
        m.opset_import.push(OperatorSetIdProto { domain: Some("other".into()), version: Some(3) });
        let mut odd = node("Odd", "odd", &["c", "", "w"], &["", "o"]);
        odd.domain = Some("other".into());
        odd.doc_string = Some("kept".into());
        odd.overload = Some("kept".into());
        odd.attribute = vec![graph_attribute("body", body), ints("b", &[]), ints("a", &[3])];
        g.node.push(odd);
        g.output.push(value("o", &[]));
    });
    let mut model = read(&proto).unwrap();
    let (id, odd) = model.graph.nodes().find(|(_, n)| n.name == "odd").unwrap();
    assert_eq!(odd.inputs.len(), 4, "the captured value stands behind its own inputs");
    let captured = odd.input(3).unwrap();
    let original = proto.graph.unwrap().node[2].clone();
    assert!(written(&model).graph.unwrap().node.contains(&original));
    model.graph.rename_value(captured, "renamed");
    assert_eq!(model.graph.node(id).name, "odd");
    let nodes = written(&model).graph.unwrap().node;
    let alias = nodes.iter().find(|n| n.op_type.as_deref() == Some("Identity")).unwrap();
    assert_eq!((alias.input[0].as_str(), alias.output[0].as_str()), ("renamed", "c"));
}

#[test]
fn patches_the_type_of_inputs_and_outputs() {
    let mut model = read(&convolution()).unwrap();
    let input = model.graph.inputs[0];
    let shape = model.graph.value(input).shape.clone();
    model.graph.set_facts(input, Some(DataType::F16), shape);
    let graph = written(&model).graph.unwrap();
    let tensor = graph.input[0].r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    assert_eq!(tensor.elem_type, Some(10));
    assert_eq!(tensor.shape.as_ref().unwrap().dim[0].dim_param.as_deref(), Some("batch"));
}

#[test]
fn writes_models_that_were_built_in_memory() {
    let mut graph = crate::graph::Graph::default();
    graph.opset = 17;
    let constant = graph.add_constant("k", TensorData::vector(vec![1i8, -1]));
    graph.outputs.push(constant);
    let proto = written(&Model::from_graph(graph));
    assert_eq!(names(&proto.graph.unwrap().output), ["k"]);
}

#[test]
fn brings_external_data_inline() {
    let folder = tempfile::tempdir().unwrap();
    let proto = changed(|_, g| {
        let raw = g.initializer[0].raw_data.take().unwrap();
        std::fs::write(folder.path().join("w.bin"), &raw).unwrap();
        g.initializer[0].data_location = Some(1);
        g.initializer[0].external_data = vec![StringStringEntryProto { key: Some("location".into()), value: Some("w.bin".into()) }];
    });
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, encoded(&proto)).unwrap();
    let model = load(&path, &Limits::default()).unwrap();
    assert_eq!(model.file_bytes, encoded(&proto).len() as u64 + 32);
    assert_eq!(written(&model).graph.unwrap().initializer, convolution().graph.unwrap().initializer);
    let message = super::check_output(&model, folder.path().join("w.bin"), true).unwrap_err().to_string();
    assert!(message.contains("overwrite the input"), "{message}");
}

#[test]
fn refuses_files_that_are_no_models() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let cases: [(&[u8], &str); 4] =
        [(b"", "empty"), (b"version https://git-lfs", "git lfs pull"), (&[0xff; 64], "not an ONNX model"), (b"\x08\x08", "no graph")];
    for (bytes, wanted) in cases {
        std::fs::write(&path, bytes).unwrap();
        let message = load(&path, &Limits::default()).unwrap_err().to_string();
        assert!(message.contains(wanted) && message.contains("m.onnx"), "{message} should say {wanted}");
    }
    let small = Limits { file_bytes: 1, ..Default::default() };
    assert!(load(&path, &small).unwrap_err().to_string().contains("limit of 1 bytes"));
    assert!(load(folder.path(), &Limits::default()).unwrap_err().to_string().contains("this is a folder"));
    assert!(load(folder.path().join("missing"), &Limits::default()).is_err());
}

#[test]
fn refuses_names_that_are_not_utf8_and_deep_nesting() {
    let mut bytes = encoded(&convolution());
    let at = bytes.windows(4).position(|window| window == b"conv").unwrap();
    bytes[at] = 0xff;
    let message = from_bytes(bytes, Path::new("m"), &Limits::default()).unwrap_err().to_string();
    assert!(message.contains("UTF-8"), "{message}");
    let mut graph = GraphProto::default();
    for _ in 0..150 {
        let mut outer = node("If", "if", &[], &["o"]);
        outer.attribute = vec![graph_attribute("g", graph)];
        graph = GraphProto { node: vec![outer], ..Default::default() };
    }
    let message = read(&model(17, graph)).unwrap_err().to_string();
    assert!(message.contains("recursion limit"), "{message}");
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let proto = changed(|_, g| {
        g.initializer.push(TensorProto {
            int32_data: vec![1, 2],
            dims: vec![2],
            data_type: Some(10),
            name: Some("h".into()),
            ..Default::default()
        });
        g.node.push(node("Mystery", "m", &["c", "h"], &["unused"]));
        g.output[0].r#type.as_mut().unwrap().denotation = Some("image".into());
    });
    let bytes = encoded(&proto);
    read(&proto).unwrap();
    for end in 0..bytes.len() {
        let _ = from_bytes(bytes[..end].to_vec(), Path::new("m"), &Limits::default());
    }
    for at in 0..bytes.len() {
        for flip in [0x01, 0x02, 0x08, 0x40, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            if let Ok(model) = from_bytes(damaged, Path::new("m"), &Limits::default()) {
                let _ = to_bytes(&model);
            }
        }
    }
}
