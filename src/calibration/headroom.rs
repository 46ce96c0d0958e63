//! Room in the integers of results for what samples do not show: a thing looked for is rare, and code that thresholds, decodes
//! and sorts looks at the tail.

use std::collections::HashMap;

use super::CalibrationSet;
use super::calibrate::Ranges;
use super::histogram::Histogram;
use super::limits::{Limits, Span, through};
use super::moments::channel_count;
use super::rows::{Row, rows};
use crate::error::Result;
use crate::execution::{self, observe};
use crate::graph::{Graph, Node, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::ops::{Add, Concat, Mul, Sub};
use crate::quantization::{Group, QuantPlan, Standing, scheme};
use crate::tensor::TensorData;

/// What samples show of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    /// What excited samples show of it.
    pub excited: Span,
}

/// The span of no number at all.
const NOTHING: Span = (f64::INFINITY, f64::NEG_INFINITY);

impl Shown {
    fn width(self) -> f64 {
        self.high - self.low
    }
}

/// What samples show of the channels that results are made of.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    channels: HashMap<ValueId, Vec<Shown>>,
    /// What excited samples show of values as a whole.
    excited: HashMap<ValueId, Span>,
}

/// How far beyond what was seen of a channel, from its mean, it is expected to come.
const BEYOND: f64 = 1.5;
/// Part of the widest channel below which one counts as never seen at work.
const SILENT: f64 = 0.02;
/// How many times the range that was seen integers of results hold, at most: four bits.
const MOST: f64 = 16.0;
/// The same for what results are made of, where channels are silent.
const MOST_BEFORE: f64 = 2.0;
/// Part of what was seen that is added on each side where weights say nothing.
const SPARE: f64 = 0.5;
/// Levels below which a tail is worth none.
const LEAST_LEVELS: f64 = 200.0;

impl Coverage {
    /// Looks at what the last products of `graph` read, where the plan makes integers of it: on samples that are usual, and on
    /// those where outputs were made active.
    ///
    /// # Errors
    /// If that cannot be computed.
    pub fn measure(
        graph: &Graph,
        plan: &QuantPlan,
        usual: &CalibrationSet,
        excited: Option<&CalibrationSet>,
        config: &execution::Config,
    ) -> Result<Coverage> {
        let mut values: Vec<(ValueId, usize)> = graph.nodes().filter_map(|(_, node)| read_by_last(graph, node, plan)).collect();
        values.sort_unstable();
        values.dedup();
        let mut coverage = Coverage::default();
        let shown = channels(graph, &values, usual, config)?;
        coverage.channels.extend(values.iter().map(|(value, _)| *value).zip(shown));
        let Some(excited) = excited else { return Ok(coverage) };
        for ((value, _), excited) in values.iter().zip(channels(graph, &values, excited, config)?) {
            let shown = coverage.channels.get_mut(value).into_iter().flatten();
            shown.zip(excited).for_each(|(shown, excited)| shown.excited = (excited.low, excited.high));
        }
        let results = plan.groups.iter().filter(|group| group.standing != Standing::Inner).map(|group| (group.value, 1));
        let results: Vec<(ValueId, usize)> = results.collect();
        let spans = channels(graph, &results, excited, config)?.into_iter().map(|shown| (shown[0].low, shown[0].high));
        coverage.excited.extend(results.iter().map(|(value, _)| *value).zip(spans));
        Ok(coverage)
    }

    /// What each channel should have room for of what product `node` makes, with an activation behind it if `carried` is not its
    /// own output: what samples show of it, and how far weights let it come. `ranges` are those of `plan`.
    ///
    /// # Errors
    /// If `carried` cannot be computed.
    pub fn rooms_of_channels(
        &self,
        graph: &Graph,
        (plan, ranges): (&QuantPlan, &Ranges),
        (node, carried): (&Node, ValueId),
        set: &CalibrationSet,
        config: &execution::Config,
    ) -> Result<Option<Vec<Span>>> {
        let Some(reached) = (Room { graph, plan, coverage: self, ranges }).reach_of_channels(node) else { return Ok(None) };
        let shown = channels(graph, &[(carried, reached.len())], set, config)?;
        let behind = graph.producer(carried).map(|(_, last)| last).filter(|_| node.output(0) != Some(carried));
        let room = |(shown, reached): (&Shown, Span)| {
            let reached = behind.and_then(|last| through(graph, last, 0, reached)).unwrap_or(reached);
            widened((shown.low.min(0.0), shown.high.max(0.0)), reached, MOST)
        };
        Ok(shown.first().map(|shown| shown.iter().zip(reached).map(room).collect()))
    }

