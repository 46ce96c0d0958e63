//! What a runtime takes for an operator in float and in integers, as far as measurements tell.

use crate::graph::{Graph, Node, ValueId, known_shape};
use crate::ops::operator::QuantizationRole;
use crate::ops::{Conv, Gemm, MatMul};

/// Nanoseconds of one kind of operator, linear in what it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub node: f64,
    pub mac: f64,
    pub element: f64,
    /// Per pixel of the output, whatever its channels.
    pub position: f64,
    /// Per place of the window at each of these, whatever the channels.
    pub window: f64,
}

/// One runtime on one machine; each kind of operator in float and in integers.
#[derive(Debug, PartialEq)]
pub struct RuntimeCosts {
    /// Windows up to 3×3.
    pub float_depthwise: Cost,
    pub integer_depthwise: Cost,
    pub float_wide_depthwise: Cost,
    pub integer_wide_depthwise: Cost,
    /// Channels fill no whole block.
    pub float_uneven_depthwise: Cost,
    pub integer_uneven_depthwise: Cost,
    pub float_uneven_wide_depthwise: Cost,
    pub integer_uneven_wide_depthwise: Cost,
    pub float_pointwise: Cost,
    pub integer_pointwise: Cost,
    pub float_spatial: Cost,
    pub integer_spatial: Cost,
    /// Convolutions of so few channels that integer kernels gather every window first.
    pub float_stem: Cost,
    pub integer_stem: Cost,
    /// Of signals, with one spatial axis: these have no layout in blocks in float.
    pub float_line: Cost,
    pub integer_line: Cost,
    pub float_line_depthwise: Cost,
    pub integer_line_depthwise: Cost,
    pub float_function: Cost,
    pub integer_function: Cost,
    pub float_pool: Cost,
    pub integer_pool: Cost,
    pub float_addition: Cost,
    pub integer_addition: Cost,
    pub float_concatenation: Cost,
    pub integer_concatenation: Cost,
    /// Into integers and back again.
    pub border: Cost,
}

/// Nanoseconds of one node either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    pub float: f64,
    pub integer: f64,
}

/// Channels that one step of a float kernel takes.
pub const BLOCK: usize = 16;
/// Channels of a pixel that integer kernels multiply at once; they read multiples of these where they stand.
const QUARTET: usize = 4;

/// What a node does.
#[derive(Clone, Copy)]
struct Work {
    macs: f64,
    elements: f64,
    positions: f64,
    window: f64,
}

impl Cost {
    fn of(&self, work: &Work) -> f64 {
        let at_positions = (self.position + self.window * work.window) * work.positions;
        self.node + self.mac * work.macs + self.element * work.elements + at_positions
    }
}

/// Work of making `value` with `macs` multiplications for each element. Channels fill whole blocks, as they do in memory.
fn work(sample: &Graph, value: ValueId, macs: f64) -> Option<Work> {
    let shape = known_shape(sample.value(value).shape.as_deref()?)?;
    let (channels, positions) = match shape.as_slice() {
        [batch, channels, rest @ ..] if !rest.is_empty() => (*channels, batch * rest.iter().product::<usize>()),
        [rows, columns] => (*columns, *rows),
        other => (other.iter().product(), 1),
    };
    let elements = (channels.div_ceil(BLOCK) * BLOCK * positions) as f64;
    Some(Work { macs: macs * elements, elements, positions: positions as f64, window: 0.0 })
}

impl RuntimeCosts {
    /// What `node` costs; nothing either way where that is not known. Shapes are taken from `sample`, a copy of the graph
    /// in which all that can be known is.
    pub fn price(&self, sample: &Graph, node: &Node) -> Price {
        self.known_price(sample, node).unwrap_or(Price { float: 0.0, integer: 0.0 })
    }

    /// What it costs to make `value` an integer, or a float again.
    pub fn border(&self, sample: &Graph, value: ValueId) -> f64 {
        work(sample, value, 0.0).map_or(0.0, |work| self.border.of(&work) / 2.0)
    }

    /// What a function of `value` costs in float where it is not part of a product.
    pub fn standing_alone(&self, sample: &Graph, value: ValueId) -> f64 {
        work(sample, value, 0.0).map_or(0.0, |work| self.float_addition.of(&work))
    }

