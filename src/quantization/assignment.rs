//! Which layer gets which widths.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::plan::{ActivationPoint, QuantPlan, plan_around};
use super::standing::Layers;
use super::target::{Placement, Target};
use super::wide_results::widen_results;
use super::widths::{Width, Widths};
use crate::error::Result;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;

/// What one matrix product is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerWidths {
    /// `None`: the weights stay float32.
    pub weights: Option<Width>,
    /// What it reads; a value of several readers has the widest that one of them asks for.
    pub input: Width,
}

/// The widths of all layers: the same for most, others for some.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// What holds where nothing else is said.
    pub widths: Widths,
    /// The products that differ.
    pub layers: BTreeMap<NodeId, LayerWidths>,
    /// The products that run in float, and why.
    pub float: BTreeMap<NodeId, String>,
    /// Whether sums and results between products may be integers too; else what products read alone.
    pub between: bool,
}

impl Assignment {
    /// The same widths for all; but where integers of 4 bits are wanted, the first and last layers of `graph` keep 8 unless
    /// `widths.all_layers`. What runs in float anyway, since runtimes have kernels for 8 bits alone, keeps its sums and results
    /// in float, as in the literature on 4 bits (BRECQ, GENIE).
    pub fn uniform(graph: &Graph, widths: &Widths) -> Self {
        let ends = if widths.all_layers { HashSet::new() } else { Layers::find(graph).ends(graph) };
        let wide = LayerWidths { weights: Some(widths.weights.max(Width::Eight)), input: widths.activations.max(Width::Eight) };
        let layers = ends.into_iter().map(|id| (id, wide)).collect();
        Assignment { widths: *widths, layers, float: BTreeMap::new(), between: widths.fit_old_opsets() }
    }

    /// What `product` is given, unless it runs in float.
    pub fn of(&self, product: NodeId) -> LayerWidths {
        let Widths { weights, activations, .. } = self.widths;
        self.layers.get(&product).copied().unwrap_or(LayerWidths { weights: Some(weights), input: activations })
    }

    /// The plan for these widths.
    ///
    /// # Errors
    /// Those of [`super::plan`].
    pub fn plan(&self, graph: &Graph, target: &Target, exclude: &[String]) -> Result<QuantPlan> {
        let float: HashMap<NodeId, String> = self.float.iter().map(|(id, reason)| (*id, reason.clone())).collect();
        let mut target = target.clone();
        if target.placement == Placement::Everywhere && !self.between {
            target.placement = Placement::ProductInputs;
        }
        let mut plan = plan_around(graph, &target, exclude, &float)?;
        assign(graph, &mut plan, self);
        if self.widths.activations == Width::Eight {
            widen_results(graph, &mut plan);
        }
        Ok(plan)
    }
}

/// Gives every weight and group of an 8-bit plan for `graph` its type. What no matrix product reads any more keeps 8 bits at
/// least, since it is a result, and so does what a graph input holds unless `widths.all_layers`.
fn assign(graph: &Graph, plan: &mut QuantPlan, assignment: &Assignment) {
    let layers = Layers::find(graph);
    let mut sharing: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
    plan.weights.iter().for_each(|point| sharing.entry(point.value).or_default().push(point.node));
    plan.weights.retain_mut(|point| {
        if point.kept {
            return true;
        }
        let width = widest(sharing[&point.value].iter().map(|id| assignment.of(*id).weights));
        point.data_type = width.unwrap_or(Width::Eight).data_type(true);
        width.is_some()
    });
    let consumers = graph.consumers();
    let asked_for = |value: ValueId| {
        let products = consumers[value.0 as usize].iter().filter(|(id, index)| *index == 0 && layers.products.contains(id));
        let products = products.filter(|(id, _)| !assignment.float.contains_key(id));
        products.map(|(id, _)| assignment.of(*id).input).max()
    };
    let Widths { activations, all_layers, .. } = assignment.widths;
    for (index, group) in plan.groups.iter_mut().enumerate() {
        let values = || plan.activations.iter().filter(move |point| point.group == index).map(|point| point.value);
        let is_result = !values().any(|value| layers.read_later.contains(&value));
        let least = if is_result || !all_layers && values().any(|value| graph.is_input(value)) { Width::Eight } else { Width::Four };
        let width = values().filter_map(asked_for).max().unwrap_or(activations).max(least);
        group.data_type = width.data_type(plan.target.signed_activations());
    }
    move_behind_moves(graph, plan);
}

