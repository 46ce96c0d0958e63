//! Graph in, steps out: shapes, layouts, kernels, and who needs a gradient.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::fusion::{Fusion, NormChain};
use super::moves::Move;
use super::plan::{Draft, DraftStep, Place};
use super::shared::SharedValue;
use super::{Request, Tape};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, ValueId, known_shape};
use crate::kernels::batch_norm::BatchNorm;
use crate::kernels::{Activated, Activation, FakeQuantization};
use crate::ops::operator::{Implementation, Kernel, Layout, Operand, Refusal, Site};
use crate::ops::{BatchNormalization, QuantizeLinear};
use crate::tensor::{DataType, TensorData};

/// What is known of a value while compiling.
#[derive(Clone)]
struct Entry {
    place: Place,
    layout: Layout,
    needs_gradient: bool,
}

/// What goes into a step and comes out.
struct Call {
    entries: Vec<Option<Entry>>,
    operands: Vec<Option<Operand>>,
    outputs: Vec<ValueId>,
    layouts: Vec<Layout>,
    /// Which of the node's outputs each of these is: some may be left out.
    positions: Vec<usize>,
    /// The layouts of all outputs of the node, `None` where one is left out.
    sites: Vec<Option<Layout>>,
    /// Whether no image takes part.
    shared: bool,
}

impl Call {
    fn site<'a>(&'a self, request: &Request<'_>) -> Site<'a> {
        Site { inputs: &self.operands, outputs: &self.sites, isa: request.isa }
    }
}

pub(super) struct Compiler<'a> {
    graph: &'a Graph,
    request: &'a Request<'a>,
    entries: HashMap<ValueId, Entry>,
    draft: Draft,
    fusion: Fusion,
    refusals: Vec<String>,
}

/// Compiles what `request` needs of `graph`, whose shapes must all be known.
pub(super) fn compile(graph: &Graph, request: &Request<'_>) -> Result<(Tape, Vec<SharedValue>)> {
    let needed = needed_nodes(graph, &request.wanted());
    let fusion = Fusion::find(graph, &needed, request);
    let mut compiler = Compiler { graph, request, entries: HashMap::new(), draft: Draft::default(), fusion, refusals: Vec::new() };
    compiler.add_inputs()?;
    for (id, node) in graph.nodes().filter(|(id, _)| needed.contains(id)) {
        if compiler.fusion.absorbed.contains(&id) || compiler.depends_on_refused(node) {
            continue;
        }
        let added = match (compiler.fusion.chains.get(&id).copied(), compiler.fusion.activated.get(&id).copied()) {
            (Some(chain), _) => compiler.add_chain(node, chain),
            (None, Some((producer, activation))) => compiler.add_activated(graph.node(producer), node, activation),
            (None, None) => compiler.add_node(node),
        };
        if let Err(refusal) = added {
            compiler.refusals.push(format!("node `{}` ({}): {refusal}", node.name, node.operator.name()));
        }
    }
    if !compiler.refusals.is_empty() {
        return Err(Error::Unsupported(compiler.refusals));
    }
    let mut readable = HashMap::new();
    for value in request.wanted() {
        let entry = compiler.entry(value).map_err(|reason| Error::tensor(&graph.value(value).name, reason))?;
        readable.insert(value, (entry.place, entry.layout));
    }
    compiler.draft.finish(request, readable)
}

/// Nodes that any of `values` depends on.
pub fn needed_nodes(graph: &Graph, values: &[ValueId]) -> BTreeSet<NodeId> {
    let mut live: HashSet<ValueId> = values.iter().copied().collect();
    let mut needed = BTreeSet::new();
    for (id, node) in graph.nodes().rev() {
        if node.outputs.iter().flatten().any(|output| live.contains(output)) {
            live.extend(node.inputs.iter().flatten());
            needed.insert(id);
        }
    }
    needed
}

