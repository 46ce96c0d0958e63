use std::sync::Arc;

use super::fold_constants;
use super::name_all_dimensions::drop_empty_inputs;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, check};
use crate::ops::{BatchNormalization, Foreign, GridSample, GroupNormalization, Reduce, ReducedAxes, Resize, RoiAlign, Split};
use crate::tensor::TensorData;

/// The first operator set whose quantizers know integers of 4 and of 16 bits.
const WANTED: i64 = 21;

/// How a RoiAlign counts coordinates if a set below 16 says nothing.
const OLD_COORDINATES: &str = "output_half_pixel";

/// Operators, and since which set (up to [`WANTED`]) a node that was written before is not valid any more or means something
/// else. Later versions of all others only take more types, or more attributes whose defaults mean what was meant before.
const REWRITTEN: [(&str, i64); 30] = [
    ("BatchNormalization", 14),
    ("Clip", 11),
    ("DFT", 20),
    ("Dropout", 12),
    ("GridSample", 20),
    ("GroupNormalization", 21),
    ("Hardmax", 13),
    ("LogSoftmax", 13),
    ("Pad", 11),
    ("ReduceL1", 18),
    ("ReduceL2", 18),
    ("ReduceLogSum", 18),
    ("ReduceLogSumExp", 18),
    ("ReduceMax", 18),
    ("ReduceMean", 18),
    ("ReduceMin", 18),
    ("ReduceProd", 18),
    ("ReduceSum", 13),
    ("ReduceSumSquare", 18),
    ("Resize", 18),
    ("RoiAlign", 16),
    ("Scan", 9),
    ("Scatter", 11),
    ("Slice", 10),
    ("Softmax", 13),
    ("Split", 18),
    ("Squeeze", 13),
    ("TopK", 11),
    ("Unsqueeze", 13),
    ("Upsample", 10),
];

/// Raises the graph to operator set 21, which integers of 4 and 16 bits need; a graph of this set or a later one stays.
/// Foreign nodes are kept as they are, in the form of set `written_in`; other domains are not touched.
///
/// # Errors
/// If nodes cannot be raised: all of them are named.
pub fn upgrade_opset(graph: &mut Graph, written_in: i64) -> Result<()> {
    if graph.opset >= WANTED {
        return Ok(());
    }
    graph.restore_made()?;
    let refuse = |node: &Node| {
        let reason = obstacle(graph, node, written_in)?;
        Some(format!("node `{}` ({}): {reason}, and integers of 4 or 16 bits need set {WANTED}", node.name, node.operator.name()))
    };
    let refused: Vec<String> = graph.nodes().filter_map(|(_, node)| refuse(node)).collect();
    if !refused.is_empty() {
        return Err(Error::Unsupported(refused));
    }
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in nodes {
        raise(graph, id);
    }
    graph.opset = WANTED;
    fold_constants(graph)?;
    check(graph)
}

/// Why `node` cannot be raised.
fn obstacle(graph: &Graph, node: &Node, written_in: i64) -> Option<String> {
    if node.is::<GroupNormalization>().is_some() && scales_of_channels(graph, node).is_none() {
        return Some("its scales must be constant, and its channels known".to_string());
    }
    let Some(foreign) = node.is::<Foreign>().filter(|foreign| foreign.domain.is_empty()) else {
        let trains = node.is::<BatchNormalization>().is_some() && node.outputs.iter().flatten().count() > 1;
        return trains.then(|| "its outputs beyond the first are not those of later operator sets".to_string());
    };
    let changed = |name: &str| REWRITTEN.iter().find(|(other, since)| *other == name && written_in < *since);
    if let Some((name, since)) = foreign.inner.iter().find_map(|name| changed(name)) {
        return Some(format!("its subgraph has a {name} written in operator set {written_in}, and set {since} changed its form"));
    }
    let (_, since) = changed(&foreign.op_type)?;
    Some(format!("it is written in operator set {written_in}, and set {since} changed its form"))
}

