//! Scaling channels between layers, which leaves what the network computes as it was.

use std::collections::HashSet;
use std::sync::Arc;

use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::{
    AveragePool, Conv, ConvTranspose, Flatten, Gemm, GlobalAveragePool, GlobalMaxPool, LeakyRelu, MaxPool, PRelu, Relu, Reshape,
};
use crate::tensor::{DataType, TensorData};

/// Channels that a convolution makes and that convolutions and matrix products alone read, with nothing but positively
/// homogeneous functions of single channels between, f(s·x) = s·f(x) for s > 0: Relu, LeakyRelu, PRelu and pools.
#[derive(Clone, Debug, PartialEq)]
pub struct Seam {
    pub producer: NodeId,
    /// What the producer makes.
    pub made: ValueId,
    /// What the first consumer reads.
    pub value: ValueId,
    /// The functions between.
    pub between: Vec<NodeId>,
    pub consumers: Vec<NodeId>,
    pub channels: usize,
}

/// All seams, in execution order.
pub fn find_seams(graph: &Graph) -> Vec<Seam> {
    let consumers = graph.consumers();
    let search = Search { graph, consumers: &consumers };
    graph.nodes().filter_map(|(id, node)| search.seam(id, node)).collect()
}

struct Search<'a> {
    graph: &'a Graph,
    consumers: &'a [Vec<(NodeId, usize)>],
}

impl Search<'_> {
    fn seam(&self, id: NodeId, node: &Node) -> Option<Seam> {
        node.is::<Conv>()?;
        let channels = *self.own_weight(node)?.shape().first()?;
        if let Some(bias) = node.input(2) {
            self.own_constant(bias)?;
        }
        let (mut open, mut readers, mut seen) = (vec![node.output(0)?], Vec::new(), HashSet::new());
        let (mut value, mut between) = (None, Vec::new());
        while let Some(next) = open.pop() {
            if self.graph.is_output(next) || self.consumers[next.0 as usize].is_empty() {
                return None;
            }
            for (reader, index) in &self.consumers[next.0 as usize] {
                let node = self.graph.node(*reader);
                if *index == 0 && self.reads_channels(node, next, channels) && seen.insert(*reader) {
                    readers.push(*reader);
                    value.get_or_insert(next);
                } else if *index == 0 && self.is_homogeneous(node) {
                    open.push(node.output(0)?);
                    between.push(*reader);
                } else {
                    return None;
                }
            }
        }
        readers.sort_unstable();
        Some(Seam { producer: id, made: node.output(0)?, value: value?, between, consumers: readers, channels })
    }

    /// A float constant that nobody else reads.
    fn own_constant(&self, value: ValueId) -> Option<&TensorData> {
        let tensor = self.graph.constant(value)?;
        (tensor.data_type() == DataType::F32 && self.consumers[value.0 as usize].len() == 1).then_some(tensor)
    }

    fn own_weight(&self, node: &Node) -> Option<&TensorData> {
        self.own_constant(node.input(1)?)
    }

    /// Whether `node` is a product whose input channels are those of `value`.
    fn reads_channels(&self, node: &Node, value: ValueId, channels: usize) -> bool {
        let Some(weight) = self.own_weight(node) else { return false };
        let size = |axis: usize| weight.shape().get(axis).copied().unwrap_or(0);
        if let Some(conv) = node.is::<Conv>() {
            return size(1) * conv.group == channels;
        }
        let rank = self.graph.value(value).shape.as_ref().map_or(0, Vec::len);
        node.is::<Gemm>().is_some_and(|gemm| !gemm.transpose_a && rank == 2 && size(usize::from(gemm.transpose_b)) == channels)
    }

    fn is_homogeneous(&self, node: &Node) -> bool {
        let pools = [node.is::<MaxPool>().is_some(), node.is::<AveragePool>().is_some(), node.is::<GlobalAveragePool>().is_some()];
        let leaky = node.is::<LeakyRelu>().is_some();
        let constant_slope = node.is::<PRelu>().is_some() && node.input(1).is_some_and(|slope| self.graph.constant(slope).is_some());
        let sole_output = node.outputs.iter().flatten().count() == 1;
        let known = pools.contains(&true) || leaky || constant_slope || node.is::<Relu>().is_some() || node.is::<GlobalMaxPool>().is_some();
        sole_output && (known || self.keeps_channels(node))
    }

    /// A Reshape or Flatten of `[N, C, 1, ..., 1]` to `[N, C]`.
    fn keeps_channels(&self, node: &Node) -> bool {
        let moves = node.is::<Reshape>().is_some() || node.is::<Flatten>().is_some();
        let shape = |value: Option<ValueId>| value.and_then(|value| self.graph.value(value).shape.clone()).unwrap_or_default();
        let (before, after) = (shape(node.input(0)), shape(node.output(0)));
        let single = before.iter().skip(2).all(|dim| dim.known() == Some(1));
        moves && before.len() > 2 && single && after.len() == 2 && before[1].known().is_some() && before[1] == after[1]
    }
}

/// Multiplies channel c of `seam` by `factors[c]` > 0 where it is made and divides by it where it is read.
///
/// Before: `y = W₂ · f(W₁ · x + b)`. After: `y = (W₂ S⁻¹) · f(S W₁ · x + S b)`.
/// Paper: Nagel et al. 2019 (DFQ), arXiv:1906.04721, section 4.1.
pub fn scale_seam(graph: &mut Graph, seam: &Seam, factors: &[f32]) {
    let producer = graph.node(seam.producer).clone();
    let factors: Arc<[f32]> = factors.into();
    for input in [producer.input(1), producer.input(2)].into_iter().flatten() {
        let factors = factors.clone();
        scale(graph, input, move |shape, index| factors[index / shape[1..].iter().product::<usize>().max(1)]);
    }
    for id in &seam.consumers {
        let consumer = graph.node(*id).clone();
        let Some(weight) = consumer.input(1) else { continue };
        let (channel_of, factors) = (channel_of(&consumer), factors.clone());
        scale(graph, weight, move |shape, index| 1.0 / factors[channel_of(shape, index)]);
    }
}

/// The input channel that element `index` of the weights of `consumer` belongs to, from their shape.
pub fn channel_of(consumer: &Node) -> impl Fn(&[usize], usize) -> usize + use<> {
    let group = consumer.is::<Conv>().map_or(1, |conv| conv.group);
    let rows = consumer.is::<Gemm>().is_some_and(|gemm| !gemm.transpose_b) || consumer.is::<ConvTranspose>().is_some();
    move |shape, index| {
        let inner: usize = shape[2..].iter().product();
        let (row, column) = (index / (shape[1] * inner), index / inner % shape[1]);
        if rows { row } else { row / (shape[0] / group) * shape[1] + column }
    }
}

fn scale(graph: &mut Graph, value: ValueId, factor: impl Fn(&[usize], usize) -> f32 + Send + Sync + 'static) {
    let Some(tensor) = graph.constant(value) else { return };
    let shape = tensor.shape().to_vec();
    if let Some(scaled) = tensor.map_f32(move |index, x| x * factor(&shape, index)) {
        graph.set_constant(value, scaled);
    }
}
