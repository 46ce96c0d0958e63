use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, check};
use crate::ops::{Pad, Resize, ResizeLists};
use crate::tensor::TensorData;

/// Before: `Pad(x, pads, -, axes)` and `Resize(x, -, scales)` with `axes`, of some dimensions. After: both of all dimensions, each
/// in turn, where that is exact; and no empty tensors in place of inputs that are not given. Optimizers of ONNX Runtime 1.31 bring
/// channels last and read lists of axes as if they were of all dimensions.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn name_all_dimensions(graph: &mut Graph) -> Result<()> {
    let nodes: Vec<(NodeId, Node)> = graph.nodes().map(|(id, node)| (id, node.clone())).collect();
    for (id, node) in nodes {
        if node.is::<Pad>().is_some() {
            pad_all(graph, id, &node);
        } else if let Some(resize) = node.is::<Resize>() {
            drop_empty_inputs(graph, id);
            resize_all(graph, id, resize);
        }
    }
    check(graph)
}

fn pad_all(graph: &mut Graph, id: NodeId, node: &Node) {
    let integers = |index: usize| graph.constant(node.input(index)?)?.to_i64();
    let rank = node.input(0).and_then(|x| Some(graph.value(x).shape.as_ref()?.len()));
    let (Some(pads), Some(axes), Some(rank)) = (integers(1), integers(3), rank) else { return };
    let Ok(amounts) = Pad::amounts(&pads, Some(axes), rank) else { return };
    let (before, after): (Vec<i64>, Vec<i64>) = amounts.into_iter().unzip();
    set_list(graph, id, 1, "pads", TensorData::vector([before, after].concat()));
    graph.set_input(id, 3, None);
}

fn resize_all(graph: &mut Graph, id: NodeId, resize: &Resize) {
    let node = graph.node(id);
    let given = |index: usize| node.input(index).map_or(Some(None), |value| graph.constant(value).map(Some));
    let (Some(roi), Some(scales), Some(sizes)) = (given(1), given(2), given(3)) else { return };
    let lists = ResizeLists {
        roi: roi.and_then(TensorData::to_f32),
        scales: scales.and_then(TensorData::to_f32),
        sizes: sizes.and_then(TensorData::to_i64),
    };
    let shape = node.input(0).and_then(|x| graph.value(x).shape.as_ref()).filter(|_| resize.axes.is_some());
    let Some((resize, lists)) = shape.and_then(|shape| resize.of_all_dimensions(shape, &lists)) else { return };
    let tensors = [("roi", lists.roi.map(TensorData::vector)), ("scales", lists.scales.map(TensorData::vector))];
    let tensors = tensors.into_iter().chain([("sizes", lists.sizes.map(TensorData::vector))]);
    graph.set_operator(id, Arc::new(resize));
    for (index, (name, tensor)) in tensors.enumerate() {
        match tensor {
            Some(tensor) => set_list(graph, id, index + 1, name, tensor),
            None => graph.set_input(id, index + 1, None),
        }
    }
}

fn set_list(graph: &mut Graph, id: NodeId, index: usize, name: &str, tensor: TensorData) {
    let name = graph.unused_name(&format!("{}_{name}", graph.node(id).name));
    let list = graph.add_constant(name, tensor);
    graph.set_input(id, index, Some(list));
}

