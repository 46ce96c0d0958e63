//! Several copies of every channel between layers, which leaves what the network computes as it was.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::equalize_layers::{Seam, find_seams};
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId, check};
use crate::ops::{AveragePool, Conv, LeakyRelu, MaxPool, Relu};
use crate::tensor::TensorData;

/// Seams one behind the other, from one convolution over depthwise ones to those that mix their channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Strand {
    pub seams: Vec<Seam>,
    pub channels: usize,
}

/// All strands whose channels can be copied.
pub fn find_strands(graph: &Graph) -> Vec<Strand> {
    let seams: HashMap<NodeId, Seam> = find_seams(graph).into_iter().map(|seam| (seam.producer, seam)).collect();
    let starts = graph.nodes().filter_map(|(id, node)| seams.get(&id).filter(|seam| !is_depthwise(graph, node, seam.channels)));
    let strand = |start: &Seam| {
        let mut strand = Strand { seams: vec![start.clone()], channels: start.channels };
        let mut next = 0;
        while let Some(seam) = strand.seams.get(next) {
            let more = follow(graph, seam, &seams)?;
            strand.seams.extend(more);
            next += 1;
        }
        Some(strand)
    };
    starts.filter_map(strand).collect()
}

/// The seams behind the depthwise readers of `seam`; `None` if its channels cannot be copied.
fn follow(graph: &Graph, seam: &Seam, seams: &HashMap<NodeId, Seam>) -> Option<Vec<Seam>> {
    let copied = |id: &NodeId| copies_channels(graph.node(*id));
    if !seam.between.iter().all(copied) {
        return None;
    }
    let mut more = Vec::new();
    for id in &seam.consumers {
        let node = graph.node(*id);
        if is_depthwise(graph, node, seam.channels) {
            more.push(seams.get(id)?.clone());
        } else if node.is::<Conv>().is_none_or(|conv| conv.group != 1) {
            return None;
        }
    }
    Some(more)
}

fn copies_channels(node: &Node) -> bool {
    let rectifies = node.is::<Relu>().is_some() || node.is::<LeakyRelu>().is_some();
    rectifies || node.is::<MaxPool>().is_some() || node.is::<AveragePool>().is_some()
}

/// Whether each output of `node` reads one of `channels` and there are as many.
fn is_depthwise(graph: &Graph, node: &Node, channels: usize) -> bool {
    let outputs = node.input(1).and_then(|weight| graph.constant(weight)?.shape().first().copied());
    channels > 1 && node.is::<Conv>().is_some_and(|conv| conv.group == channels) && outputs == Some(channels)
}

/// Makes every channel of each strand as many times as stands beside it, one beside the other; what reads them takes their mean.
///
/// Before: `y = W₂ · f(W₁ · x + b)`. After: `y = [W₂/k … W₂/k] · f([W₁ … W₁] · x + [b … b])`.
/// Paper: Zhao et al. 2019 (Outlier channel splitting), arXiv:1901.09504, section 3.2.
///
/// # Errors
/// If the graph is not sound afterwards.
pub fn split_channels<'a>(graph: &mut Graph, strands: impl IntoIterator<Item = (&'a Strand, usize)>) -> Result<()> {
    strands.into_iter().for_each(|(strand, copies)| split_strand(graph, strand, copies));
    super::infer_shapes(graph)?;
    check(graph)
}

fn split_strand(graph: &mut Graph, strand: &Strand, copies: usize) {
    let depthwise: HashSet<NodeId> = strand.seams.iter().skip(1).map(|seam| seam.producer).collect();
    for seam in &strand.seams {
        let producer = graph.node(seam.producer).clone();
        for value in [producer.input(1), producer.input(2)].into_iter().flatten() {
            repeat(graph, value, 0, copies, 1.0);
        }
        if let Some(conv) = producer.is::<Conv>().filter(|_| depthwise.contains(&seam.producer)) {
            graph.set_operator(seam.producer, Arc::new(Conv { group: conv.group * copies, ..conv.clone() }));
        }
        let mixing = seam.consumers.iter().filter(|id| !depthwise.contains(id));
        for weight in mixing.filter_map(|id| graph.node(*id).input(1)).collect::<Vec<_>>() {
            repeat(graph, weight, 1, copies, 1.0 / copies as f32);
        }
    }
}

/// `copies` of each slice along `axis`, one behind the other, times `factor`.
fn repeat(graph: &mut Graph, value: ValueId, axis: usize, copies: usize, factor: f32) {
    let Some(tensor) = graph.constant(value) else { return };
    let (mut shape, Some(elements)) = (tensor.shape().to_vec(), tensor.to_f32()) else { return };
    let slice: usize = shape[axis + 1..].iter().product();
    let copied = elements.chunks(slice.max(1)).flat_map(|slice| std::iter::repeat_n(slice, copies).flatten());
    let elements = copied.map(|x| x * factor).collect();
    shape[axis] *= copies;
    graph.set_constant(value, TensorData::new(&shape, elements));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::{Sketch, assert_same_function};
    use crate::ops::Attributes;

    #[test]
    fn a_strand_runs_over_depthwise_layers_and_copies_leave_the_function() {
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 4), 3, 2).node("r", "LeakyRelu", "a", Attributes::default());
        let sketch = sketch.weights("w", &[4, 1, 3, 3], 0.4).weights("b", &[4], 0.5);
        let sketch = sketch.node("d", "Conv", "r w b", Attributes::default().int("group", 4).ints("pads", &[1, 1, 1, 1]));
        let sketch = sketch.plain("s", "Relu", "d").conv("c", "s", (4, 6), 1, 1).plain("t", "Relu", "c").conv("y", "t", (6, 5), 3, 1);
        let before = sketch.outputs("y");
        let strands = find_strands(&before);
        let lengths: Vec<(usize, usize)> = strands.iter().map(|strand| (strand.seams.len(), strand.channels)).collect();
        assert_eq!(lengths, [(2, 4), (1, 6)]);
        for copies in [2, 3] {
            let mut after = before.clone();
            split_channels(&mut after, [(&strands[0], copies)]).unwrap();
            assert_same_function(&before, &after);
            let channels = |name: &str| after.value(after.find_value(name).unwrap()).shape.as_ref().unwrap()[1].known();
            assert_eq!([channels("r"), channels("s"), channels("c")], [Some(4 * copies), Some(4 * copies), Some(6)]);
        }
    }

    #[test]
    fn what_is_read_by_something_else_is_no_strand() {
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 4), 3, 1).plain("r", "Relu", "a").plain("e", "Exp", "r");
        assert_eq!(find_strands(&sketch.conv("y", "r", (4, 5), 3, 1).outputs("y e")), []);
        let group = Attributes::default().int("group", 2);
        let sketch =
            Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 4), 3, 1).weights("w", &[4, 2, 1, 1], 0.4).node("y", "Conv", "a w", group);
        assert_eq!(find_strands(&sketch.outputs("y")), []);
    }
}
