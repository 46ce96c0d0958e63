//! How wide the integers of a plan are.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::plan::{ActivationPoint, QuantPlan};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::tensor::DataType;

/// Size of an integer, whatever its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Four,
    Eight,
    Sixteen,
}

impl Width {
    pub fn data_type(self, signed: bool) -> DataType {
        match (self, signed) {
            (Width::Four, false) => DataType::U4,
            (Width::Four, true) => DataType::I4,
            (Width::Eight, false) => DataType::U8,
            (Width::Eight, true) => DataType::I8,
            (Width::Sixteen, false) => DataType::U16,
            (Width::Sixteen, true) => DataType::I16,
        }
    }

    /// The width of an integer type that activations or weights may have.
    pub fn of(data_type: DataType) -> Option<Width> {
        let all = [Width::Four, Width::Eight, Width::Sixteen];
        all.into_iter().find(|width| [false, true].iter().any(|signed| width.data_type(*signed) == data_type))
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Width::Four => "4",
            Width::Eight => "8",
            Width::Sixteen => "16",
        })
    }
}

/// What weights and activations become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    pub weights: Width,
    pub activations: Width,
    /// The first and last layers are as narrow as the others; else they keep 8 bits.
    pub all_layers: bool,
}

impl Widths {
    pub const INT8: Widths = Widths { weights: Width::Eight, activations: Width::Eight, all_layers: false };

    /// Whether quantizers of the default domain know these types in every operator set that zeroq writes.
    pub fn fit_old_opsets(&self) -> bool {
        (self.weights, self.activations) == (Width::Eight, Width::Eight)
    }
}

impl fmt::Display for Widths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.weights, self.activations) {
            (Width::Eight, Width::Eight) => f.write_str("int8"),
            (weights, activations) => write!(f, "w{weights}a{activations}"),
        }
    }
}

/// Gives every weight and group of an 8-bit plan for `graph` its type. Where integers of 4 bits are wanted, weights and
/// inputs of the first and last layers, and what a graph input holds, keep 8 bits unless `widths.all_layers`; and so does
/// what no matrix product reads any more, since it is a result.
pub fn set_widths(graph: &Graph, plan: &mut QuantPlan, widths: &Widths) {
    let layers = Layers::find(graph);
    let ends: HashSet<NodeId> = if widths.all_layers { HashSet::new() } else { layers.ends(graph) };
    let at_ends = |index: usize| -> HashSet<ValueId> { ends.iter().filter_map(|id| graph.node(*id).input(index)).collect() };
    let (inputs, weights) = (at_ends(0), at_ends(1));
    for point in &mut plan.weights {
        point.data_type = narrowed(widths.weights, weights.contains(&point.value)).data_type(true);
    }
    for (index, group) in plan.groups.iter_mut().enumerate() {
        let values = || plan.activations.iter().filter(move |point| point.group == index).map(|point| point.value);
        let at_end = values().any(|value| inputs.contains(&value) || !widths.all_layers && graph.is_input(value));
        let is_result = !values().any(|value| layers.read_later.contains(&value));
        group.data_type = narrowed(widths.activations, at_end || is_result).data_type(plan.target.signed_activations());
    }
    move_behind_moves(graph, plan);
}

/// Moves pairs of 4 bits behind the operators that only move or select elements, which changes no number: between two equal
/// pairs ONNX Runtime would have them work on the integers, and many cannot on these.
fn move_behind_moves(graph: &Graph, plan: &mut QuantPlan) {
    let consumers = graph.consumers();
    let groups: HashMap<ValueId, usize> = plan.activations.iter().map(|point| (point.value, point.group)).collect();
    let moves_within = |group: usize, reader: &(NodeId, usize)| {
        let node = graph.node(reader.0);
        let outputs = || node.outputs.iter().flatten();
        node.operator.quantization_role() == QuantizationRole::PassThrough && outputs().any(|output| groups.get(output) == Some(&group))
    };
    let narrow: Vec<bool> = plan.groups.iter().map(|group| Width::of(group.data_type) == Some(Width::Four)).collect();
    let needed = |point: &mut ActivationPoint| {
        let all = point.readers.clone().unwrap_or_else(|| consumers[point.value.0 as usize].clone());
        let (moves, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|reader| moves_within(point.group, reader));
        if moves.is_empty() || !narrow[point.group] || graph.is_output(point.value) {
            return true;
        }
        let needed = !others.is_empty();
        point.readers = Some(others);
        needed
    };
    plan.activations.retain_mut(needed);
}

fn narrowed(wanted: Width, keeps_eight: bool) -> Width {
    if wanted == Width::Four && keeps_eight { Width::Eight } else { wanted }
}

/// Where values stand among the matrix products with constant weights.
struct Layers {
    products: Vec<NodeId>,
    /// Values that depend on such a product.
    behind: HashSet<ValueId>,
    /// Values that such a product depends on.
    read_later: HashSet<ValueId>,
}

impl Layers {
    fn find(graph: &Graph) -> Self {
        let is_product = |node: &Node| {
            let constant = node.input(1).is_some_and(|weight| graph.constant(weight).is_some());
            constant && node.operator.quantization_role() == QuantizationRole::Weighted
        };
        let (mut products, mut behind, mut read_later) = (Vec::new(), HashSet::new(), HashSet::new());
        for (id, node) in graph.nodes() {
            if is_product(node) {
                products.push(id);
            }
            if is_product(node) || node.inputs.iter().flatten().any(|input| behind.contains(input)) {
                behind.extend(node.outputs.iter().flatten());
            }
        }
        for (_, node) in graph.nodes().rev() {
            if is_product(node) || node.outputs.iter().flatten().any(|output| read_later.contains(output)) {
                read_later.extend(node.inputs.iter().flatten());
            }
        }
        Layers { products, behind, read_later }
    }

