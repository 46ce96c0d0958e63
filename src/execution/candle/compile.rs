//! Graph in, steps on a device out.

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::{Device, Tensor};

use super::convolution::Convolution;
use super::dropping::Drop;
use super::fused::Bend;
use super::grouping::{Group, Kind, fusion, narrow_range};
use super::host::Host;
use super::moves::{Move, Swing};
use super::normalization::Norm;
use super::pooling::Pool;
use super::products::{Gemm, MatMul};
use super::quantization::{Dequantize, FakeQuantize, Quantize, SoftRound};
use super::step::Step;
use super::{Network, Parameter, Placed, along, elementwise};
use crate::error::{Error, Result};
use crate::execution::tape::{Request, needed_nodes};
use crate::graph::{Graph, Node, ValueId, known_shape};
use crate::kernels::pool::{Pooling, Slide};
use crate::kernels::{Activation, Direction};
use crate::ops::operator::{Implementation, Layout, Operand, Refusal, Site};
use crate::ops::{self, unary::resolve_axis};
use crate::tensor::{DataType, TensorData};

/// What is known of a value while compiling.
#[derive(Clone)]
struct Entry {
    shape: Vec<usize>,
    shared: bool,
    needs_gradient: bool,
    /// Whether a parameter reaches it without any image.
    changes: bool,
}

impl Entry {
    /// What comes of these, but for its shape.
    fn made_of(entries: &[Option<Entry>]) -> Self {
        let present = || entries.iter().flatten();
        let shared = present().all(|entry| entry.shared);
        let (needs_gradient, changes) = (present().any(|entry| entry.needs_gradient), present().any(|entry| entry.changes));
        Entry { shape: Vec::new(), shared, needs_gradient, changes: shared && changes }
    }

    fn layout(&self) -> Layout {
        if self.shared { Layout::parameter(&self.shape) } else { Layout::activation(&self.shape) }
    }
}

struct Compiler<'a> {
    graph: &'a Graph,
    request: &'a Request<'a>,
    device: &'a Device,
    entries: HashMap<ValueId, Entry>,
    network: Network,
}

pub(super) fn compile(graph: &Graph, request: &Request<'_>, device: &Device) -> Result<Network> {
    let network = Network {
        device: device.clone(),
        steps: Vec::new(),
        shared_steps: Vec::new(),
        shared: HashMap::new(),
        parameters: BTreeMap::new(),
        inputs: Vec::new(),
        input_gradients: request.input_gradients,
        targets: request.targets.to_vec(),
        seeds: request.seeds.to_vec(),
        last_read: HashMap::new(),
        on_host: Vec::new(),
        is_stale: false,
    };
    let mut compiler = Compiler { graph, request, device, entries: HashMap::new(), network };
    for value in &graph.inputs {
        let shape = compiler.shape(*value).map_err(|reason| Error::tensor(&graph.value(*value).name, reason))?;
        compiler.network.inputs.push((*value, shape.clone()));
        compiler.entries.insert(*value, Entry { shape, shared: false, needs_gradient: request.input_gradients, changes: false });
    }
    let (needed, mut refusals, mut refused) = (needed_nodes(graph, &request.wanted()), Vec::new(), HashSet::new());
    let fusion = fusion(graph, &needed, request);
    for (id, node) in graph.nodes().filter(|(id, _)| needed.contains(id) && !fusion.absorbed.contains(id)) {
        let group = Group::of(graph, id, node, &fusion);
        if group.inputs.iter().flatten().any(|input| refused.contains(input)) {
            refused.extend(node.outputs.iter().flatten().copied());
        } else if let Err(refusal) = compiler.add(node, group) {
            refused.extend(node.outputs.iter().flatten().copied());
            refusals.push(format!("node `{}` ({}): {refusal}", node.name, node.operator.name()));
        }
    }
    if !refusals.is_empty() {
        return Err(Error::Unsupported(refusals));
    }
    for value in request.wanted() {
        compiler.entry(value).map_err(|reason| Error::tensor(&graph.value(value).name, reason))?;
    }
    let Compiler { mut network, .. } = compiler;
    let kept: HashSet<ValueId> = request.wanted().into_iter().collect();
    for (index, placed) in network.steps.iter().enumerate() {
        network.last_read.extend(placed.inputs.iter().flatten().filter(|value| !kept.contains(value)).map(|value| (*value, index)));
    }
    Ok(network)
}