    /// Widens the ranges of results, and of what results are made of, beyond what `seen` shows of the groups of `plan`.
    pub fn widen(&self, graph: &Graph, plan: &QuantPlan, seen: &[Histogram], ranges: &mut Ranges) {
        for standing in [Standing::BeforeLast, Standing::Leaving] {
            for (index, (group, seen)) in plan.groups.iter().zip(seen).enumerate().filter(|(_, (group, _))| group.standing == standing) {
                let levels = group.data_type.integer_range().map_or(255.0, |(low, high)| high - low);
                if levels < LEAST_LEVELS || graph.is_input(group.value) {
                    continue;
                }
                let room = Room { graph, plan, coverage: self, ranges };
                let span = match standing {
                    Standing::Leaving => room.of_result(group, seen),
                    _ => room.before_result(index, group, seen),
                };
                let (low, high) = within(span, group.bounds);
                ranges.0[index] = scheme::activation(low as f32, high as f32, group.data_type, plan.target.symmetric_activations);
            }
        }
    }
}

/// What `set` shows of each of so many channels of values.
fn channels(graph: &Graph, values: &[(ValueId, usize)], set: &CalibrationSet, config: &execution::Config) -> Result<Vec<Vec<Shown>>> {
    let none = Shown { mean: 0.0, low: f64::INFINITY, high: f64::NEG_INFINITY, excited: NOTHING };
    let mut shown: Vec<(f64, Vec<Shown>)> = values.iter().map(|(_, channels)| (0.0, vec![none; *channels])).collect();
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<ValueId> = values.iter().map(|(value, _)| *value).collect();
    observe(graph, &wanted, set, config, &mut |_, elements| {
        for ((places, shown), elements) in shown.iter_mut().zip(elements) {
            for row in elements.chunks_exact(shown.len()) {
                *places += 1.0;
                for (shown, x) in shown.iter_mut().zip(row.iter().map(|x| f64::from(*x))) {
                    *shown = Shown { mean: shown.mean + x, low: shown.low.min(x), high: shown.high.max(x), ..*shown };
                }
            }
        }
    })?;
    let means =
        |(places, shown): (f64, Vec<Shown>)| shown.into_iter().map(|shown| Shown { mean: shown.mean / places.max(1.0), ..shown }).collect();
    Ok(shown.into_iter().map(means).collect())
}

/// What a product reads as integers whose result leaves, and the number of its channels.
fn read_by_last(graph: &Graph, node: &Node, plan: &QuantPlan) -> Option<(ValueId, usize)> {
    let x = node.input(0).filter(|_| is_product(node))?;
    let group = plan.activations.iter().find(|point| point.value == x)?.group;
    let is_last = plan.groups[group].standing != Standing::Inner && rows(graph, node).is_some();
    channel_count(graph, x).filter(|_| is_last).map(|channels| (x, channels))
}

fn is_product(node: &Node) -> bool {
    node.operator.quantization_role() == QuantizationRole::Weighted
}

fn within((low, high): Span, bounds: (f32, f32)) -> Span {
    let bounds = (f64::from(bounds.0), f64::from(bounds.1));
    let low = if bounds.0 == 0.0 { 0.0 } else { low.max(bounds.0) };
    (low, high.min(bounds.1))
}

fn hull(a: Span, b: Span) -> Span {
    (a.0.min(b.0), a.1.max(b.1))
}

/// What was seen, with the zero that integers hold anyway.
fn seen_with_zero(seen: &Histogram) -> Span {
    let (low, high) = seen.range();
    (f64::from(low.min(0.0)), f64::from(high.max(0.0)))
}

/// `seen`, widened toward `wanted` as far as `most` times its width allows.
fn widened(seen: Span, wanted: Span, most: f64) -> Span {
    let (below, above) = ((seen.0 - wanted.0).max(0.0), (wanted.1 - seen.1).max(0.0));
    let part = ((most - 1.0) * (seen.1 - seen.0) / (below + above).max(f64::MIN_POSITIVE)).min(1.0);
    (seen.0 - part * below, seen.1 + part * above)
}

/// What room values get beside the ranges that are chosen already.
struct Room<'a> {
    graph: &'a Graph,
    plan: &'a QuantPlan,
    coverage: &'a Coverage,
    ranges: &'a Ranges,
}