    fn known_price(&self, sample: &Graph, node: &Node) -> Option<Price> {
        let output = node.output(0)?;
        let role = node.operator.quantization_role();
        if role == QuantizationRole::Weighted {
            return self.weighted(sample, node);
        }
        let (float, integer) = match (node.operator.name(), role) {
            ("GlobalAveragePool" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity", _) => return None,
            ("MaxPool" | "AveragePool" | "Resize", _) => (&self.float_pool, &self.integer_pool),
            (_, QuantizationRole::Function) => (&self.float_function, &self.integer_function),
            ("Add" | "Mul" | "Sum", _) => (&self.float_addition, &self.integer_addition),
            (_, QuantizationRole::Merge | QuantizationRole::PassThrough) => (&self.float_concatenation, &self.integer_concatenation),
            _ => return None,
        };
        let work = work(sample, output, 0.0)?;
        // What a pool of the whole image costs is its overhead, which is the same either way.
        let whole = matches!(node.operator.name(), "MaxPool" | "AveragePool") && work.positions <= 1.0;
        (!whole).then(|| Price { float: float.of(&work), integer: integer.of(&work) })
    }

    fn weighted(&self, sample: &Graph, node: &Node) -> Option<Price> {
        let weight = sample.constant(node.input(1)?)?.shape().to_vec();
        let inner = match (node.is::<Gemm>(), node.is::<MatMul>()) {
            (Some(gemm), _) if gemm.transpose_b => weight[1..].iter().product::<usize>(),
            (Some(_), _) | (_, Some(_)) => weight[0],
            _ => weight[1..].iter().product(),
        };
        let window: usize = node.is::<Conv>().map_or(1, |_| weight[2..].iter().product());
        let group = node.is::<Conv>().map_or(1, |conv| conv.group);
        let depthwise = group > 1 && weight[1] == 1;
        let line = node.is::<Conv>().is_some() && weight.len() == 3;
        let gathers = weight.get(1).is_some_and(|channels| *channels < BLOCK && (group > 1 || !channels.is_multiple_of(QUARTET)));
        let (float, integer) = match (depthwise, window) {
            (true, _) if line && weight[0].is_multiple_of(BLOCK) => (&self.float_line_depthwise, &self.integer_line_depthwise),
            (false, _) if line => (&self.float_line, &self.integer_line),
            (true, 0..=9) if !weight[0].is_multiple_of(BLOCK) => (&self.float_uneven_depthwise, &self.integer_uneven_depthwise),
            (true, _) if !weight[0].is_multiple_of(BLOCK) => (&self.float_uneven_wide_depthwise, &self.integer_uneven_wide_depthwise),
            (true, 0..=9) => (&self.float_depthwise, &self.integer_depthwise),
            (true, _) => (&self.float_wide_depthwise, &self.integer_wide_depthwise),
            (false, _) if node.is::<Conv>().is_some() && gathers && window > 1 => (&self.float_stem, &self.integer_stem),
            (false, 1) => (&self.float_pointwise, &self.integer_pointwise),
            (false, _) => (&self.float_spatial, &self.integer_spatial),
        };
        let work = Work { window: window as f64, ..work(sample, node.output(0)?, inner as f64)? };
        Some(Price { float: float.of(&work), integer: integer.of(&work) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::quantization::targets;

    #[test]
    fn what_was_measured_as_slow_in_integers_is_priced_so() {
        let costs = targets::find("ort-cpu").unwrap().costs.unwrap();
        struct Case {
            channels: (usize, usize),
            size: usize,
            kernel: usize,
            integer_is_faster: bool,
        }
        let cases = [
            Case { channels: (3, 8), size: 112, kernel: 3, integer_is_faster: false },
            Case { channels: (3, 64), size: 112, kernel: 3, integer_is_faster: false },
            Case { channels: (1, 64), size: 28, kernel: 5, integer_is_faster: false },
            Case { channels: (3, 64), size: 28, kernel: 5, integer_is_faster: true },
            Case { channels: (3, 64), size: 56, kernel: 7, integer_is_faster: true },
            Case { channels: (1, 64), size: 28, kernel: 15, integer_is_faster: true },
            Case { channels: (4, 64), size: 28, kernel: 3, integer_is_faster: true },
            Case { channels: (64, 64), size: 28, kernel: 3, integer_is_faster: true },
            Case { channels: (128, 128), size: 14, kernel: 1, integer_is_faster: true },
        ];
        for Case { channels, size, kernel, integer_is_faster } in cases {
            let graph = Sketch::new(&[1, channels.0, size, size]).conv("y", "x", channels, kernel, 1).outputs("y");
            let (_, node) = graph.nodes().next().unwrap();
            let price = costs.price(&graph, node);
            assert!(price.float > 0.0 && (price.integer < price.float) == integer_is_faster, "{channels:?}: {price:?}");
        }
    }

    #[test]
    fn a_signal_is_worth_integers_from_a_small_window_on() {
        let costs = targets::find("ort-cpu").unwrap().costs.unwrap();
        for (channels, outputs, window, group, integer_is_faster) in [
            (1, 16, 3, 1, false),
            (1, 16, 49, 1, true),
            (1, 128, 512, 1, true),
            (40, 64, 9, 1, true),
            (64, 64, 9, 64, true),
            (20, 20, 9, 20, false),
        ] {
            let sketch = Sketch::new(&[1, channels, 1024]).weights("w", &[outputs, channels / group, window], 0.1);
            let attributes = Attributes::default().sizes("strides", &[4]).int("group", group as i64);
            let graph = sketch.node("y", "Conv", "x w", attributes).outputs("y");
            let price = costs.price(&graph, graph.nodes().next().unwrap().1);
            assert_eq!(price.integer < price.float, integer_is_faster, "{channels} to {outputs}, window {window}: {price:?}");
        }
    }

    #[test]
    fn what_is_not_known_costs_nothing_either_way() {
        let costs = targets::find("ort-cpu").unwrap().costs.unwrap();
        let graph = Sketch::new(&[0, 3, 8, 8]).plain("y", "Softplus", "x").outputs("y");
        let (_, node) = graph.nodes().next().unwrap();
        assert_eq!(costs.price(&graph, node), Price { float: 0.0, integer: 0.0 });
    }
}
