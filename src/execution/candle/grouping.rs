//! Which nodes become one step.

use std::collections::BTreeSet;

use super::quantization::MOST_LEVELS;
use crate::execution::tape::{Fusion, NormChain, Request};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::kernels::Activation;
use crate::ops;
use crate::tensor::DataType;

/// A node, or several that become one step at the place of the last.
pub(super) struct Group<'a> {
    pub inputs: Vec<Option<ValueId>>,
    pub kind: Kind<'a>,
}

pub(super) enum Kind<'a> {
    Single,
    Chain(&'a ops::BatchNormalization, Activation),
    /// A quantizer and the dequantizer behind it.
    FakeQuantization(&'a Node),
}

impl<'a> Group<'a> {
    pub fn of(graph: &'a Graph, id: NodeId, node: &'a Node, fusion: &Fusion) -> Self {
        if let Some(NormChain { norm, shortcut, activation }) = fusion.chains.get(&id)
            && let Some(operator) = graph.node(*norm).is::<ops::BatchNormalization>()
        {
            let inputs = graph.node(*norm).inputs.iter().copied().take(5).chain([*shortcut]).collect();
            return Group { inputs, kind: Kind::Chain(operator, *activation) };
        }
        match node.input(0).and_then(|value| graph.producer(value)) {
            Some((before, quantizer)) if fusion.absorbed.contains(&before) => {
                Group { inputs: quantizer.inputs.clone(), kind: Kind::FakeQuantization(quantizer) }
            }
            _ => Group { inputs: node.inputs.clone(), kind: Kind::Single },
        }
    }
}

/// What the tape computes together, as far as there are steps for it here.
pub(super) fn fusion(graph: &Graph, needed: &BTreeSet<NodeId>, request: &Request<'_>) -> Fusion {
    let mut fusion = Fusion::find(graph, needed, request);
    let apart: Vec<NodeId> = fusion.activated.values().map(|(producer, _)| *producer).collect();
    let by_input = fusion.chains.values().filter(|chain| !chain.activation.is_told_by_output()).map(|chain| chain.norm);
    let wide = fusion.absorbed.iter().filter(|id| {
        let data_type = graph.node(**id).input(2).and_then(|value| graph.value(value).data_type);
        graph.node(**id).is::<ops::QuantizeLinear>().is_some() && data_type.and_then(narrow_range).is_none()
    });
    let apart: Vec<NodeId> = apart.into_iter().chain(by_input).chain(wide.copied()).collect();
    fusion.absorbed.retain(|id| !apart.contains(id));
    fusion.chains.retain(|_, chain| chain.activation.is_told_by_output());
    fusion
}

/// The range of an integer type whose levels can be rounded to.
pub(super) fn narrow_range(data_type: DataType) -> Option<(f64, f64)> {
    data_type.integer_range().filter(|(low, high)| high - low <= MOST_LEVELS)
}