fn raise(graph: &mut Graph, id: NodeId) {
    let node = graph.node(id).clone();
    if let Some(reduce) = node.is::<Reduce>() {
        list_axes(graph, id, reduce);
    } else if let Some(split) = node.is::<Split>().filter(|_| node.input(1).is_none()) {
        graph.set_operator(id, Arc::new(Split { counted: true, ..*split }));
    } else if let Some(scales) = node.is::<GroupNormalization>().and_then(|_| scales_of_channels(graph, &node)) {
        repeat_scales(graph, id, scales);
    } else if node.is::<Resize>().is_some() {
        drop_empty_inputs(graph, id);
    } else if let Some(sample) = node.is::<GridSample>() {
        graph.set_operator(id, Arc::new(GridSample { old_names: false, ..*sample }));
    } else if let Some(align) = node.is::<RoiAlign>().filter(|align| align.coordinates.is_none()) {
        graph.set_operator(id, Arc::new(RoiAlign { coordinates: Some(OLD_COORDINATES.to_string()), ..align.clone() }));
    }
}

/// Scale and bias of a GroupNormalization, which stood for groups before set 21, repeated for every channel.
fn scales_of_channels(graph: &Graph, node: &Node) -> Option<Vec<TensorData>> {
    let channels = graph.value(node.input(0)?).shape.as_ref()?.get(1)?.known()?;
    let repeat = |index: usize| {
        let given = graph.constant(node.input(index)?)?.to_f32()?;
        let times = channels.checked_div(given.len())?;
        Some(TensorData::vector(given.iter().flat_map(|x| std::iter::repeat_n(*x, times)).collect::<Vec<f32>>()))
    };
    [1, 2].into_iter().map(repeat).collect()
}

fn repeat_scales(graph: &mut Graph, id: NodeId, scales: Vec<TensorData>) {
    for (index, tensor) in scales.into_iter().enumerate() {
        let name = graph.unused_name(&format!("{}_scale_{index}", graph.node(id).name));
        let input = graph.add_constant(name, tensor);
        graph.set_input(id, index + 1, Some(input));
    }
}