/// An empty tensor stood for an input that was not given up to set 12; since set 18 it counts as given. A region is read by
/// one way to count coordinates alone.
pub(super) fn drop_empty_inputs(graph: &mut Graph, id: NodeId) {
    let reads_region = graph.node(id).is::<Resize>().is_some_and(Resize::reads_region);
    for index in 1..graph.node(id).inputs.len() {
        let given = graph.node(id).input(index).and_then(|value| graph.constant(value));
        if given.is_some_and(TensorData::is_empty) || index == 1 && !reads_region {
            graph.set_input(id, index, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, assert_same_function};
    use crate::ops::Attributes;
    use crate::passes::infer_shapes;

    /// The numbers of the inputs of the node that makes `y`, without the first.
    fn lists(graph: &Graph) -> Vec<Option<Vec<f32>>> {
        let (_, node) = graph.producer(graph.outputs[0]).unwrap();
        node.inputs[1..].iter().map(|value| graph.constant((*value)?)?.to_f32()).collect()
    }

    fn after(graph: &Graph) -> Graph {
        let mut after = graph.clone();
        name_all_dimensions(&mut after).unwrap();
        infer_shapes(&mut after).unwrap();
        assert_same_function(graph, &after);
        after
    }

    #[test]
    fn pads_of_some_dimensions_in_any_order_become_pads_of_all() {
        let cases: [(&[i64], &[i64], [f32; 8]); 3] = [
            (&[1, 2, 0, 1], &[2, 3], [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0]),
            (&[1, 2, 3, 4], &[-1, -2], [0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 4.0, 3.0]),
            (&[1, 2, 0, 0, 0, 3, 0, 0], &[2, 3, 0, 1], [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 3.0]),
        ];
        for (pads, axes, wanted) in cases {
            let graph = Sketch::new(&[0, 2, 5, 4]).integers("p", pads).integers("a", axes).scalar("v", 0.5);
            let graph = after(&graph.plain("y", "Pad", "x p v a").outputs("y"));
            assert_eq!(lists(&graph), [Some(wanted.to_vec()), Some(vec![0.5]), None]);
        }
    }

    struct Case {
        shape: [usize; 4],
        attributes: Attributes,
        inputs: &'static str,
        /// roi, scales, sizes; `None` where the axes must stay.
        wanted: Option<[Option<Vec<f32>>; 3]>,
    }

    #[test]
    fn a_resize_of_some_dimensions_becomes_one_of_all_where_that_is_exact() {
        let axes = |axes: &[i64]| Attributes::default().ints("axes", axes);
        let policy = |name: &str| axes(&[2, 3]).string("keep_aspect_ratio_policy", name);
        let crop = axes(&[3, 2]).string("coordinate_transformation_mode", "tf_crop_and_resize");
        let scales = |scales: [f32; 4]| Some([None, Some(scales.to_vec()), None]);
        let sizes = |sizes: [f32; 4]| Some([None, None, Some(sizes.to_vec())]);
        let region = Some(vec![0.0, 0.0, 0.25, 0.0, 1.0, 1.0, 1.0, 0.5]);
        let cases = [
            Case { shape: [0, 2, 6, 4], attributes: axes(&[-1, -2]), inputs: "none scales", wanted: scales([1.0, 1.0, 1.5, 2.0]) },
            Case { shape: [1, 2, 6, 4], attributes: axes(&[3, 2]), inputs: "none none sizes", wanted: sizes([1.0, 2.0, 9.0, 12.0]) },
            Case { shape: [0, 2, 6, 8], attributes: axes(&[3, 2]), inputs: "none none sizes", wanted: scales([1.0, 1.0, 1.5, 1.5]) },
            Case { shape: [0, 2, 7, 8], attributes: axes(&[3, 2]), inputs: "- - sizes", wanted: None },
            Case { shape: [0, 2, 6, 6], attributes: policy("not_larger"), inputs: "- - sizes", wanted: scales([1.0, 1.0, 1.5, 1.5]) },
            Case { shape: [0, 2, 6, 6], attributes: policy("not_smaller"), inputs: "- - sizes", wanted: scales([1.0, 1.0, 2.0, 2.0]) },
            Case { shape: [1, 2, 7, 6], attributes: policy("not_larger"), inputs: "- - sizes", wanted: None },
            Case {
                shape: [1, 2, 6, 4],
                attributes: crop,
                inputs: "roi none sizes",
                wanted: Some([region, None, Some(vec![1.0, 2.0, 9.0, 12.0])]),
            },
        ];
        for Case { shape, attributes, inputs, wanted } in cases {
            let sketch = Sketch::new(&shape).constant("none", TensorData::vector::<f32>(vec![])).integers("sizes", &[12, 9]);
            let sketch = sketch.constant("scales", TensorData::vector(vec![2.0f32, 1.5]));
            let sketch = sketch.constant("roi", TensorData::vector(vec![0.0f32, 0.25, 0.5, 1.0]));
            let graph = after(&sketch.node("y", "Resize", &format!("x {inputs}"), attributes).outputs("y"));
            let (_, node) = graph.producer(graph.outputs[0]).unwrap();
            assert_eq!(node.is::<Resize>().unwrap().axes.is_none(), wanted.is_some(), "{inputs}");
            let found = lists(&graph);
            wanted.iter().flatten().enumerate().for_each(|(index, list)| assert_eq!(found.get(index).cloned().flatten(), *list));
        }
    }

    #[test]
    fn empty_inputs_and_a_region_that_nobody_reads_are_dropped() {
        for inputs in ["x none none sizes", "x roi none sizes"] {
            let sketch = Sketch::new(&[1, 2, 6, 4]).constant("none", TensorData::vector::<f32>(vec![]));
            let sketch = sketch.constant("roi", TensorData::vector(vec![0.0f32; 8])).integers("sizes", &[1, 2, 3, 8]);
            let graph = after(&sketch.plain("y", "Resize", inputs).outputs("y"));
            assert_eq!(lists(&graph), [None, None, Some(vec![1.0, 2.0, 3.0, 8.0])]);
        }
    }
}
