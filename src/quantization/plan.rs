//! Which values and weights become integers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::exclusion::excluded_nodes;
use super::standing::{Standing, Standings};
use super::target::{Placement, Target};
use super::verdict::{Verdict, is_paired, is_product, judge};
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::ops::{Clip, Conv, Foreign, LeakyRelu, Relu};
use crate::tensor::{DataType, TensorData};

/// A value that gets a QDQ pair.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationPoint {
    pub value: ValueId,
    /// Values of one group share scale and zero point.
    pub group: usize,
    /// Who reads the dequantized value; `None`: everyone.
    pub readers: Option<Vec<(NodeId, usize)>>,
}

/// A value to quantize and who reads it dequantized, before grouping.
type Point = (ValueId, Option<Vec<(NodeId, usize)>>);

/// Another pair, of wider integers, behind that of a value, for readers whose results are wider.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// Of the value.
    pub group: usize,
    pub data_type: DataType,
    pub readers: Vec<(NodeId, usize)>,
}

/// A constant that becomes integers, symmetric about 0.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightPoint {
    pub node: NodeId,
    /// Where `node` reads them: 1, but for a matrix product with constants on the left.
    pub input: usize,
    pub value: ValueId,
    pub axis: Option<usize>,
    pub data_type: DataType,
    /// Whether its node runs on integers; if not, the weights are only stored so.
    pub integer: bool,
    /// Whether `value` holds integers already, with a DequantizeLinear behind them: they stay as they are.
    pub kept: bool,
    /// Whether its result leaves the network and is more than the class of an image: what it looks for is rare.
    pub seeks_rare: bool,
}

/// Values with common parameters; the range is observed on the first one.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub value: ValueId,
    /// Bounds that the producer guarantees.
    pub bounds: (f32, f32),
    /// What a squared error below zero counts for: alpha² where only a LeakyRelu reads the value.
    pub negative_weight: f64,
    pub data_type: DataType,
    /// Of the value that stands nearest to the outputs.
    pub standing: Standing,
}

/// Whether a matrix product will run on integers.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct KernelForecast {
    pub node: String,
    pub operator: String,
    pub integer: bool,
    /// Why not, where it will not.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct QuantPlan {
    pub target: Target,
    pub activations: Vec<ActivationPoint>,
    pub conversions: Vec<Conversion>,
    pub weights: Vec<WeightPoint>,
    pub groups: Vec<Group>,
    pub kernels: Vec<KernelForecast>,
}

/// Plans the quantization of a prepared float graph to 8 bits; an [`super::Assignment`] changes them. `exclude` are globs on node names.
///
/// # Errors
/// If a pattern matches no node, or nothing can be quantized.
pub fn plan(graph: &Graph, target: &Target, exclude: &[String]) -> Result<QuantPlan> {
    plan_around(graph, target, exclude, &HashMap::new())
}

/// Like [`plan`], but the nodes in `float` run in float, for the reasons given; the weights of these are still stored as integers.
///
/// # Errors
/// Those of [`plan`].
pub fn plan_around(graph: &Graph, target: &Target, exclude: &[String], float: &HashMap<NodeId, String>) -> Result<QuantPlan> {
    let mut excluded = excluded_nodes(graph, exclude)?;
    let stored: HashMap<NodeId, String> =
        float.iter().filter(|(id, _)| !excluded.contains(id)).map(|(id, reason)| (*id, reason.clone())).collect();
    excluded.extend(stored.keys());
    let mut planner = Planner {
        graph,
        target,
        consumers: graph.consumers(),
        excluded,
        stored,
        integer: HashSet::new(),
        quantized: HashSet::new(),
        kernels: Vec::new(),
    };
    let weights = planner.choose_weighted();
    if weights.is_empty() {
        return Err(Error::Usage("nothing to quantize: no Conv, ConvTranspose, Gemm or MatMul with constant weights is left".to_string()));
    }
    let activations = match target.placement {
        Placement::Everywhere => {
            planner.quantize_between();
            planner.quantized.iter().copied().map(|value| (value, None)).collect()
        }
        Placement::WeightedInputs | Placement::ProductInputs => planner.weighted_inputs(),
        Placement::AllValues => planner.all_values(),
    };
    let activations = activations.into_iter().filter(|(value, _)| !is_paired(graph, *value)).collect();
    let (activations, groups) = planner.group(activations);
    Ok(QuantPlan { target: target.clone(), activations, conversions: Vec::new(), weights, groups, kernels: planner.kernels })
}