impl Compiler<'_> {
    fn add(&mut self, node: &Node, group: Group<'_>) -> Result<(), Refusal> {
        let step: Box<dyn Step> = match group.kind {
            Kind::Single => return self.add_node(node),
            Kind::Chain(norm, activation) => Box::new(Norm::new(norm.epsilon, Bend::of(activation))),
            Kind::FakeQuantization(quantizer) => self.fake_quantization(quantizer)?,
        };
        let mut entries: Vec<Option<Entry>> = Vec::with_capacity(group.inputs.len());
        for value in &group.inputs {
            entries.push(value.map(|value| self.entry(value)).transpose()?);
        }
        let output = node.output(0).ok_or("it has no output")?;
        let made = Entry { shape: self.shape(output)?, ..Entry::made_of(&entries) };
        self.place(&node.name, step, &group.inputs, &entries, output, made);
        Ok(())
    }

    fn fake_quantization(&mut self, quantizer: &Node) -> Result<Box<dyn Step>, Refusal> {
        let mut shape = |index: usize| match quantizer.input(index) {
            Some(value) => Ok(self.entry(value)?.shape),
            None => Err(format!("input {index} is missing")),
        };
        let (x, scales) = (shape(0)?.len(), shape(1)?.iter().product::<usize>());
        let operator = quantizer.is::<ops::QuantizeLinear>().ok_or("not a QuantizeLinear")?;
        let axis = if scales == 1 { 0 } else { resolve_axis(operator.sharing.axis, x)? + 1 };
        let data_type = quantizer.input(2).and_then(|value| self.graph.value(value).data_type);
        let (low, high) = data_type.and_then(narrow_range).ok_or("its type has too many levels")?;
        Ok(Box::new(FakeQuantize { quantize: Quantize { axis, low, high } }))
    }

    fn place(
        &mut self,
        name: &str,
        step: Box<dyn Step>,
        inputs: &[Option<ValueId>],
        entries: &[Option<Entry>],
        output: ValueId,
        made: Entry,
    ) {
        let wanted = entries.iter().map(|entry| entry.as_ref().is_some_and(|entry| entry.needs_gradient)).collect();
        let placed = Placed { name: name.to_string(), step, inputs: inputs.to_vec(), output, wanted, changes: made.changes };
        if made.shared {
            self.network.shared_steps.push(placed)
        } else {
            self.network.steps.push(placed)
        }
        self.entries.insert(output, made);
    }

    fn shape(&self, value: ValueId) -> Result<Vec<usize>, Refusal> {
        let value = self.graph.value(value);
        value.shape.as_deref().and_then(known_shape).ok_or_else(|| format!("the shape of `{}` is not known", value.name))
    }

    /// The value's entry; constants go to the device when first asked for.
    fn entry(&mut self, value: ValueId) -> Result<Entry, Refusal> {
        if let Some(entry) = self.entries.get(&value) {
            return Ok(entry.clone());
        }
        let name = &self.graph.value(value).name;
        let tensor = self.graph.constant(value).ok_or_else(|| format!("`{name}` cannot be computed"))?;
        let elements = tensor.to_f32().ok_or_else(|| format!("`{name}` has element type {}", tensor.data_type()))?;
        let is_parameter = self.request.parameters.contains(&value);
        let shape = tensor.shape().to_vec();
        if is_parameter {
            self.network.parameters.insert(value, Parameter { layout: Layout::row_major(&shape), tuned: None });
        }
        self.put(value, elements, &shape)?;
        let entry = Entry { shape, shared: true, needs_gradient: is_parameter, changes: is_parameter };
        self.entries.insert(value, entry.clone());
        Ok(entry)
    }

    fn put(&mut self, value: ValueId, elements: Vec<f32>, shape: &[usize]) -> Result<(), Refusal> {
        let tensor = Tensor::from_vec(elements, [&[1], shape].concat(), self.device).map_err(|error| error.to_string())?;
        self.network.shared.insert(value, tensor);
        Ok(())
    }

    fn add_node(&mut self, node: &Node) -> Result<(), Refusal> {
        let mut entries: Vec<Option<Entry>> = Vec::with_capacity(node.inputs.len());
        for value in &node.inputs {
            entries.push(value.map(|value| self.entry(value)).transpose()?);
        }
        let positions: Vec<usize> = (0..node.outputs.len()).filter(|index| node.outputs[*index].is_some()).collect();
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let made = Entry::made_of(&entries);
        let mut made_entries = Vec::with_capacity(outputs.len());
        for output in &outputs {
            made_entries.push(Entry { shape: self.shape(*output)?, ..made.clone() });
        }
        let operands = self.operands(node, &entries);
        let mut layouts = vec![None; node.outputs.len()];
        positions.iter().zip(&made_entries).for_each(|(position, entry)| layouts[*position] = Some(entry.layout()));
        let site = Site { inputs: &operands, outputs: &layouts, isa: self.request.isa };
        let steps: Vec<Option<Box<dyn Step>>> = match node.operator.implement(&site)?.at(&positions)? {
            Implementation::Constant(tensors) => return self.add_constants(&outputs, tensors),
            Implementation::Move { maps, fill } => {
                let shapes = shapes(&entries);
                let step = |(map, entry): (&Vec<u32>, &Entry)| {
                    Move::new(map, fill, &shapes, &entry.shape, self.device).map(|step| step.map(|step| Box::new(step) as Box<dyn Step>))
                };
                let found = maps.iter().zip(&made_entries).map(step).collect::<candle_core::Result<Vec<_>>>();
                let found = found.map_err(|error| error.to_string())?;
                if found.iter().all(Option::is_some) { found } else { self.moves_on_host(node, &entries, &made_entries, &maps, fill)? }
            }
            Implementation::Compute(kernel) => {
                let first = made_entries.first().ok_or("it has no output")?;
                let form = self.form(node, &entries, first)?;
                vec![Some(form.unwrap_or_else(|| self.on_host(node, kernel, &entries, first)))]
            }
            Implementation::Several(kernels) => {
                let placed = kernels.into_iter().zip(&made_entries);
                placed.map(|(kernel, entry)| Some(self.on_host(node, kernel, &entries, entry))).collect()
            }
        };
        for ((value, entry), step) in outputs.into_iter().zip(made_entries).zip(steps) {
            let step = step.ok_or("it has an output too many")?;
            self.place(&node.name, step, &node.inputs, &entries, value, entry);
        }
        Ok(())
    }

    fn add_constants(&mut self, outputs: &[ValueId], tensors: Vec<TensorData>) -> Result<(), Refusal> {
        for (value, tensor) in outputs.iter().zip(tensors) {
            let elements = tensor.to_f32().ok_or("its result has no numbers")?;
            let shape = self.shape(*value)?;
            self.put(*value, elements, &shape)?;
            self.entries.insert(*value, Entry { shape, shared: true, needs_gradient: false, changes: false });
        }
        Ok(())
    }

    fn operands(&self, node: &Node, entries: &[Option<Entry>]) -> Vec<Option<Operand>> {
        let operand = |(value, entry): (&Option<ValueId>, &Option<Entry>)| {
            let (value, entry) = ((*value)?, entry.as_ref()?);
            Some(Operand {
                layout: entry.layout(),
                data_type: self.graph.value(value).data_type.unwrap_or(DataType::F32),
                constant: self.graph.constant(value).filter(|_| !self.request.parameters.contains(&value)).cloned(),
                shared: entry.shared,
                wants_gradient: entry.needs_gradient,
            })
        };
        node.inputs.iter().zip(entries).map(operand).collect()
    }

    fn on_host(&mut self, node: &Node, kernel: Box<dyn ops::operator::Kernel>, entries: &[Option<Entry>], output: &Entry) -> Box<dyn Step> {
        let host = Host::new(
            kernel,
            entries.iter().map(|entry| entry.as_ref().map(|entry| (entry.layout(), entry.shared))).collect(),
            output.layout(),
        );
        let name = format!("`{}` ({})", node.name, node.operator.name());
        if !output.shared && !self.network.on_host.contains(&name) {
            self.network.on_host.push(name);
        }
        Box::new(host)
    }

    fn moves_on_host(
        &mut self,
        node: &Node,
        entries: &[Option<Entry>],
        outputs: &[Entry],
        maps: &[Vec<u32>],
        fill: f64,
    ) -> Result<Vec<Option<Box<dyn Step>>>, Refusal> {
        let layouts: Vec<Option<Layout>> = entries.iter().map(|entry| entry.as_ref().map(Entry::layout)).collect();
        let layouts: Vec<Option<&Layout>> = layouts.iter().map(Option::as_ref).collect();
        let mut found = Vec::with_capacity(maps.len());
        for (map, output) in maps.iter().zip(outputs) {
            let kernel = crate::execution::tape::Move::new(map, fill as f32, &layouts, &output.layout());
            let kernel = kernel.ok_or("its index map is out of range")?;
            found.push(Some(self.on_host(node, Box::new(kernel), entries, output)));
        }
        Ok(found)
    }

    /// The form of `node` on tensors, if it has one.
    fn form(&mut self, node: &Node, entries: &[Option<Entry>], output: &Entry) -> Result<Option<Box<dyn Step>>, Refusal> {
        let entry = |index: usize| entries.get(index).and_then(Option::as_ref).ok_or_else(|| format!("input {index} is missing"));
        let wants = |index: usize| entries.get(index).and_then(Option::as_ref).is_some_and(|entry| entry.needs_gradient);
        let rank = |index: usize| entry(index).map(|entry| entry.shape.len());
        if let Some(conv) = node.is::<ops::Conv>() {
            let window = conv.window(&entry(0)?.shape, &entry(1)?.shape)?;
            return boxed(Convolution::new(window, Direction::ToMap, &output.shape, self.device));
        }
        if let Some(conv) = node.is::<ops::ConvTranspose>() {
            let window = conv.window(&entry(0)?.shape, &entry(1)?.shape)?;
            return boxed(Convolution::new(window, Direction::ToImage, &output.shape, self.device));
        }
        if let Some(norm) = node.is::<ops::BatchNormalization>() {
            let parameters = (1..5).any(wants);
            let plain = || Box::new(Norm::new(norm.epsilon, Bend::of(Activation::Identity))) as Box<dyn Step>;
            return Ok((!parameters && rank(0)? >= 2).then(plain));
        }
        if let Some(gemm) = node.is::<ops::Gemm>() {
            let ops::Gemm { alpha, beta, transpose_a, transpose_b } = *gemm;
            return Ok(Some(Box::new(Gemm { alpha: alpha.into(), beta: beta.into(), transpose_a, transpose_b })));
        }
        if let Some((pooling, window)) = pooling(node) {
            let sizes = entry(0)?.shape[2..].iter().enumerate();
            let slides = sizes.map(|(axis, size)| window.slide(axis, *size)).collect::<Result<Vec<Slide>, _>>()?;
            return boxed(Pool::new(pooling, &slides, &output.shape, self.device));
        }
        if let Some(step) = self.quantizer(node, entries)? {
            return Ok(Some(step));
        }
        Ok(match node.operator.name() {
            "MatMul" if rank(0)? >= 2 && rank(1)? >= 2 => Some(Box::new(MatMul)),
            "Swing" => match entry(0)?.shape[..] {
                [1, _, height, width] => {
                    self.keep_at_hand(node.input(1))?;
                    return boxed(Swing::new(height, width, self.device));
                }
                _ => None,
            },
            "QuantizationDrop" if rank(0)? >= 2 => {
                self.keep_at_hand(node.input(2))?;
                Some(Box::new(Drop))
            }
            "Clip" if wants(1) || wants(2) => None,
            "Pow" if wants(1) => None,
            _ => match elementwise::find(self.graph, node) {
                None => along::find(self.graph, node, &shapes(entries), self.device)?,
                found => found,
            },
        })
    }

    /// Leaves a parameter that the CPU reads at every step where it can read it.
    fn keep_at_hand(&mut self, value: Option<ValueId>) -> Result<(), Refusal> {
        let held = value.and_then(|value| self.network.shared.get_mut(&value));
        if let Some(tensor) = held {
            *tensor = tensor.to_device(&Device::Cpu).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn quantizer(&self, node: &Node, entries: &[Option<Entry>]) -> Result<Option<Box<dyn Step>>, Refusal> {
        let Some(Some(x)) = entries.first() else { return Ok(None) };
        let axis = |axis: i64| match entries.get(1).and_then(Option::as_ref).map(|scale| scale.shape.iter().product::<usize>()) {
            Some(1) | None => Ok(0),
            Some(_) => resolve_axis(axis, x.shape.len()).map(|axis| axis + 1),
        };
        if let Some(quantize) = node.is::<ops::QuantizeLinear>().filter(|quantize| quantize.sharing.block_size == 0) {
            let zero_point = node.input(2).and_then(|value| self.graph.value(value).data_type);
            let Some((low, high)) = narrow_range(zero_point.unwrap_or(quantize.output_type)) else { return Ok(None) };
            return Ok(Some(Box::new(Quantize { axis: axis(quantize.sharing.axis)?, low, high })));
        }
        if let Some(dequantize) = node.is::<ops::DequantizeLinear>().filter(|dequantize| dequantize.sharing.block_size == 0) {
            return Ok(Some(Box::new(Dequantize { axis: axis(dequantize.sharing.axis)? })));
        }
        let Some(soft) = node.is::<ops::SoftRound>() else { return Ok(None) };
        Ok(narrow_range(soft.data_type).map(|(low, high)| Box::new(SoftRound { low, high }) as Box<dyn Step>))
    }
}

fn shapes(entries: &[Option<Entry>]) -> Vec<Option<&[usize]>> {
    entries.iter().map(|entry| entry.as_ref().map(|entry| entry.shape.as_slice())).collect()
}

fn pooling(node: &Node) -> Option<(Pooling, &ops::Window)> {
    if let Some(pool) = node.is::<ops::MaxPool>() {
        return Some((Pooling::Max, &pool.window));
    }
    let pool = node.is::<ops::AveragePool>()?;
    Some((Pooling::Average { count_include_pad: pool.count_include_pad }, &pool.window))
}

fn boxed<S: Step + 'static>(step: candle_core::Result<Option<S>>) -> Result<Option<Box<dyn Step>>, Refusal> {
    step.map(|step| step.map(|step| Box::new(step) as Box<dyn Step>)).map_err(|error| error.to_string())
}
