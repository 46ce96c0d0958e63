//! What the weights allow the channels of a value to hold, by interval arithmetic.

use super::moments::{channel_count, function};
use super::rows::rows;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::operator::QuantizationRole;
use crate::ops::{Add, AveragePool, Concat, GlobalAveragePool};

/// Smallest and largest number.
pub type Span = (f64, f64);

/// Products that limits are followed back through: intervals grow with each.
const DEPTH: usize = 3;
/// Places at which a function is looked at between the ends of an interval.
const PLACES: usize = 64;

/// Limits of values of which some are `known`, as those are that integers hold.
pub struct Limits<'a> {
    pub graph: &'a Graph,
    pub known: &'a dyn Fn(ValueId) -> Option<Span>,
}

impl Limits<'_> {
    /// Of each channel of `value`; `None` where nothing limits it.
    pub fn of(&self, value: ValueId) -> Option<Vec<Span>> {
        self.within(value, DEPTH)
    }

    fn within(&self, value: ValueId, depth: usize) -> Option<Vec<Span>> {
        let count = channel_count(self.graph, value)?;
        let made = self.graph.producer(value).and_then(|(_, node)| self.behind(node, depth)).filter(|made| made.len() == count);
        match ((self.known)(value), made) {
            (Some(known), Some(made)) => {
                Some(made.into_iter().map(|span| (span.0.clamp(known.0, known.1), span.1.clamp(known.0, known.1))).collect())
            }
            (Some(known), None) => Some(vec![known; count]),
            (None, made) => made,
        }
    }

    fn behind(&self, node: &Node, depth: usize) -> Option<Vec<Span>> {
        let input = node.input(0)?;
        if node.operator.quantization_role() == QuantizationRole::Weighted {
            return self.behind_product(node, depth.checked_sub(1)?);
        }
        let x = self.within(input, depth)?;
        if node.is::<Add>().is_some() {
            let y = self.within(node.input(1)?, depth)?;
            return (x.len() == y.len()).then(|| x.iter().zip(&y).map(|(x, y)| (x.0 + y.0, x.1 + y.1)).collect());
        }
        if let Some(concat) = node.is::<Concat>() {
            let rank = self.graph.value(input).shape.as_ref()?.len() as i64;
            let parts: Option<Vec<Vec<Span>>> = node.inputs.iter().flatten().map(|part| self.within(*part, depth)).collect();
            return parts.filter(|_| concat.axis.rem_euclid(rank) == 1).map(|parts| parts.concat());
        }
        let averages = node.is::<AveragePool>().is_some() || node.is::<GlobalAveragePool>().is_some();
        if averages || node.operator.quantization_role() == QuantizationRole::PassThrough {
            return Some(x);
        }
        x.iter().enumerate().map(|(channel, span)| through(self.graph, node, channel, *span)).collect()
    }

    /// Windows may lie in part on padding, which is 0.
    fn behind_product(&self, node: &Node, depth: usize) -> Option<Vec<Span>> {
        let x = self.within(node.input(0)?, depth)?;
        let mut spans = Vec::new();
        for row in rows(self.graph, node)? {
            let (mut low, mut high) = (row.bias, row.bias);
            for (input, taps) in row.terms() {
                let (least, most) = x.get(input).map(|span| (span.0.min(0.0), span.1.max(0.0)))?;
                for w in taps.iter().map(|w| f64::from(*w)) {
                    low += (w * least).min(w * most);
                    high += (w * least).max(w * most);
                }
            }
            spans.push((low, high));
        }
        Some(spans)
    }
}

/// What a function of single elements makes of an interval of channel `channel`; `None` if `node` is none.
pub fn through(graph: &Graph, node: &Node, channel: usize, (low, high): Span) -> Option<Span> {
    let function = function(graph, node, channel)?;
    let place = |i: usize| low + (high - low) * i as f64 / PLACES as f64;
    let inside = [0.0].into_iter().filter(|x| (low..=high).contains(x));
    let values = (0..=PLACES).map(place).chain(inside).map(function);
    Some(values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), y| (least.min(y), most.max(y))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::tensor::TensorData;

    #[test]
    fn limits_follow_weights_and_what_is_known() {
        let sketch = Sketch::new(&[1, 2, 4, 4]).constant("w", TensorData::new(&[2, 2, 1, 1], vec![1.0f32, -2.0, 0.5, 0.0]));
        let sketch = sketch.constant("b", TensorData::vector(vec![-0.5f32, 0.0])).plain("c", "Conv", "x w b").plain("r", "Relu", "c");
        let graph = sketch.plain("s", "Add", "r c").plain("u", "Exp", "s").outputs("u");
        let id = |name: &str| graph.find_value(name).unwrap();
        let known = |value: ValueId| match graph.value(value).name.as_str() {
            "x" => Some((-1.0, 1.0)),
            "r" => Some((0.0, 2.0)),
            _ => None,
        };
        let limits = Limits { graph: &graph, known: &known };
        assert_eq!(limits.of(id("c")).unwrap(), [(-3.5, 2.5), (-0.5, 0.5)]);
        assert_eq!(limits.of(id("r")).unwrap(), [(0.0, 2.0), (0.0, 0.5)]);
        assert_eq!(limits.of(id("s")).unwrap(), [(-3.5, 4.5), (-0.5, 1.0)]);
        assert!(limits.of(id("u")).is_none() && Limits { graph: &graph, known: &|_| None }.of(id("c")).is_none());
    }
}
