//! What a plan is made for, and which nodes it keeps float for that.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::costs::{Price, RuntimeCosts};
use super::cut::{Cut, FIRST, FORBIDDEN, NOTHING, Network, SECOND};
use super::plan::{QuantPlan, plan, plan_around};
use super::standing::Standings;
use super::target::{Placement, Target};
use super::verdict::is_paired;
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::operator::QuantizationRole;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// All that can run on integers does.
    Integer,
    /// Integers wherever they are not slower.
    Balanced,
    /// The least time, whatever runs on integers.
    Latency,
}

/// Part of the integer time that is not counted where integers are preferred: tables are no more exact.
const PREFERENCE: f64 = 0.05;

impl Objective {
    /// All of them; the first is the default.
    pub const ALL: [Objective; 3] = [Objective::Balanced, Objective::Latency, Objective::Integer];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Integer => "integer",
            Objective::Balanced => "balanced",
            Objective::Latency => "latency",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Objective::Integer => "all that can run on integers does",
            Objective::Balanced => "integers wherever they are predicted to be no slower than float",
            Objective::Latency => "the least predicted time; channels may be padded with zeros",
        }
    }

    fn integer_weight(self) -> f64 {
        if self == Objective::Balanced { 1.0 - PREFERENCE } else { 1.0 }
    }
}

/// Part of the predicted time that may be spent on results in float: their tail, which thresholds and decoders look at, is cut
/// by no integer then.
const WORTH_OF_RESULTS: f64 = 0.02;

/// Nodes that could run on integers but are predicted to make the whole faster in float, and why. The prediction is a cut
/// of least cost: each node costs its time on its side, each value that crosses costs a conversion. Products whose results
/// leave the network follow where they cost hardly anything. Shapes come from `sample`, a copy of `graph` with the same ids
/// in which one sample flows. The nodes in `float` run in float already.
///
/// # Errors
/// If nothing can be quantized.
pub fn faster_in_float(
    graph: &Graph,
    sample: &Graph,
    target: &Target,
    exclude: &[String],
    float: &HashMap<NodeId, String>,
    objective: Objective,
) -> Result<HashMap<NodeId, String>> {
    let plan = plan_around(graph, target, exclude, float)?;
    let Some(costs) = target.costs.filter(|_| objective != Objective::Integer && target.placement == Placement::Everywhere) else {
        return Ok(HashMap::new());
    };
    let mut division = Division::new(graph, sample, costs, &plan);
    division.add_nodes(objective.integer_weight());
    division.tie_shared_weights(&plan);
    division.add_borders();
    division.keep_layouts();
    let spare = if objective == Objective::Balanced { WORTH_OF_RESULTS } else { 0.0 };
    Ok(division.float_nodes(spare))
}

/// Nodes that can run on either side: products, what they fuse, and what stands between integers.
///
/// # Errors
/// If nothing can be quantized.
pub fn movable_nodes(graph: &Graph, target: &Target, exclude: &[String]) -> Result<BTreeSet<NodeId>> {
    let plan = plan(graph, target, exclude)?;
    let quantized = quantized_values(graph, &plan);
    Ok(movable(graph, &plan, &quantized).collect())
}

/// Values that the plan quantizes, and those that are quantized already.
fn quantized_values(graph: &Graph, plan: &QuantPlan) -> HashSet<ValueId> {
    let planned = plan.activations.iter().map(|point| point.value);
    planned.chain(graph.value_ids().filter(|value| is_paired(graph, *value))).collect()
}

fn movable<'a>(graph: &'a Graph, plan: &QuantPlan, quantized: &'a HashSet<ValueId>) -> impl Iterator<Item = NodeId> + 'a {
    let weighted: HashSet<NodeId> = plan.weights.iter().filter(|point| point.integer).map(|point| point.node).collect();
    let either = move |id: &NodeId, node: &Node| weighted.contains(id) || !is_weighted(node) && stays_between(graph, node, quantized);
    graph.nodes().filter(move |(id, node)| either(id, node)).map(|(id, _)| id)
}