/// Axes are an input since set 18.
fn list_axes(graph: &mut Graph, id: NodeId, reduce: &Reduce) {
    let Some(list) = reduce.axes.axes.clone() else { return };
    let name = graph.unused_name(&format!("{}_axes", graph.node(id).name));
    let input = graph.add_constant(name, TensorData::vector(list));
    graph.set_input(id, 1, Some(input));
    let axes = ReducedAxes { axes: None, ..reduce.axes.clone() };
    graph.set_operator(id, Arc::new(Reduce { reduction: reduce.reduction, axes }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, assert_same_function};
    use crate::ops::{Attributes, Operator};

    fn foreign(op_type: &str, domain: &str, inner: &[&str]) -> Arc<dyn Operator> {
        let (op_type, domain) = (op_type.to_string(), domain.to_string());
        let inner = inner.iter().map(|name| name.to_string()).collect();
        Arc::new(Foreign { op_type, domain, attributes: Attributes::default(), own_inputs: 1, inner, reason: "unknown".to_string() })
    }

    /// A Relu, and behind it an operator that zeroq does not know.
    fn with_foreign(operator: Arc<dyn Operator>) -> Graph {
        let mut graph = Sketch::new(&[1, 3]).plain("r", "Relu", "x").plain("y", "Relu", "r").outputs("y");
        let (id, _) = graph.producer(graph.outputs[0]).unwrap();
        graph.set_operator(id, operator);
        graph
    }

    #[test]
    fn attributes_that_later_sets_want_as_inputs_become_inputs() {
        let axes = Attributes::default().ints("axes", &[2, 3]).int("keepdims", 1);
        let sketch = Sketch::new(&[1, 4, 6, 6]).node("m", "ReduceMean", "x", axes.clone()).node("n", "ReduceMax", "x", axes);
        let sketch = sketch.plain("a", "Add", "m n").plain("all", "ReduceMax", "x").plain("b", "Add", "a all");
        let sketch = sketch.integers("roi", &[]).constant("scales", TensorData::vector::<f32>(vec![]));
        let sketch = sketch.integers("sizes", &[1, 4, 2, 2]).plain("y", "Resize", "b roi scales sizes");
        let graph = sketch.outputs("y");
        let mut after = graph.clone();
        upgrade_opset(&mut after, 17).unwrap();
        let wanted = [
            "(x)",
            "m = ReduceMean(x, m_axes)",
            "n = ReduceMax(x, n_axes)",
            "a = Add(m, n)",
            "all = ReduceMax(x)",
            "b = Add(a, all)",
            "y = Resize(b, -, -, sizes)",
            "-> y",
        ];
        assert_eq!(after.to_string().lines().map(str::trim).collect::<Vec<_>>(), wanted);
        assert_eq!(after.opset, 21);
        assert_same_function(&graph, &after);
    }

    #[test]
    fn operators_that_changed_names_say_the_same_in_the_new_ones() {
        let sketch = Sketch::new(&[1, 3, 8, 8]).constant("r", TensorData::new(&[1, 4], vec![0.0f32, 1.0, 5.0, 6.0]));
        let sketch = sketch.constant("g", TensorData::new(&[1, 2, 1, 2], vec![0.1f32, 0.5, -0.3, 1.0])).integers("b", &[0]);
        let bicubic = Attributes::default().string("mode", "bicubic");
        let mut graph = sketch.node("s", "GridSample", "x g", bicubic).plain("y", "RoiAlign", "x r b").outputs("s y");
        graph.opset = 15;
        let (id, node) = graph.producer(graph.outputs[1]).unwrap();
        let align = RoiAlign { coordinates: None, ..node.is::<RoiAlign>().unwrap().clone() };
        graph.set_operator(id, Arc::new(align));
        let mut after = graph.clone();
        upgrade_opset(&mut after, 15).unwrap();
        let attributes = |index: usize| after.producer(after.outputs[index]).unwrap().1.operator.attributes();
        assert_eq!(attributes(0).take_string("mode", "").as_deref(), Ok("cubic"));
        assert_eq!(attributes(1).take_string("coordinate_transformation_mode", "").as_deref(), Ok("output_half_pixel"));
        assert_same_function(&graph, &after);
    }

    #[test]
    fn a_split_into_equal_parts_tells_their_number() {
        let mut graph = Sketch::new(&[1, 4]).plain("y", "Split", "x").outputs("y");
        upgrade_opset(&mut graph, 17).unwrap();
        let (_, node) = graph.producer(graph.outputs[0]).unwrap();
        assert_eq!(node.operator.attributes(), Attributes::default().int("axis", 0).int("num_outputs", 1));
    }

    #[test]
    fn foreign_nodes_stay_where_nothing_changed_and_are_named_where_it_did() {
        let cases = [
            (foreign("ReduceMin", "", &[]), 17, Some("set 18 changed its form")),
            (foreign("ReduceMin", "", &[]), 18, None),
            (foreign("TopK", "", &[]), 10, Some("set 11 changed its form")),
            (foreign("TopK", "", &[]), 17, None),
            (foreign("Loop", "", &["Add", "ReduceMean"]), 17, Some("its subgraph has a ReduceMean written in operator set 17")),
            (foreign("Loop", "", &["Add", "ReduceMean"]), 18, None),
            (foreign("Loop", "", &["Add"]), 17, None),
            (foreign("Loop", "com.microsoft", &["ReduceMean"]), 17, None),
            (foreign("NonMaxSuppression", "", &[]), 11, None),
        ];
        for (operator, written_in, wanted) in cases {
            let mut graph = with_foreign(operator);
            match (upgrade_opset(&mut graph, written_in), wanted) {
                (Ok(()), None) => assert_eq!(graph.opset, 21),
                (Err(error), Some(wanted)) => {
                    let message = error.to_string();
                    assert!(message.contains("node `y`") && message.contains(wanted), "{message} should say {wanted}");
                    assert_eq!(graph.opset, 17, "a refused graph stays as it is");
                }
                (result, wanted) => panic!("{result:?} instead of {wanted:?}"),
            }
        }
    }

    #[test]
    fn a_newer_graph_stays_in_its_set() {
        let mut graph = with_foreign(foreign("ReduceMin", "", &[]));
        graph.opset = 22;
        upgrade_opset(&mut graph, 22).unwrap();
        assert_eq!(graph.opset, 22);
    }
}
