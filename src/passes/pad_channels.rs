use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::operator::QuantizationRole;
use crate::ops::{Conv, HardSigmoid, HardSwish, MaxPool};
use crate::tensor::TensorData;

/// Before: `y = Conv(f(Conv(x)))` over 40 channels. After: the same over 48, a multiple of `block`: the new channels have
/// weights of zero where they are made and where they are read. ONNX Runtime keeps whole blocks of channels in memory
/// anyway, and where they are not whole it converts between layouts. Only values between nodes of `eligible` change.
/// Returns how many convolutions did.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn pad_channels(graph: &mut Graph, block: usize, eligible: &HashSet<NodeId>) -> Result<usize> {
    let mut families = Families::new(graph);
    for (id, node) in graph.nodes() {
        families.add(id, node, eligible);
    }
    let widths = families.widths(block);
    let convolutions: Vec<NodeId> = graph.nodes().filter(|(_, node)| node.is::<Conv>().is_some()).map(|(id, _)| id).collect();
    let mut changed = 0;
    for id in convolutions {
        let wider = |value: Option<ValueId>| value.and_then(|value| widths.get(&value).copied());
        let (input, output) = (wider(graph.node(id).input(0)), wider(graph.node(id).output(0)));
        if input.is_some() || output.is_some() {
            widen(graph, id, input, output);
            changed += 1;
        }
    }
    super::infer_shapes(graph)?;
    check(graph)?;
    Ok(changed)
}

/// Values that must have equally many channels.
struct Families<'a> {
    graph: &'a Graph,
    parent: HashMap<ValueId, ValueId>,
    channels: BTreeMap<ValueId, usize>,
    fixed: HashSet<ValueId>,
}

impl<'a> Families<'a> {
    fn new(graph: &'a Graph) -> Self {
        let fixed = graph.inputs.iter().chain(&graph.outputs).copied().collect();
        Families { graph, parent: HashMap::new(), channels: BTreeMap::new(), fixed }
    }

    fn root(&self, mut value: ValueId) -> ValueId {
        while let Some(parent) = self.parent.get(&value) {
            value = *parent;
        }
        value
    }

    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.parent.insert(a, b);
        }
    }

    fn add(&mut self, id: NodeId, node: &Node, eligible: &HashSet<NodeId>) {
        let data: Vec<ValueId> = node.inputs.iter().flatten().copied().filter(|value| self.graph.constant(*value).is_none()).collect();
        let (Some(x), Some(y)) = (data.first().copied(), node.output(0)) else {
            self.fixed.extend(node.outputs.iter().flatten());
            return;
        };
        match convolution(self.graph, node).filter(|_| eligible.contains(&id)) {
            Some(Shape::Dense { inputs, outputs }) => {
                self.channels.insert(x, inputs);
                self.channels.insert(y, outputs);
            }
            Some(Shape::Depthwise { channels }) => {
                self.join(x, y);
                self.channels.insert(y, channels);
            }
            None if keeps_channels(self.graph, node, data.len()) => data.iter().for_each(|input| self.join(*input, y)),
            None => self.fixed.extend(data.iter().chain(node.outputs.iter().flatten())),
        }
    }

    /// Channels before and after, of each value that gets more.
    fn widths(&self, block: usize) -> HashMap<ValueId, (usize, usize)> {
        let fixed: HashSet<ValueId> = self.fixed.iter().map(|value| self.root(*value)).collect();
        let mut known: HashMap<ValueId, HashSet<usize>> = HashMap::new();
        for (value, channels) in &self.channels {
            known.entry(self.root(*value)).or_default().insert(*channels);
        }
        let width = |value: &ValueId| {
            let root = self.root(*value);
            let channels = known.get(&root).filter(|sizes| sizes.len() == 1 && !fixed.contains(&root))?.iter().next().copied()?;
            (!channels.is_multiple_of(block)).then_some((channels, channels.div_ceil(block) * block))
        };
        self.channels.keys().filter_map(|value| Some((*value, width(value)?))).collect()
    }
}

enum Shape {
    Dense { inputs: usize, outputs: usize },
    Depthwise { channels: usize },
}

/// What `node` does with channels, if it is a convolution whose weights can grow.
fn convolution(graph: &Graph, node: &Node) -> Option<Shape> {
    let conv = node.is::<Conv>()?;
    let weight = graph.constant(node.input(1)?)?;
    if node.input(2).is_some_and(|bias| graph.constant(bias).is_none()) {
        return None;
    }
    let [outputs, inputs, ..] = weight.shape() else { return None };
    match conv.group {
        1 => Some(Shape::Dense { inputs: *inputs, outputs: *outputs }),
        group if group == *outputs && *inputs == 1 => Some(Shape::Depthwise { channels: group }),
        _ => None,
    }
}

/// Operators that compute each channel by itself, and finite numbers from zeros.
fn keeps_channels(graph: &Graph, node: &Node, data: usize) -> bool {
    let image = node.input(0).is_some_and(|value| graph.value(value).shape.as_ref().is_some_and(|shape| shape.len() == 4));
    let each = node.is::<HardSwish>().is_some() || node.is::<HardSigmoid>().is_some() || node.is::<MaxPool>().is_some();
    let named = matches!(node.operator.name(), "LeakyRelu" | "Sigmoid" | "AveragePool" | "GlobalAveragePool");
    let activation = node.operator.quantization_role() == QuantizationRole::Activation;
    let merge = matches!(node.operator.name(), "Add" | "Mul") && data == 2;
    image && (each || named || activation || merge)
}

type Widths = Option<(usize, usize)>;