/// The network whose first side runs on integers.
struct Division<'a> {
    graph: &'a Graph,
    sample: &'a Graph,
    costs: &'a RuntimeCosts,
    /// Nodes that may run on integers; others are at the place [`SECOND`].
    places: BTreeMap<NodeId, usize>,
    prices: BTreeMap<NodeId, Price>,
    quantized: HashSet<ValueId>,
    network: Network,
}

impl<'a> Division<'a> {
    fn new(graph: &'a Graph, sample: &'a Graph, costs: &'a RuntimeCosts, plan: &QuantPlan) -> Self {
        let quantized = quantized_values(graph, plan);
        let mut network = Network::new();
        let places = movable(graph, plan, &quantized).map(|id| (id, network.add_place())).collect();
        Division { graph, sample, costs, places, prices: BTreeMap::new(), quantized, network }
    }

    fn add_nodes(&mut self, integer_weight: f64) {
        for (id, place) in &self.places {
            let node = self.graph.node(*id);
            if node.operator.quantization_role() == QuantizationRole::Activation {
                // Fused into the product before it, which may still turn out to be float.
                let before = node.input(0).and_then(|value| self.graph.producer(value)).map(|(id, _)| self.place(id));
                self.network.add_edge(*place, before.unwrap_or(SECOND), FORBIDDEN);
                self.network.add_edge(before.unwrap_or(SECOND), *place, FORBIDDEN);
                continue;
            }
            let price = self.costs.price(self.sample, node);
            self.network.add_edge(*place, SECOND, price.integer * integer_weight);
            self.network.add_edge(FIRST, *place, price.float);
            self.prices.insert(*id, price);
        }
    }

    /// Runtimes fold stored weights for float products and keep them for integer ones: one tensor serves one kind.
    fn tie_shared_weights(&mut self, plan: &QuantPlan) {
        let mut first: HashMap<ValueId, usize> = HashMap::new();
        for point in &plan.weights {
            let place = self.place(point.node);
            let other = *first.entry(point.value).or_insert(place);
            if other != place {
                self.network.add_edge(place, other, FORBIDDEN);
                self.network.add_edge(other, place, FORBIDDEN);
            }
        }
    }

    fn add_borders(&mut self) {
        let consumers = self.graph.consumers();
        for value in self.graph.value_ids().filter(|value| self.graph.constant(*value).is_none()) {
            let readers: Vec<usize> = consumers[value.0 as usize].iter().map(|(id, _)| self.place(*id)).collect();
            let producer = self.graph.producer(value).map_or(SECOND, |(id, node)| self.maker(id, node, value));
            let cost = if is_paired(self.graph, value) { 0.0 } else { self.costs.border(self.sample, value) };
            if producer != SECOND {
                let float_read = self.network.add_place();
                self.network.add_edge(producer, float_read, cost);
                readers.iter().for_each(|reader| self.network.add_edge(float_read, *reader, FORBIDDEN));
                if self.graph.is_output(value) {
                    self.network.add_edge(float_read, SECOND, FORBIDDEN);
                }
            }
            let integer_read = self.network.add_place();
            self.network.add_edge(integer_read, producer, cost);
            let readers = readers.iter().filter(|reader| **reader != SECOND);
            readers.for_each(|reader| self.network.add_edge(*reader, integer_read, FORBIDDEN));
        }
    }

    /// Integer kernels have channels last, so whatever stands between them must have them so too: a merge of which one side
    /// comes from floats is transposed on every side, and a function behind an integer product is no longer fused in float.
    fn keep_layouts(&mut self) {
        for (id, place) in &self.places {
            let node = self.graph.node(*id);
            let role = node.operator.quantization_role();
            for value in node.inputs.iter().flatten().filter(|value| self.graph.constant(**value).is_none()) {
                let before = self.graph.producer(*value).map_or(SECOND, |(id, _)| self.place(id));
                match role {
                    QuantizationRole::Merge if before != SECOND => self.network.add_edge(*place, before, FORBIDDEN),
                    QuantizationRole::Function if before != SECOND => {
                        self.network.add_edge(before, *place, self.costs.standing_alone(self.sample, *value));
                    }
                    _ => {}
                }
            }
        }
    }