impl Room<'_> {
    fn of_result(&self, group: &Group, seen: &Histogram) -> Span {
        if group.bounds.0.is_finite() && group.bounds.1.is_finite() {
            return (f64::from(group.bounds.0), f64::from(group.bounds.1));
        }
        let seen = seen_with_zero(seen);
        let spare = SPARE * (seen.1 - seen.0);
        let wanted = self.reach(group.value).unwrap_or((seen.0 - spare, seen.1 + spare));
        widened(seen, hull(wanted, self.excited(group)), MOST)
    }

    /// All that was seen, what excited samples show, and what weights let those channels reach of which nothing was seen.
    fn before_result(&self, index: usize, group: &Group, seen: &Histogram) -> Span {
        let chosen = self.ranges.0[index].span(self.ranges.0[index].scale[0]);
        let seen = hull(seen_with_zero(seen), chosen);
        widened(seen, hull(self.of_silent(index, group), self.excited(group)), MOST_BEFORE)
    }

    fn excited(&self, group: &Group) -> Span {
        self.coverage.excited.get(&group.value).copied().unwrap_or(NOTHING)
    }

    /// How far weights let the silent channels of a group come.
    fn of_silent(&self, index: usize, group: &Group) -> Span {
        let mut values = self.plan.activations.iter().filter(|point| point.group == index).map(|point| point.value);
        let Some(shown) = values.find_map(|value| self.coverage.channels.get(&value)) else { return NOTHING };
        let silent = silent(shown);
        if !silent.contains(&true) {
            return NOTHING;
        }
        let known = |value: ValueId| self.known(value).filter(|_| value != group.value);
        let Some(limits) = (Limits { graph: self.graph, known: &known }).of(group.value) else { return NOTHING };
        limits.into_iter().zip(silent).filter(|(_, silent)| *silent).map(|(span, _)| span).fold(NOTHING, hull)
    }

    /// What the integers of `value` hold, where it has some.
    fn known(&self, value: ValueId) -> Option<Span> {
        let point = self.plan.activations.iter().find(|point| point.value == value)?;
        let params = self.ranges.0.get(point.group)?;
        Some(params.span(*params.scale.first()?))
    }

    /// How far `value`, a result, may come by the weights that make it.
    fn reach(&self, value: ValueId) -> Option<Span> {
        let (_, node) = self.graph.producer(value)?;
        if is_product(node) {
            return self.behind_product(node);
        }
        let operand = |index: usize| {
            let input = node.input(index)?;
            self.constant(input).or_else(|| self.reach(input))
        };
        let x = operand(0)?;
        if node.is::<Concat>().is_some() {
            return (1..node.inputs.len()).try_fold(x, |all, index| Some(hull(all, operand(index)?)));
        }
        if node.is::<Add>().is_some() || node.is::<Sub>().is_some() {
            let y = operand(1)?;
            let y = if node.is::<Sub>().is_some() { (-y.1, -y.0) } else { y };
            return Some((x.0 + y.0, x.1 + y.1));
        }
        if node.is::<Mul>().is_some() {
            let y = operand(1)?;
            let corners = [x.0 * y.0, x.0 * y.1, x.1 * y.0, x.1 * y.1];
            return Some(corners.into_iter().fold(NOTHING, |span, corner| hull(span, (corner, corner))));
        }
        if node.operator.quantization_role() == QuantizationRole::PassThrough || node.operator.name() == "Transpose" {
            return Some(x);
        }
        through(self.graph, node, 0, x)
    }

    fn constant(&self, value: ValueId) -> Option<Span> {
        let elements = self.graph.constant(value).and_then(TensorData::to_f32)?;
        Some(elements.iter().map(|x| f64::from(*x)).fold(NOTHING, |span, x| hull(span, (x, x))))
    }

    fn behind_product(&self, node: &Node) -> Option<Span> {
        self.reach_of_channels(node)?.into_iter().reduce(hull)
    }

    /// The means of all outputs, with the root of the summed squares of what each input channel can add.
    fn reach_of_channels(&self, node: &Node) -> Option<Vec<Span>> {
        let x = node.input(0)?;
        let shown = self.coverage.channels.get(&x)?;
        let limits = Limits { graph: self.graph, known: &|value| self.known(value) }.of(x);
        let silent = silent(shown);
        let extent = |channel: usize| {
            let Shown { mean, low, high, excited } = shown[channel];
            let beyond = (mean - BEYOND * (mean - low), mean + BEYOND * (high - mean));
            let beyond = hull(beyond, excited);
            match limits.as_ref().and_then(|limits| limits.get(channel)) {
                Some(limit) if silent[channel] => *limit,
                Some(limit) => (beyond.0.max(limit.0).min(low), beyond.1.min(limit.1).max(high)),
                None => beyond,
            }
        };
        let extents: Vec<Span> = (0..shown.len()).map(extent).collect();
        Some(rows(self.graph, node)?.iter().map(|row| row_reach(row, shown, &extents)).collect())
    }
}

/// Which channels were never seen at work.
fn silent(shown: &[Shown]) -> Vec<bool> {
    let widest = shown.iter().map(|shown| shown.width()).fold(0.0, f64::max);
    shown.iter().map(|shown| shown.width() <= SILENT * widest).collect()
}