fn widen(graph: &mut Graph, id: NodeId, input: Widths, output: Widths) -> Option<()> {
    let node = graph.node(id).clone();
    let conv = node.is::<Conv>()?;
    let weight = node.input(1)?;
    let depthwise = conv.group > 1;
    let columns = input.filter(|_| !depthwise).map_or(0, |(before, after)| after - before);
    let rows = output.map_or(0, |(before, after)| after - before);
    let widened = pad_tensor(graph.constant(weight)?, rows, columns)?;
    if let (true, Some((_, channels))) = (depthwise, output) {
        graph.set_operator(id, Arc::new(Conv { group: channels, ..conv.clone() }));
    }
    let widened = own(graph, weight, widened);
    graph.set_input(id, 1, Some(widened));
    if let Some(bias) = node.input(2) {
        let widened = pad_tensor(graph.constant(bias)?, rows, 0)?;
        let widened = own(graph, bias, widened);
        graph.set_input(id, 2, Some(widened));
    }
    Some(())
}

/// `tensor` under the name of the constant `former`, which others may still read.
fn own(graph: &mut Graph, former: ValueId, tensor: TensorData) -> ValueId {
    let name = graph.unused_name(&format!("{}_padded", graph.value(former).name));
    graph.add_constant(name, tensor)
}

/// Zeros after the first and the second dimension.
fn pad_tensor(tensor: &TensorData, rows: usize, columns: usize) -> Option<TensorData> {
    let elements = tensor.to_f32()?;
    let mut shape = tensor.shape().to_vec();
    let inner: usize = shape.iter().skip(2).product();
    let row = shape.iter().skip(1).product::<usize>();
    let mut padded = Vec::with_capacity((shape[0] + rows) * (row + columns * inner));
    for part in elements.chunks(row.max(1)) {
        padded.extend_from_slice(part);
        padded.resize(padded.len() + columns * inner, 0.0);
    }
    shape[0] += rows;
    if columns > 0 {
        shape[1] += columns;
    }
    padded.resize(shape.iter().product(), 0.0);
    Some(TensorData::new(&shape, padded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, assert_same_function};
    use crate::ops::Attributes;

    fn all(graph: &Graph) -> HashSet<NodeId> {
        graph.nodes().map(|(id, _)| id).collect()
    }

    fn weight_shapes(graph: &Graph) -> Vec<Vec<usize>> {
        let convolutions = graph.nodes().filter(|(_, node)| node.is::<Conv>().is_some());
        convolutions.map(|(_, node)| graph.constant(node.input(1).unwrap()).unwrap().shape().to_vec()).collect()
    }

    /// Two convolutions around a depthwise one, gated by what HardSigmoid makes of its mean.
    fn gated() -> Graph {
        let sketch = Sketch::new(&[0, 3, 6, 6]).conv("a", "x", (3, 5), 3, 1).plain("r", "Relu", "a").weights("d_w", &[5, 1, 3, 3], 0.5);
        let sketch = sketch.node("d", "Conv", "r d_w", Attributes::default().int("group", 5).sizes("pads", &[1; 4]));
        let sketch = sketch.plain("p", "GlobalAveragePool", "d").conv("s", "p", (5, 3), 1, 1).conv("t", "s", (3, 5), 1, 1);
        let sketch = sketch.plain("g", "HardSigmoid", "t").plain("m", "Mul", "d g");
        sketch.conv("y", "m", (5, 6), 1, 1).outputs("y")
    }

    #[test]
    fn channels_grow_to_whole_blocks_and_the_function_stays() {
        let graph = gated();
        let mut padded = graph.clone();
        assert_eq!(pad_channels(&mut padded, 4, &all(&graph)).unwrap(), 5);
        let shapes = [[8, 3, 3, 3], [8, 1, 3, 3], [4, 8, 1, 1], [8, 4, 1, 1], [6, 8, 1, 1]];
        assert_eq!(weight_shapes(&padded), shapes);
        assert_same_function(&graph, &padded);
    }

    #[test]
    fn what_is_not_eligible_or_read_by_others_keeps_its_channels() {
        let graph = gated();
        let mut kept = graph.clone();
        let but_last = graph.nodes().filter(|(_, node)| node.name != "y").map(|(id, _)| id).collect();
        pad_channels(&mut kept, 4, &but_last).unwrap();
        assert_eq!(weight_shapes(&kept), [[5, 3, 3, 3], [5, 1, 3, 3], [4, 5, 1, 1], [5, 4, 1, 1], [6, 5, 1, 1]]);
        let graph = Sketch::new(&[0, 3, 4, 4]).conv("c", "x", (3, 5), 1, 1).conv("y", "c", (5, 4), 1, 1).outputs("y c");
        let mut kept = graph.clone();
        assert_eq!(pad_channels(&mut kept, 4, &all(&graph)).unwrap(), 0);
        assert_same_function(&graph, &kept);
    }

    #[test]
    fn shared_weights_are_padded_once_for_each_reader() {
        let sketch = Sketch::new(&[0, 5, 4, 4]).weights("w", &[5, 5, 1, 1], 0.5);
        let sketch = sketch.plain("a", "Conv", "x w").plain("b", "Conv", "a w").plain("y", "Conv", "b w").outputs("y");
        let mut padded = sketch.clone();
        assert_eq!(pad_channels(&mut padded, 8, &all(&sketch)).unwrap(), 3);
        assert_eq!(weight_shapes(&padded), [[8, 5, 1, 1], [8, 8, 1, 1], [5, 8, 1, 1]]);
        assert_same_function(&sketch, &padded);
    }
}