impl Compiler<'_> {
    fn add_inputs(&mut self) -> Result<()> {
        for value in &self.graph.inputs {
            let layout = Layout::activation(&self.shape(*value).map_err(|reason| Error::tensor(&self.graph.value(*value).name, reason))?);
            let buffer = self.draft.add_lane_value(layout.len(), None);
            self.draft.inputs.push((buffer, layout.clone()));
            let entry = Entry { place: Place::Lane(buffer), layout, needs_gradient: self.request.input_gradients };
            self.entries.insert(*value, entry);
        }
        Ok(())
    }

    fn shape(&self, value: ValueId) -> Result<Vec<usize>, Refusal> {
        let value = self.graph.value(value);
        let shape = value.shape.as_deref().and_then(known_shape);
        shape.ok_or_else(|| format!("the shape of `{}` is not known", value.name))
    }

    fn data_type(&self, value: ValueId) -> DataType {
        self.graph.value(value).data_type.unwrap_or(DataType::F32)
    }

    /// True if an input is missing because its own node was refused; only the first refusal is worth telling.
    fn depends_on_refused(&self, node: &Node) -> bool {
        !self.refusals.is_empty() && !node.inputs.iter().flatten().all(|value| self.is_made(*value))
    }

    fn is_made(&self, value: ValueId) -> bool {
        let absorbed = || self.graph.producer(value).filter(|(id, _)| self.fusion.absorbed.contains(id));
        self.entries.contains_key(&value)
            || self.graph.constant(value).is_some()
            || absorbed().is_some_and(|(_, node)| node.inputs.iter().flatten().all(|input| self.is_made(*input)))
    }

    /// The value's entry; constants get theirs when first asked for.
    fn entry(&mut self, value: ValueId) -> Result<Entry, Refusal> {
        if let Some(entry) = self.entries.get(&value) {
            return Ok(entry.clone());
        }
        let name = &self.graph.value(value).name;
        let tensor = self.graph.constant(value).ok_or_else(|| format!("`{name}` cannot be computed"))?;
        if matches!(tensor, TensorData::Opaque(_)) {
            return Err(format!("`{name}` has element type {}", tensor.data_type()));
        }
        let layout = Layout::parameter(tensor.shape());
        let place = Place::Shared(self.draft.add_shared(SharedValue::Constant(tensor.clone(), layout.clone())));
        let needs_gradient = self.request.parameters.contains(&value);
        if needs_gradient {
            self.draft.parameters.insert(value, (place, layout.clone()));
        }
        let entry = Entry { place, layout, needs_gradient };
        self.entries.insert(value, entry.clone());
        Ok(entry)
    }

    fn add_node(&mut self, node: &Node) -> Result<(), Refusal> {
        let before = node.input(0).and_then(|value| self.graph.producer(value)).filter(|(id, _)| self.fusion.absorbed.contains(id));
        let quantizer = before.and_then(|(_, before)| Some((before, before.is::<QuantizeLinear>()?)));
        let call = self.call(quantizer.map_or(&node.inputs, |(node, _)| &node.inputs), &node.outputs)?;
        let implementation = match quantizer {
            Some((_, quantizer)) => fake_quantization(quantizer, &call, self.request)?,
            None => node.operator.implement(&call.site(self.request))?,
        };
        self.add_steps(&node.name, implementation, &call)
    }

    /// `producer` and the activation `last` behind it, as one step if the producer's kernel lets its result be overwritten.
    fn add_activated(&mut self, producer: &Node, last: &Node, activation: Activation) -> Result<(), Refusal> {
        let call = self.call(&producer.inputs, &last.outputs)?;
        match (producer.operator.implement(&call.site(self.request))?, call.layouts.first()) {
            (Implementation::Compute(kernel), Some(layout)) if !kernel.backward_needs_output() => {
                let kernel = Activated::new(kernel, activation, layout.len(), self.request.isa);
                self.add_steps(&last.name, Implementation::Compute(Box::new(kernel)), &call)
            }
            _ => self.add_node(producer).and_then(|()| self.add_node(last)),
        }
    }

    fn call(&mut self, inputs: &[Option<ValueId>], outputs: &[Option<ValueId>]) -> Result<Call, Refusal> {
        let mut entries: Vec<Option<Entry>> = Vec::with_capacity(inputs.len());
        for value in inputs {
            entries.push(value.map(|value| self.entry(value)).transpose()?);
        }
        self.separate_repeated(&mut entries)?;
        let shared = entries.iter().flatten().all(|entry| matches!(entry.place, Place::Shared(_)));
        let positions: Vec<usize> = (0..outputs.len()).filter(|index| outputs[*index].is_some()).collect();
        let mut sites = vec![None; outputs.len()];
        let outputs: Vec<ValueId> = outputs.iter().flatten().copied().collect();
        for (output, position) in outputs.iter().zip(&positions) {
            let shape = self.shape(*output)?;
            sites[*position] = Some(if shared { Layout::parameter(&shape) } else { Layout::activation(&shape) });
        }
        let layouts = sites.iter().flatten().cloned().collect();
        Ok(Call { operands: self.operands(inputs, &entries), entries, outputs, layouts, positions, sites, shared })
    }

    /// The step that ends with `last`.
    fn add_chain(&mut self, last: &Node, chain: NormChain) -> Result<(), Refusal> {
        let norm = self.graph.node(chain.norm);
        let mut entries: Vec<Option<Entry>> = Vec::with_capacity(6);
        for value in norm.inputs.iter().flatten().take(5).chain(&chain.shortcut) {
            entries.push(Some(self.entry(*value)?));
        }
        self.separate_repeated(&mut entries)?;
        let operator = norm.is::<BatchNormalization>().ok_or("not a BatchNormalization")?;
        let output = last.output(0).ok_or("it has no output")?;
        let layout = Layout::activation(&self.shape(output)?);
        let entry = |index: usize| entries.get(index).and_then(Option::as_ref).ok_or("an input is missing");
        let alike = |index: usize| entry(index).map(|entry| entry.layout == layout);
        if !alike(0)? || (chain.shortcut.is_some() && !alike(5)?) {
            return Err("input and output must lie alike in memory".to_string());
        }
        let kernel = BatchNorm::new(&layout, operator.epsilon, self.request.isa).followed_by(chain.shortcut.is_some(), chain.activation);
        self.add_step(&last.name, Box::new(kernel), &entries, output, &layout, false);
        Ok(())
    }

    fn operands(&self, inputs: &[Option<ValueId>], entries: &[Option<Entry>]) -> Vec<Option<Operand>> {
        let operand = |(value, entry): (&Option<ValueId>, &Option<Entry>)| {
            let (value, entry) = ((*value)?, entry.as_ref()?);
            let changes = self.request.parameters.contains(&value);
            Some(Operand {
                layout: entry.layout.clone(),
                data_type: self.data_type(value),
                constant: self.graph.constant(value).filter(|_| !changes).cloned(),
                shared: matches!(entry.place, Place::Shared(_)),
                wants_gradient: entry.needs_gradient,
            })
        };
        inputs.iter().zip(entries).map(operand).collect()
    }

    fn add_steps(&mut self, name: &str, implementation: Implementation, call: &Call) -> Result<(), Refusal> {
        let Call { entries: inputs, shared, .. } = call;
        let mut outputs = call.outputs.iter().zip(&call.layouts);
        match implementation.at(&call.positions)? {
            Implementation::Constant(tensors) => {
                for ((value, layout), tensor) in outputs.zip(tensors) {
                    let layout = Layout::parameter(&layout.shape);
                    let place = Place::Shared(self.draft.add_shared(SharedValue::Constant(tensor, layout.clone())));
                    self.entries.insert(*value, Entry { place, layout, needs_gradient: false });
                }
            }
            Implementation::Move { maps, fill } => {
                let layouts: Vec<Option<&Layout>> = inputs.iter().map(|entry| entry.as_ref().map(|entry| &entry.layout)).collect();
                for ((value, layout), map) in outputs.zip(&maps) {
                    let kernel = Move::new(map, fill as f32, &layouts, layout).ok_or("its index map is out of range")?;
                    self.add_step(name, Box::new(kernel), inputs, *value, layout, *shared);
                }
            }
            Implementation::Compute(kernel) => {
                let (value, layout) = outputs.next().ok_or("it has no output")?;
                self.add_step(name, kernel, inputs, *value, layout, *shared);
            }
            Implementation::Several(kernels) => {
                for ((value, layout), kernel) in outputs.zip(kernels) {
                    self.add_step(name, kernel, inputs, *value, layout, *shared);
                }
            }
        }
        Ok(())
    }

    fn add_step(&mut self, name: &str, kernel: Box<dyn Kernel>, inputs: &[Option<Entry>], value: ValueId, layout: &Layout, shared: bool) {
        let needs_gradient = inputs.iter().flatten().any(|entry| entry.needs_gradient);
        let step = DraftStep {
            name: name.to_string(),
            kernel,
            inputs: inputs.iter().map(|entry| entry.as_ref().map(|entry| (entry.place, entry.layout.len()))).collect(),
            wanted: inputs.iter().map(|entry| entry.as_ref().is_some_and(|entry| entry.needs_gradient)).collect(),
        };
        let place = self.draft.add_step(step, layout.len(), shared);
        self.entries.insert(value, Entry { place, layout: layout.clone(), needs_gradient });
    }

    /// A value that a node reads twice gets a copy for every further reading, so that each has a gradient of its own.
    fn separate_repeated(&mut self, entries: &mut [Option<Entry>]) -> Result<(), Refusal> {
        for index in 1..entries.len() {
            let Some(entry) = entries[index].clone().filter(|entry| entry.needs_gradient) else { continue };
            if !entries[..index].iter().flatten().any(|earlier| earlier.place == entry.place) {
                continue;
            }
            let Implementation::Move { maps, fill } = Implementation::same_elements(entry.layout.len()) else { continue };
            let kernel = Move::new(&maps[0], fill as f32, &[Some(&entry.layout)], &entry.layout).ok_or("its index map is out of range")?;
            let step = DraftStep {
                name: "copy".to_string(),
                kernel: Box::new(kernel),
                inputs: vec![Some((entry.place, entry.layout.len()))],
                wanted: vec![true],
            };
            let shared = matches!(entry.place, Place::Shared(_));
            let place = self.draft.add_step(step, entry.layout.len(), shared);
            entries[index] = Some(Entry { place, ..entry });
        }
        Ok(())
    }
}

fn fake_quantization(operator: &QuantizeLinear, call: &Call, request: &Request<'_>) -> Result<Implementation, Refusal> {
    let [Some(x), Some(scale), Some(zero_point)] = call.operands.as_slice() else {
        return Err("a quantizer needs scale and zero point".into());
    };
    let range = zero_point.data_type.integer_range().ok_or_else(|| format!("cannot quantize to {}", zero_point.data_type))?;
    let axis = if operator.sharing.axis < 0 { operator.sharing.axis + x.layout.shape.len() as i64 } else { operator.sharing.axis };
    let axis = (scale.layout.len() > 1).then_some(axis as usize);
    let output = call.layouts.first().ok_or("it has no output")?;
    if *output != x.layout {
        return Err("a quantizer may not change the layout".into());
    }
    let kernel = FakeQuantization::new(&x.layout, axis, (range.0 as f32, range.1 as f32), scale.layout.len(), request.isa);
    Ok(Implementation::Compute(Box::new(kernel)))
}