/// How far one output comes: each input channel is at its mean, or at an end all over the window, or at one place of it.
fn row_reach(row: &Row, shown: &[Shown], extents: &[Span]) -> Span {
    let (mut mean, mut below, mut above) = (row.bias, 0.0, 0.0);
    for (channel, taps) in row.terms() {
        let (shown, extent) = (shown[channel], extents[channel]);
        let whole: f64 = taps.iter().map(|w| f64::from(*w)).sum();
        mean += whole * shown.mean;
        let weights = taps.iter().map(|w| f64::from(*w)).chain([whole]);
        let moves = weights.flat_map(|w| [w * (extent.0 - shown.mean), w * (extent.1 - shown.mean)]);
        let (down, up) = moves.fold((0.0f64, 0.0f64), |(down, up), by| (down.min(by), up.max(by)));
        below += down * down;
        above += up * up;
    }
    (mean - below.sqrt(), mean + above.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{choose_ranges, histograms, observers};
    use crate::graph::sketch::{Sketch, noise};
    use crate::progress::Silent;
    use crate::quantization::{plan, targets};

    /// A unit that noise never wakes, and a score that is high where it is awake and below zero elsewhere.
    fn detector() -> Graph {
        let window: Vec<f32> = [vec![0.2f32; 9], vec![0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1]].concat();
        let sketch = Sketch::new(&[0, 1, 8, 8]).constant("w", TensorData::new(&[2, 1, 3, 3], window));
        let sketch = sketch.constant("b", TensorData::vector(vec![-1.6f32, 0.3])).plain("c", "Conv", "x w b").plain("r", "Relu", "c");
        let sketch = sketch.constant("v", TensorData::new(&[1, 2, 1, 1], vec![30.0f32, -1.0]));
        sketch.plain("y", "Conv", "r v").outputs("y")
    }

    fn ranges(graph: &Graph, set: &CalibrationSet) -> (QuantPlan, Ranges, Ranges) {
        let (config, observer) = (execution::Config::default(), observers::find("mse").unwrap());
        let plan = plan(graph, &targets::find("ort-cpu").unwrap(), &[]).unwrap();
        let values: Vec<ValueId> = plan.groups.iter().map(|group| group.value).collect();
        let seen = histograms(graph, &values, set, &config, &Silent).unwrap();
        let chosen = choose_ranges(&plan, &seen, observer.as_ref(), &[(graph.inputs[0], (-2.0, 2.0))].into());
        let mut widened = chosen.clone();
        Coverage::measure(graph, &plan, set, None, &config).unwrap().widen(graph, &plan, &seen, &mut widened);
        (plan, chosen, widened)
    }

    fn span(graph: &Graph, (plan, ranges): (&QuantPlan, &Ranges), name: &str) -> Span {
        let group = plan.activations.iter().find(|point| graph.value(point.value).name == name).unwrap().group;
        ranges.0[group].span(ranges.0[group].scale[0])
    }

    #[test]
    fn a_result_has_room_for_what_weights_look_for_and_samples_do_not_show() {
        let graph = detector();
        let mut set = noise(&graph, 16);
        let calm = (0..16).flat_map(|index| set.inputs[0].sample(index).unwrap().iter().map(|x| 0.2 * x).collect::<Vec<f32>>()).collect();
        set.inputs[0] = crate::calibration::Samples::new("x", vec![1, 1, 8, 8], calm).unwrap();
        let (plan, chosen, widened) = ranges(&graph, &set);
        assert_eq!(span(&graph, (&plan, &chosen), "y").1, 0.0);
        // Where the unit is awake, x is 1 and the score 30 · 0.2 − 0.4.
        let (low, high) = span(&graph, (&plan, &widened), "y");
        assert!(high > 5.6 && high < 9.0 && low <= span(&graph, (&plan, &chosen), "y").0, "{low} {high}");
        assert!(span(&graph, (&plan, &widened), "r").1 >= span(&graph, (&plan, &chosen), "r").1);
        assert_eq!(span(&graph, (&plan, &widened), "x"), span(&graph, (&plan, &chosen), "x"));
    }

    #[test]
    fn room_is_given_on_both_sides_and_not_beyond_what_keeps_bits() {
        assert_eq!(widened((-2.0, 2.0), (-3.0, 5.0), 8.0), (-3.0, 5.0));
        assert_eq!(widened((-2.0, 2.0), (-30.0, 30.0), 4.0), (-8.0, 8.0));
        assert_eq!(widened((0.0, 1.0), (0.0, 100.0), 2.0), (0.0, 2.0));
        assert_eq!(widened((-1.0, 1.0), NOTHING, 8.0), (-1.0, 1.0));
    }
}
