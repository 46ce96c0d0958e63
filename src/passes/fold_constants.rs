use std::sync::Arc;

use super::sizes::Sizes;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, check, known_shape};
use crate::kernels::Isa;
use crate::ops::operator::{FILL, Fact, Facts, Implementation, Layout, Operand, Site};
use crate::ops::{Cast, CastLike, DequantizeLinear, Foreign, QuantizeLinear, SoftRound};
use crate::progress::check_interrupt;
use crate::tensor::{DataType, Element, Shared, TensorData};
use crate::with_elements;

/// Elements of a folded constant beyond what its inputs had, at most.
const LARGEST: usize = 1 << 24;
/// Integers up to here are exact in f32.
const EXACT: f64 = 16_777_216.0;

/// Replaces nodes whose outputs are known beforehand by constants: sizes too, while the batch is open. A constant that takes more room
/// than what made it remembers that, for [`Graph::restore_made`]. Quantizers stay: folding
/// a DequantizeLinear would undo quantization, and a QuantizeLinear (or SoftRound) of a constant belongs to [`seal_constants`],
/// since its constant may yet be tuned.
///
/// # Errors
/// If a node refuses the inputs that it has, or the work should stop.
pub fn fold_constants(graph: &mut Graph) -> Result<()> {
    fold(graph, false)
}

/// As [`fold_constants`], and every QuantizeLinear of a constant becomes integers: this is how weights are sealed.
///
/// # Errors
/// If a node refuses the inputs that it has, or the work should stop.
pub fn seal_constants(graph: &mut Graph) -> Result<()> {
    fold(graph, true)
}

fn fold(graph: &mut Graph, quantizers: bool) -> Result<()> {
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    let mut sizes = Sizes::default();
    for id in nodes {
        check_interrupt()?;
        settle_cast(graph, id);
        sizes.settle_reshape(graph, id);
        let node = graph.node(id).clone();
        let stays = node.is::<Foreign>().is_some()
            || node.is::<DequantizeLinear>().is_some()
            || !quantizers && (node.is::<QuantizeLinear>().is_some() || node.is::<SoftRound>().is_some())
            || node.outputs.iter().flatten().any(|v| graph.is_output(*v));
        let mut tensors = if stays { None } else { evaluate(graph, &node)? };
        if tensors.is_none() {
            infer_node(graph, &node);
            tensors = sizes.follow(graph, &node).filter(|_| !stays).map(|sizes| vec![sizes]);
        }
        let Some(tensors) = tensors else { continue };
        let making = if quantizers { None } else { graph.making_of(&node, &tensors) };
        graph.remove_node(id);
        node.inputs.iter().flatten().for_each(|input| graph.forget_unread(*input));
        for (index, (output, tensor)) in node.outputs.iter().zip(tensors).enumerate() {
            let Some(output) = *output else { continue };
            graph.set_constant(output, tensor);
            making.iter().for_each(|making| graph.set_made(output, making, index));
        }
    }
    graph.remove_dead_nodes(&[]);
    check(graph)
}

/// A CastLike is a Cast once the type of its pattern is known, whatever the pattern's numbers.
fn settle_cast(graph: &mut Graph, id: NodeId) {
    let node = graph.node(id);
    if node.is::<CastLike>().is_some()
        && let (Some(from), Some(like)) = (node.input(0), node.input(1))
        && let Some(to) = graph.value(like).data_type
    {
        graph.set_operator(id, Arc::new(Cast { to }));
        graph.set_inputs(id, vec![Some(from)]);
    }
}

/// Notes what is known of the outputs, so that nodes behind can be folded in the same sweep. What cannot be told yet stays
/// open; `infer_shapes` judges it when all is folded.
fn infer_node(graph: &mut Graph, node: &Node) {
    let facts: Option<Vec<_>> =
        node.inputs.iter().map(|value| value.map(|value| super::fact_of(graph, value)).map_or(Some(None), |fact| fact.map(Some))).collect();
    let outputs = facts.and_then(|facts| super::infer_shapes::infer(node, &Facts(&facts)).ok());
    for (output, fact) in node.outputs.iter().zip(outputs.unwrap_or_default()) {
        if let Some(output) = output {
            graph.set_facts(*output, Some(fact.data_type), Some(fact.shape));
        }
    }
}