/// `None`, which is float32, is the widest.
fn widest(mut widths: impl Iterator<Item = Option<Width>>) -> Option<Width> {
    widths.try_fold(Width::Four, |most, width| width.map(|width| most.max(width)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::quantization::{plan, targets};
    use crate::tensor::DataType;

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
        let plan = Assignment::uniform(&graph, widths).plan(&graph, &targets::find(target).unwrap(), &[]).unwrap();
        let weights = plan.weights.iter().map(|point| (point.value, point.data_type));
        let activations = plan.activations.iter().map(|point| (point.value, plan.groups[point.group].data_type));
        let texts = activations.chain(weights).map(|(value, data_type)| format!("{}:{data_type}", graph.value(value).name));
        texts.collect::<Vec<_>>().join(" ")
    }

    const W4A4: Widths = Widths { weights: Width::Four, activations: Width::Four, all_layers: false };

    #[test]
    fn the_ends_of_a_network_keep_eight_bits() {
        let wanted = "x:u8 ra:u4 m:u4 rc:u8 a_w:i8 b_w:i4 c_w:i4 boxes_w:i8 classes_w:i8";
        assert_eq!(types("ort-cpu", &W4A4), wanted);
        let wanted = "x:i8 ra:i4 m:i4 rc:i8 a_w:i8 b_w:i4 c_w:i4 boxes_w:i8 classes_w:i8";
        assert_eq!(types("tensorrt", &W4A4), wanted);
    }

    #[test]
    fn all_layers_are_narrow_when_asked_for_but_results_are_not() {
        let wanted = "x:u4 ra:u4 m:u4 rc:u4 a_w:i4 b_w:i4 c_w:i4 boxes_w:i4 classes_w:i4";
        assert_eq!(types("ort-cpu", &Widths { all_layers: true, ..W4A4 }), wanted);
    }

    #[test]
    fn four_bits_stand_once_behind_operators_that_move_elements() {
        let window = || Attributes::default().ints("kernel_shape", &[2, 2]);
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).plain("r", "Relu", "a");
        let sketch = sketch.node("m", "MaxPool", "r", window()).node("n", "MaxPool", "m", window());
        let sketch = sketch.conv("b", "n", (8, 8), 3, 1).conv("c", "r", (8, 8), 3, 1);
        let graph = sketch.conv("d", "b", (8, 8), 3, 1).conv("e", "c", (8, 8), 3, 1).outputs("d e");
        let target = targets::find("ort-cpu").unwrap();
        let planned = |assignment: &Assignment| assignment.plan(&graph, &target, &[]).unwrap();
        assert_eq!(planned(&Assignment::uniform(&graph, &Widths::INT8)), plan(&graph, &target, &[]).unwrap());
        let plan = planned(&Assignment { between: true, ..Assignment::uniform(&graph, &W4A4) });
        let readers = |point: &ActivationPoint| point.readers.as_ref().map_or(0, Vec::len);
        let points = plan.activations.iter().map(|point| (graph.value(point.value).name.as_str(), readers(point)));
        assert_eq!(points.collect::<Vec<_>>(), [("x", 0), ("r", 1), ("n", 0), ("b", 0), ("c", 0), ("d", 0), ("e", 0)]);
    }

    #[test]
    fn each_precision_has_its_types_and_its_name() {
        let cases = [
            (Widths::INT8, "int8", "x:u8 ra:u8 b:u8 rs:u8", "b_w:i8", true),
            (Widths { activations: Width::Eight, ..W4A4 }, "w4a8", "x:u8 ra:u8 m:u8 rc:u8", "b_w:i4", false),
            (Widths { weights: Width::Eight, activations: Width::Sixteen, ..W4A4 }, "w8a16", "x:u16 ra:u16 m:u16 rc:u16", "b_w:i8", false),
        ];
        for (widths, name, activations, weight, old) in cases {
            let found = types("ort-cpu", &widths);
            assert!(found.starts_with(activations) && found.contains(weight), "{name}: {found}");
            assert_eq!((widths.to_string().as_str(), widths.fit_old_opsets()), (name, old));
        }
    }

    #[test]
    fn a_layer_that_differs_changes_its_weights_and_what_it_reads() {
        let graph = network();
        let id = |name: &str| graph.nodes().find(|(_, node)| node.name == name).unwrap().0;
        let widths = Widths { activations: Width::Eight, all_layers: true, ..W4A4 };
        let mut assignment = Assignment { between: true, ..Assignment::uniform(&graph, &widths) };
        assert!(assignment.layers.is_empty());
        assignment.layers.insert(id("b"), LayerWidths { weights: Some(Width::Sixteen), input: Width::Sixteen });
        assignment.layers.insert(id("c"), LayerWidths { weights: None, input: Width::Eight });
        assignment.float.insert(id("c"), "for a test".to_string());
        let plan = assignment.plan(&graph, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
        let weights = plan.weights.iter().map(|point| format!("{}:{}", graph.value(point.value).name, point.data_type));
        assert_eq!(weights.collect::<Vec<_>>().join(" "), "a_w:i4 b_w:i16 boxes_w:i4 classes_w:i4");
        let group = |name: &str| {
            plan.activations.iter().find(|point| graph.value(point.value).name == name).map(|point| plan.groups[point.group].data_type)
        };
        assert_eq!((group("ra"), group("b"), group("x")), (Some(DataType::U16), Some(DataType::U8), Some(DataType::U8)));
        let reason = plan.kernels.iter().find(|kernel| kernel.node == "c").unwrap().reason.as_deref();
        assert_eq!(reason, Some("for a test"));
    }
}