struct Planner<'a> {
    graph: &'a Graph,
    target: &'a Target,
    consumers: Vec<Vec<(NodeId, usize)>>,
    excluded: HashSet<NodeId>,
    /// Nodes among the excluded whose weights are stored as integers, and why they run in float.
    stored: HashMap<NodeId, String>,
    /// Weighted nodes that become integer.
    integer: HashSet<NodeId>,
    quantized: HashSet<ValueId>,
    kernels: Vec<KernelForecast>,
}

impl Planner<'_> {
    fn choose_weighted(&mut self) -> Vec<WeightPoint> {
        let rare = Standings::before_rare(self.graph);
        let mut points = Vec::new();
        let mut axes: HashMap<ValueId, Option<usize>> = HashMap::new();
        let nodes: Vec<NodeId> = self.graph.nodes().map(|(id, _)| id).collect();
        for id in nodes {
            let node = self.graph.node(id);
            if !is_product(node) {
                continue;
            }
            let verdict = self.judge(id, node, &axes);
            let forecast =
                |integer, reason| KernelForecast { node: node.name.clone(), operator: node.operator.name().to_string(), integer, reason };
            match verdict {
                Ok(Verdict { mut point, reason }) => {
                    point.seeks_rare = node.output(0).is_some_and(|output| rare.is_leaving(output));
                    axes.insert(point.value, point.axis);
                    if point.integer {
                        self.integer.insert(id);
                    }
                    self.kernels.push(forecast(point.integer, self.stored.get(&id).cloned().or(reason)));
                    points.push(point);
                }
                Err(reason) => self.kernels.push(forecast(false, Some(reason))),
            }
        }
        points
    }

    /// The weight to quantize, or why the node stays float.
    fn judge(&self, id: NodeId, node: &Node, axes: &HashMap<ValueId, Option<usize>>) -> Result<Verdict, String> {
        let integer = !self.stored.contains_key(&id);
        if integer && self.excluded.contains(&id) {
            return Err("excluded by --exclude".to_string());
        }
        let mut verdict = judge(self.graph, self.target, id, node)?;
        if axes.get(&verdict.point.value).is_some_and(|known| *known != verdict.point.axis && known.is_some()) {
            return Err("its weights are shared with a product along another axis".to_string());
        }
        verdict.point.integer &= integer;
        Ok(verdict)
    }

    fn sole_consumer(&self, value: ValueId) -> Option<(NodeId, &Node)> {
        let [(id, _)] = self.consumers[value.0 as usize][..] else { return None };
        (!self.graph.is_output(value)).then(|| (id, self.graph.node(id)))
    }

    /// The value that carries a node's result: behind a Relu or Clip that the runtime fuses into it.
    fn carried(&self, node: &Node) -> Option<ValueId> {
        let output = node.output(0)?;
        let Some((_, next)) = self.sole_consumer(output) else { return Some(output) };
        if next.is::<Relu>().is_some() || clip_bounds(self.graph, next).is_some_and(|(low, _)| low == 0.0) {
            return next.output(0);
        }
        Some(output)
    }

    /// Values whose numbers reach an integer product through operators that have integer kernels.
    fn feeding(&self) -> HashSet<ValueId> {
        let mut feeding = HashSet::new();
        for (id, node) in self.graph.nodes().rev() {
            let through = node.output(0).is_some_and(|_| node.outputs.iter().flatten().any(|output| feeding.contains(output)));
            let role = node.operator.quantization_role();
            let passes = through && !matches!(role, QuantizationRole::Float | QuantizationRole::Weighted);
            if self.integer.contains(&id) {
                feeding.extend(node.input(0));
            } else if passes && !self.excluded.contains(&id) {
                feeding.extend(node.inputs.iter().flatten().filter(|value| self.graph.constant(**value).is_none()));
            }
        }
        feeding
    }

    fn quantize_between(&mut self) {
        let feeding = self.feeding();
        self.quantized.extend(self.graph.value_ids().filter(|value| is_paired(self.graph, *value) && feeding.contains(value)));
        for id in self.integer.clone() {
            let node = self.graph.node(id);
            self.quantized.extend(node.input(0));
            if node.is::<Conv>().is_some() {
                self.quantized.extend(self.carried(node));
            }
        }
        loop {
            let before = self.quantized.len();
            let nodes: Vec<NodeId> = self.graph.nodes().map(|(id, _)| id).filter(|id| !self.excluded.contains(id)).collect();
            for id in nodes {
                self.extend_through(self.graph.node(id), &feeding);
            }
            if self.quantized.len() == before {
                return;
            }
        }
    }

    /// Quantizes the inputs and outputs of an operator with an integer kernel between quantized values.
    fn extend_through(&mut self, node: &Node, feeding: &HashSet<ValueId>) {
        let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().filter(|value| self.graph.constant(*value).is_none()).collect();
        let any = inputs.iter().any(|value| self.quantized.contains(value));
        let outputs_feed = node.outputs.iter().flatten().any(|output| feeding.contains(output));
        let float_data = |value: &ValueId| self.graph.value(*value).data_type == Some(DataType::F32);
        if !any || !outputs_feed || !inputs.iter().all(float_data) {
            return;
        }
        match node.operator.quantization_role() {
            QuantizationRole::Merge
                if inputs.len() == node.inputs.iter().flatten().count() && (inputs.len() == 2 || node.operator.name() == "Concat") =>
            {
                self.quantized.extend(inputs);
                self.quantized.extend(self.carried(node));
            }
            QuantizationRole::Function => {
                self.quantized.extend(node.output(0));
            }
            QuantizationRole::PassThrough => {
                self.quantized.extend(node.outputs.iter().flatten().filter(|output| feeding.contains(output) && float_data(output)));
            }
            _ => {}
        }
    }

    fn weighted_inputs(&self) -> Vec<Point> {
        let skips = self.target.placement == Placement::WeightedInputs;
        let mut readers: BTreeMap<ValueId, Vec<(NodeId, usize)>> = BTreeMap::new();
        for (id, node) in self.graph.nodes() {
            if self.integer.contains(&id)
                && let Some(x) = node.input(0)
            {
                readers.entry(x).or_default().push((id, 0));
            }
            if let Some((value, index)) = self.skip_input(node).filter(|_| skips && !self.excluded.contains(&id)) {
                readers.entry(value).or_default().push((id, index));
            }
        }
        readers.into_iter().map(|(value, readers)| (value, Some(readers))).collect()
    }

    /// Every float value that can be computed, around the nodes that may run on integers.
    fn all_values(&self) -> Vec<Point> {
        let mut computed: HashSet<ValueId> = self.graph.inputs.iter().copied().collect();
        let mut values: BTreeSet<ValueId> = BTreeSet::new();
        for (id, node) in self.graph.nodes() {
            let inputs = || node.inputs.iter().flatten().filter(|value| self.graph.constant(**value).is_none());
            if node.is::<Foreign>().is_some() || !inputs().all(|value| computed.contains(value)) {
                continue;
            }
            computed.extend(node.outputs.iter().flatten());
            if self.excluded.contains(&id) || self.has_float_operand(id, node) {
                continue;
            }
            let fused = |value: &&ValueId| {
                let maker = self.graph.producer(**value).filter(|(_, maker)| maker.output(0) == Some(**value));
                maker.is_some_and(|(id, maker)| self.result(id, maker) != Some(**value))
            };
            values.extend(inputs().filter(|value| !fused(value)));
            values.extend(self.result(id, node));
            values.extend(node.outputs.iter().skip(1).flatten());
        }
        values.retain(|value| self.graph.value(*value).data_type == Some(DataType::F32));
        values.into_iter().map(|value| (value, None)).collect()
    }

    /// What carries the first result of a node, behind an activation where products and merges fuse it.
    fn result(&self, id: NodeId, node: &Node) -> Option<ValueId> {
        let fuses = self.integer.contains(&id) || node.operator.quantization_role() == QuantizationRole::Merge;
        if fuses && !self.excluded.contains(&id) { self.carried(node) } else { node.output(0) }
    }

    /// Whether a product of `node` with constants is computed in float.
    fn has_float_operand(&self, id: NodeId, node: &Node) -> bool {
        let operands = || node.inputs.iter().flatten().filter_map(|value| self.graph.constant(*value));
        let elementwise =
            matches!(node.operator.name(), "Add" | "Mul" | "Sum" | "Concat" | "Sub" | "Div" | "Pow" | "Max" | "Min" | "PRelu");
        match node.operator.quantization_role() {
            QuantizationRole::Weighted => !self.integer.contains(&id),
            _ => elementwise && operands().any(|tensor| tensor.data_type() == DataType::F32),
        }
    }

    /// The input of a residual addition that does not come straight from a convolution, if exactly one does.
    fn skip_input(&self, node: &Node) -> Option<(ValueId, usize)> {
        if node.operator.name() != "Add" {
            return None;
        }
        let (a, b) = (node.input(0)?, node.input(1)?);
        let from_product = |value: ValueId| self.graph.producer(value).is_some_and(|(id, _)| self.integer.contains(&id));
        let data = |value: ValueId| self.graph.constant(value).is_none();
        match (from_product(a), from_product(b)) {
            (true, _) if data(b) => Some((b, 1)),
            (false, true) if data(a) => Some((a, 0)),
            _ => None,
        }
    }

    /// Joins values across pass-through operators.
    fn group(&self, mut points: Vec<Point>) -> (Vec<ActivationPoint>, Vec<Group>) {
        let position: HashMap<ValueId, usize> = self.positions();
        points.sort_by_key(|(value, _)| (position.get(value).copied().unwrap_or(0), *value));
        let mut root: HashMap<ValueId, ValueId> = points.iter().map(|(value, _)| (*value, *value)).collect();
        if !self.target.placement.is_at_inputs() {
            for (_, node) in self.graph.nodes().filter(|(_, node)| node.operator.quantization_role() == QuantizationRole::PassThrough) {
                let Some(from) = node.input(0).and_then(|value| root.get(&value).copied()) else { continue };
                for output in node.outputs.iter().flatten() {
                    if root.contains_key(output) {
                        root.insert(*output, from);
                    }
                }
            }
        }
        let standings = Standings::of(self.graph);
        let mut groups: Vec<Group> = Vec::new();
        let mut index_of: HashMap<ValueId, usize> = HashMap::new();
        let mut activations = Vec::new();
        for (value, readers) in points {
            let first = root[&value];
            let group = *index_of.entry(first).or_insert_with(|| {
                let (bounds, negative_weight) = (self.bounds(first), self.negative_weight(first));
                let (data_type, standing) = (self.target.activation_type, Standing::default());
                groups.push(Group { value: first, bounds, negative_weight, data_type, standing });
                groups.len() - 1
            });
            groups[group].standing = groups[group].standing.max(standings.standing(value));
            activations.push(ActivationPoint { value, group, readers });
        }
        (activations, groups)
    }

    fn negative_weight(&self, value: ValueId) -> f64 {
        let leaky = self.sole_consumer(value).and_then(|(_, node)| node.is::<LeakyRelu>().map(|leaky| f64::from(leaky.alpha)));
        leaky.map_or(1.0, |alpha| (alpha * alpha).clamp(1e-4, 1.0))
    }

    fn positions(&self) -> HashMap<ValueId, usize> {
        let outputs =
            self.graph.nodes().enumerate().flat_map(|(i, (_, node))| node.outputs.iter().flatten().map(move |value| (*value, i + 1)));
        outputs.collect()
    }

    /// Bounds that the producing operator guarantees.
    fn bounds(&self, value: ValueId) -> (f32, f32) {
        let Some((_, node)) = self.graph.producer(value) else { return (f32::NEG_INFINITY, f32::INFINITY) };
        match node.operator.name() {
            "Relu" => (0.0, f32::INFINITY),
            "Sigmoid" | "HardSigmoid" | "Softmax" => (0.0, 1.0),
            "Clip" => clip_bounds(self.graph, node).unwrap_or((f32::NEG_INFINITY, f32::INFINITY)),
            _ => (f32::NEG_INFINITY, f32::INFINITY),
        }
    }
}

/// The bounds of a Clip, where they are constant.
pub fn clip_bounds(graph: &Graph, node: &Node) -> Option<(f32, f32)> {
    node.is::<Clip>()?;
    let bound = |index: usize, default: f32| match node.input(index) {
        None => Some(default),
        Some(value) => graph.constant(value).and_then(TensorData::to_f32)?.first().copied(),
    };
    Some((bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?))
}