    fn place(&self, node: NodeId) -> usize {
        self.places.get(&node).copied().unwrap_or(SECOND)
    }

    /// Where `value` comes from: products whose output is not quantized hand out floats.
    fn maker(&self, id: NodeId, node: &Node, value: ValueId) -> usize {
        let hands_out_floats = is_weighted(node) && node.operator.name() != "Conv" && !self.quantized.contains(&value);
        if hands_out_floats { SECOND } else { self.place(id) }
    }

    /// The nodes of the cheapest cut that run in float, and those that make results, as far as all of them together cost no
    /// more than the part `spare` of the whole.
    fn float_nodes(mut self, spare: f64) -> HashMap<NodeId, String> {
        let cheapest = self.network.clone().cheapest_cut();
        let most = cheapest.cost * (1.0 + spare) + NOTHING;
        let mut makers: Vec<(f64, usize)> = self.makers_of_results(&cheapest).map(|place| (self.cut_with(place).cost, place)).collect();
        makers.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut cut = cheapest.clone();
        for (_, place) in makers.into_iter().take_while(|(cost, _)| *cost <= most) {
            let next = self.cut_with(place);
            if next.cost <= most {
                self.network.add_edge(place, SECOND, FORBIDDEN);
                cut = next;
            }
        }
        let percent = 100.0 * (cut.cost / cheapest.cost.max(NOTHING) - 1.0);
        let why = |id: &NodeId, place: usize| match cheapest.first[place] {
            true => format!("its result leaves the network: float, which keeps every tail, costs {percent:.1} % of the predicted time"),
            false => reason(self.prices.get(id)),
        };
        let float = self.places.iter().filter(|(_, place)| !cut.first[**place]);
        float.map(|(id, place)| (*id, why(id, *place))).collect()
    }

    /// Integer products in `cut` whose integer results leave the network.
    fn makers_of_results(&self, cut: &Cut) -> impl Iterator<Item = usize> {
        let standings = Standings::of(self.graph);
        let leaves = |value: ValueId| standings.is_leaving(value) && self.integer_behind(value, &standings);
        let makes = |(id, place): (&NodeId, &usize)| {
            let node = self.graph.node(*id);
            (is_weighted(node) && cut.first[*place] && node.output(0).is_some_and(leaves)).then_some(*place)
        };
        self.places.iter().filter_map(makes).collect::<Vec<_>>().into_iter()
    }

    /// Whether a product's result `value` is quantized, itself or behind the activation that is fused into the product.
    fn integer_behind(&self, value: ValueId, standings: &Standings) -> bool {
        let behind = self.graph.readers(value).iter().filter_map(|(id, _)| self.graph.node(*id).output(0));
        let mut fused = behind.filter(|output| standings.is_leaving(*output));
        self.quantized.contains(&value) || fused.any(|output| self.quantized.contains(&output))
    }

    fn cut_with(&self, float: usize) -> Cut {
        let mut network = self.network.clone();
        network.add_edge(float, SECOND, FORBIDDEN);
        network.cheapest_cut()
    }
}

fn reason(price: Option<&Price>) -> String {
    let Some(Price { float, integer }) = price.map(|price| Price { float: price.float / 1e3, integer: price.integer / 1e3 }) else {
        return "float is faster with its neighbours".to_string();
    };
    if float < integer {
        return format!("float is faster (predicted {float:.1} µs, integers {integer:.1} µs)");
    }
    format!("float is faster with its neighbours (predicted {float:.1} µs, integers {integer:.1} µs and conversions)")
}

fn is_weighted(node: &Node) -> bool {
    node.operator.quantization_role() == QuantizationRole::Weighted
}