/// The outputs of `node`, if its inputs are constants or do not matter.
fn evaluate(graph: &Graph, node: &Node) -> Result<Option<Vec<TensorData>>> {
    let constants: Vec<Option<&TensorData>> = node.inputs.iter().map(|value| value.and_then(|value| graph.constant(value))).collect();
    let all_constant = node.inputs.iter().zip(&constants).all(|(value, constant)| value.is_none() || constant.is_some());
    let shape_only = matches!(node.operator.name(), "Shape" | "Size");
    if !all_constant && !shape_only {
        return Ok(None);
    }
    let refuse = |reason: String| Error::node(&node.name, node.operator.name(), reason);
    // The facts are taken afresh: inputs may have become constants in this very sweep.
    let facts: Vec<_> = node.inputs.iter().map(|value| value.and_then(|value| super::fact_of(graph, value))).collect();
    if node.inputs.iter().zip(&facts).any(|(value, fact)| value.is_some() && fact.is_none()) {
        return Ok(None);
    }
    let outputs = match super::infer_shapes::infer(node, &Facts(&facts)) {
        Ok(outputs) => outputs,
        Err(reason) if all_constant => return Err(refuse(reason)),
        Err(_) => return Ok(None),
    };
    let mut layouts = Vec::new();
    for fact in &outputs {
        let Some(shape) = known_shape(&fact.shape) else { return Ok(None) };
        let len: usize = shape.iter().product();
        if len > LARGEST && constants.iter().flatten().all(|input| input.len() < len) {
            return Ok(None);
        }
        layouts.push(Layout::row_major(&shape));
    }
    if !all_constant {
        return Ok(outputs.into_iter().map(|fact| fact.constant).collect());
    }
    let operand = |constant: &Option<&TensorData>| {
        constant.map(|tensor| Operand {
            layout: Layout::row_major(tensor.shape()),
            data_type: tensor.data_type(),
            constant: Some(tensor.clone()),
            shared: true,
            wants_gradient: false,
        })
    };
    let operands: Vec<Option<Operand>> = constants.iter().map(operand).collect();
    let outputs_there = (0..layouts.len()).map(|index| node.output(index).map(|_| layouts[index].clone()));
    let outputs_there: Vec<Option<Layout>> = outputs_there.collect();
    let Ok(implementation) = node.operator.implement(&Site { inputs: &operands, outputs: &outputs_there, isa: Isa::Portable }) else {
        return Ok(None);
    };
    Ok(match implementation {
        Implementation::Constant(tensors) => Some(tensors),
        Implementation::Move { maps, fill } => {
            let shapes = layouts.iter().map(|layout| layout.shape.as_slice());
            maps.iter().zip(shapes).map(|(map, shape)| gather(&constants, map, fill, shape)).collect()
        }
        Implementation::Compute(kernel) => compute(kernel, &constants, &layouts[0], outputs[0].data_type).map(|tensor| vec![tensor]),
        Implementation::Several(kernels) => {
            let one = |(kernel, (layout, fact)): (_, (&Layout, &Fact))| compute(kernel, &constants, layout, fact.data_type);
            kernels.into_iter().zip(layouts.iter().zip(&outputs)).map(one).collect()
        }
    })
}

/// Any element type, exactly.
fn gather(inputs: &[Option<&TensorData>], map: &[u32], fill: f64, shape: &[usize]) -> Option<TensorData> {
    fn typed<T: Element>(first: &Shared<T>, rest: &[&TensorData], map: &[u32], fill: f64, shape: &[usize]) -> Option<TensorData> {
        let mut elements: Vec<T> = first.elements().into_owned();
        if map.iter().any(|index| *index != FILL && *index as usize >= elements.len()) {
            for tensor in rest {
                elements.extend(tensor.to_f64()?.into_iter().map(T::from_f64));
            }
        }
        let pick = |index: &u32| if *index == FILL { Some(T::from_f64(fill)) } else { elements.get(*index as usize).copied() };
        Some(TensorData::new(shape, map.iter().map(pick).collect::<Option<Vec<T>>>()?))
    }
    let present: Vec<&TensorData> = inputs.iter().flatten().copied().collect();
    let (first, rest) = present.split_first()?;
    with_elements!(first, array => typed(array, rest, map, fill, shape), _o => None)
}

/// Through f32, where that is exact enough for the type.
fn compute(
    mut kernel: Box<dyn crate::ops::operator::Kernel>,
    inputs: &[Option<&TensorData>],
    output: &Layout,
    data_type: DataType,
) -> Option<TensorData> {
    let mut elements = Vec::new();
    for input in inputs {
        elements.push(match input {
            None => Vec::new(),
            Some(tensor) => {
                let exact = tensor.data_type().is_float() || tensor.to_f64()?.iter().all(|x| x.abs() <= EXACT);
                exact.then(|| tensor.to_f32())??
            }
        });
    }
    let shared: Vec<Option<&[f32]>> = inputs.iter().zip(&elements).map(|(input, elements)| input.map(|_| elements.as_slice())).collect();
    kernel.prepare(&shared);
    let slices: Vec<&[f32]> = elements.iter().map(Vec::as_slice).collect();
    let (mut result, mut scratch) = (vec![0.0; output.len()], vec![0.0; kernel.scratch()]);
    kernel.forward(&slices, &mut result, &mut scratch);
    if data_type == DataType::F32 {
        return Some(TensorData::new(&output.shape, result));
    }
    TensorData::from_f64(
        &output.shape,
        result.into_iter().map(|x| if data_type.is_float() { x.into() } else { f64::from(x).trunc() }).collect(),
        data_type,
    )
}