    /// Products that no other stands before, and those that none stands behind.
    fn ends(&self, graph: &Graph) -> HashSet<NodeId> {
        let is_end = |id: &NodeId| {
            let node = graph.node(*id);
            let first = node.input(0).is_some_and(|x| !self.behind.contains(&x));
            first || !node.outputs.iter().flatten().any(|output| self.read_later.contains(output))
        };
        self.products.iter().copied().filter(is_end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::quantization::{plan, targets};

    /// Three convolutions, a pool behind the second, a head of two.
    fn network() -> Graph {
        let sketch = Sketch::new(&[0, 3, 8, 8]).plain("n", "Neg", "x").conv("a", "x", (3, 8), 3, 1).plain("ra", "Relu", "a");
        let sketch = sketch.conv("b", "ra", (8, 8), 3, 1).plain("s", "Add", "b ra").plain("rs", "Relu", "s");
        let window = Attributes::default().ints("kernel_shape", &[2, 2]);
        let sketch = sketch.node("m", "MaxPool", "rs", window).conv("c", "m", (8, 8), 3, 1).plain("rc", "Relu", "c");
        let sketch = sketch.conv("boxes", "rc", (8, 4), 1, 1).conv("classes", "rc", (8, 2), 1, 1);
        sketch.outputs("boxes classes n")
    }

    fn types(target: &str, widths: &Widths) -> String {
        let graph = network();
        let mut plan = plan(&graph, &targets::find(target).unwrap(), &[]).unwrap();
        set_widths(&graph, &mut plan, widths);
        let weights = plan.weights.iter().map(|point| (point.value, point.data_type));
        let activations = plan.activations.iter().map(|point| (point.value, plan.groups[point.group].data_type));
        let texts = activations.chain(weights).map(|(value, data_type)| format!("{}:{data_type}", graph.value(value).name));
        texts.collect::<Vec<_>>().join(" ")
    }

    const W4A4: Widths = Widths { weights: Width::Four, activations: Width::Four, all_layers: false };

    #[test]
    fn the_ends_of_a_network_keep_eight_bits() {
        let wanted = "x:u8 ra:u4 b:u4 m:u4 rc:u8 boxes:u8 classes:u8 a_w:i8 b_w:i4 c_w:i4 boxes_w:i8 classes_w:i8";
        assert_eq!(types("ort-cpu", &W4A4), wanted);
        let wanted = "x:i8 ra:i4 m:i4 rc:i8 a_w:i8 b_w:i4 c_w:i4 boxes_w:i8 classes_w:i8";
        assert_eq!(types("tensorrt", &W4A4), wanted);
    }

    #[test]
    fn all_layers_are_narrow_when_asked_for_but_results_are_not() {
        let wanted = "x:u4 ra:u4 b:u4 m:u4 rc:u4 boxes:u8 classes:u8 a_w:i4 b_w:i4 c_w:i4 boxes_w:i4 classes_w:i4";
        assert_eq!(types("ort-cpu", &Widths { all_layers: true, ..W4A4 }), wanted);
    }

    #[test]
    fn four_bits_stand_once_behind_operators_that_move_elements() {
        let window = || Attributes::default().ints("kernel_shape", &[2, 2]);
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).plain("r", "Relu", "a");
        let sketch = sketch.node("m", "MaxPool", "r", window()).node("n", "MaxPool", "m", window());
        let sketch = sketch.conv("b", "n", (8, 8), 3, 1).conv("c", "r", (8, 8), 3, 1);
        let graph = sketch.conv("d", "b", (8, 8), 3, 1).conv("e", "c", (8, 8), 3, 1).outputs("d e");
        let mut plan = plan(&graph, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
        let before = plan.clone();
        set_widths(&graph, &mut plan, &Widths::INT8);
        assert_eq!(plan, before);
        set_widths(&graph, &mut plan, &W4A4);
        let readers = |point: &ActivationPoint| point.readers.as_ref().map_or(0, Vec::len);
        let points = plan.activations.iter().map(|point| (graph.value(point.value).name.as_str(), readers(point)));
        assert_eq!(points.collect::<Vec<_>>(), [("x", 0), ("r", 1), ("n", 0), ("b", 0), ("c", 0), ("d", 0), ("e", 0)]);
    }

    #[test]
    fn each_precision_has_its_types_and_its_name() {
        let cases = [
            (Widths::INT8, "int8", "x:u8 ra:u8 b:u8 rs:u8", "b_w:i8", true),
            (Widths { activations: Width::Eight, ..W4A4 }, "w4a8", "x:u8 ra:u8 b:u8 rs:u8", "b_w:i4", false),
            (Widths { weights: Width::Eight, activations: Width::Sixteen, ..W4A4 }, "w8a16", "x:u16 ra:u16 b:u16 rs:u16", "b_w:i8", false),
        ];
        for (widths, name, activations, weight, old) in cases {
            let found = types("ort-cpu", &widths);
            assert!(found.starts_with(activations) && found.contains(weight), "{name}: {found}");
            assert_eq!((widths.to_string().as_str(), widths.fit_old_opsets()), (name, old));
        }
    }
}