/// Whether a plan lets integers through `node`.
fn stays_between(graph: &Graph, node: &Node, quantized: &HashSet<ValueId>) -> bool {
    let data = |value: &&ValueId| graph.constant(**value).is_none();
    let made = node.outputs.iter().flatten().any(|output| quantized.contains(output));
    match node.operator.quantization_role() {
        QuantizationRole::Float | QuantizationRole::Weighted => false,
        QuantizationRole::Activation => made && node.input(0).is_some_and(|input| graph.producer(input).is_some()),
        // The sum of an addition may be quantized behind a Relu.
        QuantizationRole::Merge => node.inputs.iter().flatten().filter(data).all(|input| quantized.contains(input)),
        _ => made && node.inputs.iter().flatten().filter(data).all(|input| quantized.contains(input)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::quantization::targets;

    fn float_names(graph: &Graph, objective: Objective) -> Vec<String> {
        let target = targets::find("ort-cpu").unwrap();
        let found = faster_in_float(graph, graph, &target, &[], &HashMap::new(), objective).unwrap();
        let names = graph.nodes().filter(|(id, _)| found.contains_key(id)).map(|(_, node)| node.name.clone());
        names.collect()
    }

    /// An image to few channels, then wide convolutions in which integers shine.
    fn stem_and_body() -> Graph {
        let sketch = Sketch::new(&[1, 3, 224, 224]).conv("c1", "x", (3, 16), 3, 2).plain("r1", "Relu", "c1");
        let sketch = sketch.conv("c2", "r1", (16, 64), 3, 4).plain("r2", "Relu", "c2").conv("c3", "r2", (64, 64), 3, 1);
        sketch.plain("s", "Add", "c3 r2").conv("y", "s", (64, 64), 3, 1).outputs("y")
    }

    #[test]
    fn all_is_integer_where_that_is_the_objective() {
        assert!(float_names(&stem_and_body(), Objective::Integer).is_empty());
    }

    #[test]
    fn a_stem_is_float_and_takes_its_activation_along() {
        for objective in [Objective::Balanced, Objective::Latency] {
            let found = float_names(&stem_and_body(), objective);
            assert_eq!(found.iter().filter(|name| *name != "y").collect::<Vec<_>>(), ["c1", "r1"]);
        }
    }

    /// A body, one head of few channels and one of many.
    fn body_and_heads(outputs: &str) -> Graph {
        let sketch = Sketch::new(&[1, 64, 56, 56]).conv("a", "x", (64, 64), 3, 1).conv("b", "a", (64, 64), 3, 1);
        let sketch = sketch.conv("c", "b", (64, 64), 3, 1).plain("r", "Relu", "c").conv("d", "r", (64, 64), 3, 2);
        let sketch = sketch.conv("small", "d", (64, 4), 1, 1).plain("score", "Sigmoid", "small").conv("large", "c", (64, 256), 3, 1);
        sketch.outputs(outputs)
    }

    #[test]
    fn results_are_float_where_that_costs_hardly_anything() {
        let target = targets::find("ort-cpu").unwrap();
        let graph = body_and_heads("score large");
        let found = faster_in_float(&graph, &graph, &target, &[], &HashMap::new(), Objective::Balanced).unwrap();
        let names: Vec<&str> = found.keys().map(|id| graph.node(*id).name.as_str()).collect();
        assert_eq!(names, ["small"]);
        assert!(found.values().all(|reason| reason.starts_with("its result leaves the network")), "{found:?}");
        assert!(float_names(&graph, Objective::Latency).is_empty());
        assert!(float_names(&graph, Objective::Integer).is_empty());
    }

    #[test]
    fn nothing_is_worth_two_conversions_of_a_large_image() {
        let depthwise = crate::ops::Attributes::default().int("group", 16).sizes("pads", &[1; 4]);
        let sketch = Sketch::new(&[1, 16, 112, 112]).weights("a_w", &[16, 1, 3, 3], 0.3).weights("c_w", &[16, 1, 3, 3], 0.3);
        let sketch = sketch.node("a", "Conv", "x a_w", depthwise.clone()).conv("b", "a", (16, 16), 1, 1);
        let graph = sketch.node("c", "Conv", "b c_w", depthwise).outputs("c");
        assert_eq!(float_names(&graph, Objective::Latency), ["a", "b", "c"]);
    }
}
