//! What the numbers of an output are, as far as its shape and the graph tell.

use serde::Serialize;

use crate::graph::{Graph, Node, ValueId};
use crate::ops::{Cast, DequantizeLinear, Identity, LogSoftmax, QuantizeLinear, Softmax, SoftmaxAxis, Squeeze, Transpose};

/// What has a class of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Unit {
    Samples,
    /// Frames of a sound, anchors of a detector, tokens.
    Positions,
    Pixels,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Samples => "samples",
            Unit::Positions => "positions",
            Unit::Pixels => "pixels",
        }
    }
}

/// What the numbers of an output are; axes are those of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// A score for each class along `axis`.
    Scores { axis: usize, unit: Unit },
    /// Numbers of classes, as ArgMax gives them.
    Labels { unit: Unit },
    /// Anything else.
    #[default]
    Numbers,
}

impl Layout {
    /// What has a class of its own.
    pub fn unit(self) -> Option<Unit> {
        match self {
            Layout::Scores { unit, .. } | Layout::Labels { unit } => Some(unit),
            Layout::Numbers => None,
        }
    }

    /// Told by the shape of one sample alone: scores where it is `[N, C]`, or that with axes of size 1 for the area of a picture.
    pub fn of_shape(shape: &[usize]) -> Self {
        let scores = |axis| Layout::Scores { axis, unit: Unit::Samples };
        let ones = |sizes: &[usize]| sizes.iter().all(|size| *size == 1);
        match shape {
            [_, classes] if *classes > 1 => scores(1),
            [_, classes, area @ ..] if *classes > 1 && area.len() > 1 && ones(area) => scores(1),
            [_, area @ .., classes] if *classes > 1 && area.len() > 1 && ones(area) => scores(shape.len() - 1),
            _ => Layout::Numbers,
        }
    }

    /// Of `output` with the shape of one sample: what [`Layout::of_shape`] knows, what a Softmax or ArgMax at its end says, and
    /// scores for each pixel of an input, one of `inputs`, where the output has its area, no activation at its end, and other
    /// channels.
    pub fn of(graph: &Graph, output: ValueId, shape: &[usize], inputs: &[&[usize]]) -> Self {
        let (last, axis) = ending(graph, output, shape.len());
        if last.is_some_and(|node| node.operator.name() == "ArgMax") {
            return Layout::Labels { unit: unit(shape, None, inputs) };
        }
        if let Some(axis) = axis.filter(|axis| *axis > 0 && shape.get(*axis).is_some_and(|classes| *classes > 1)) {
            return Layout::Scores { axis, unit: unit(shape, Some(axis), inputs) };
        }
        let of_pixels = || pixel_classes(shape, inputs).filter(|_| !last.is_some_and(is_activation));
        match Layout::of_shape(shape) {
            Layout::Numbers => of_pixels().map_or(Layout::Numbers, |axis| Layout::Scores { axis, unit: Unit::Pixels }),
            known => known,
        }
    }
}

/// The last node before `value` that computes something, and which axis of `value` it normalizes if it is a Softmax.
fn ending(graph: &Graph, value: ValueId, rank: usize) -> (Option<&Node>, Option<usize>) {
    let Some((_, node)) = graph.producer(value) else { return (None, None) };
    let before = || node.input(0).map_or((None, None), |input| ending(graph, input, rank));
    if let Some(transpose) = node.is::<Transpose>() {
        let (last, axis) = before();
        let place = |axis: usize| transpose.permutation(rank).ok()?.iter().position(|from| *from == axis);
        return (last, axis.and_then(place));
    }
    if node.is::<Squeeze>().is_some() {
        return (before().0, None);
    }
    let passes = node.is::<Identity>().is_some() || node.is::<Cast>().is_some();
    if passes || node.is::<QuantizeLinear>().is_some() || node.is::<DequantizeLinear>().is_some() {
        return before();
    }
    let normalized = node.is::<Softmax>().map(|softmax| softmax.axis).or_else(|| node.is::<LogSoftmax>().map(|softmax| softmax.axis));
    (Some(node), normalized.and_then(|axis| one_axis(axis, rank)))
}

/// `None` where several axes are normalized together.
fn one_axis(axis: SoftmaxAxis, rank: usize) -> Option<usize> {
    let index = if axis.index < 0 { usize::try_from(axis.index + rank as i64).ok()? } else { axis.index as usize };
    (!axis.flatten || index + 1 == rank).then_some(index)
}

/// Whether what comes out is no logit.
fn is_activation(node: &Node) -> bool {
    const ACTIVATIONS: [&str; 9] = ["Sigmoid", "Tanh", "Relu", "Clip", "HardSigmoid", "Softplus", "Softmax", "Exp", "Mul"];
    ACTIVATIONS.contains(&node.operator.name())
}

/// The axis of the classes where the other axes are the area of an input that has another number of channels.
fn pixel_classes(shape: &[usize], inputs: &[&[usize]]) -> Option<usize> {
    let last = shape.len().checked_sub(1).filter(|last| *last >= 3)?;
    let fits = |axis: usize| {
        let area = area(shape, axis);
        let of_input = |input: &&&[usize]| input.len() == shape.len();
        shape[axis] > 1
            && inputs
                .iter()
                .filter(of_input)
                .any(|input| [1, last].into_iter().any(|channels| self::area(input, channels) == area && input[channels] != shape[axis]))
    };
    match (fits(1), fits(last)) {
        (true, false) => Some(1),
        (false, true) => Some(last),
        _ => None,
    }
}

/// All sizes but those of the batch and of `axis`.
fn area(shape: &[usize], axis: usize) -> Vec<usize> {
    shape.iter().enumerate().filter(|(at, _)| *at > 0 && *at != axis).map(|(_, size)| *size).collect()
}

/// What has a class where the classes lie along `axis`, or along none.
fn unit(shape: &[usize], axis: Option<usize>, inputs: &[&[usize]]) -> Unit {
    let own: Vec<usize> = area(shape, axis.unwrap_or(0)).into_iter().filter(|size| *size > 1).collect();
    let is_area = |input: &&[usize]| {
        let channels = [1, input.len().saturating_sub(1)];
        input.len() > 3 && channels.into_iter().any(|axis| area(input, axis).into_iter().filter(|size| *size > 1).eq(own.iter().copied()))
    };
    match own.len() {
        0 => Unit::Samples,
        _ if inputs.iter().any(is_area) || shape.len() > 3 && own.len() > 1 => Unit::Pixels,
        _ => Unit::Positions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;

    fn scores(axis: usize, unit: Unit) -> Layout {
        Layout::Scores { axis, unit }
    }

    #[test]
    fn shapes_with_one_number_for_each_class_are_scores_and_anchors_are_none() {
        let cases: [(&[usize], Layout); 9] = [
            (&[1, 10], scores(1, Unit::Samples)),
            (&[8, 10], scores(1, Unit::Samples)),
            (&[1, 10, 1, 1], scores(1, Unit::Samples)),
            (&[1, 1, 1, 10], scores(3, Unit::Samples)),
            (&[1, 1024, 1], Layout::Numbers),
            (&[1, 1024, 4], Layout::Numbers),
            (&[1, 2, 8, 8], Layout::Numbers),
            (&[1, 1], Layout::Numbers),
            (&[10], Layout::Numbers),
        ];
        for (shape, layout) in cases {
            assert_eq!(Layout::of_shape(shape), layout, "{shape:?}");
        }
    }

    fn found(end: impl Fn(Sketch) -> Sketch, shape: &[usize]) -> Layout {
        let graph = end(Sketch::new(&[1, 3, 8, 8])).outputs("y");
        Layout::of(&graph, graph.outputs[0], shape, &[&[1, 3, 8, 8]])
    }

    fn axis(name: &str, index: i64) -> Attributes {
        Attributes::default().int(name, index)
    }

    #[test]
    fn the_axis_of_a_softmax_is_that_of_the_classes() {
        let softmax = |sketch: Sketch| sketch.node("y", "Softmax", "x", axis("axis", 1));
        assert_eq!(found(softmax, &[1, 3, 8, 8]), scores(1, Unit::Pixels));
        let moved = |sketch: Sketch| {
            let permuted = Attributes::default().sizes("perm", &[0, 2, 3, 1]);
            sketch.node("s", "LogSoftmax", "x", axis("axis", 1)).node("t", "Transpose", "s", permuted).plain("y", "Identity", "t")
        };
        assert_eq!(found(moved, &[1, 8, 8, 3]), scores(3, Unit::Pixels));
        let anchors = |sketch: Sketch| {
            let sketch = sketch.integers("to", &[1, 64, 3]).plain("r", "Reshape", "x to");
            sketch.node("y", "Softmax", "r", axis("axis", -1))
        };
        assert_eq!(found(anchors, &[1, 64, 3]), scores(2, Unit::Positions));
    }

    #[test]
    fn labels_are_known_by_their_argmax() {
        let labels = |sketch: Sketch| sketch.node("y", "ArgMax", "x", axis("axis", 1));
        assert_eq!(found(labels, &[1, 1, 8, 8]), Layout::Labels { unit: Unit::Pixels });
    }

    #[test]
    fn logits_for_each_pixel_are_scores_and_pictures_are_none() {
        let logits = |channels: usize| move |sketch: Sketch| sketch.conv("y", "x", (3, channels), 3, 1);
        assert_eq!(found(logits(5), &[1, 5, 8, 8]), scores(1, Unit::Pixels));
        assert_eq!(found(logits(3), &[1, 3, 8, 8]), Layout::Numbers);
        let smaller = |sketch: Sketch| sketch.conv("y", "x", (3, 5), 3, 2);
        assert_eq!(found(smaller, &[1, 5, 4, 4]), Layout::Numbers);
        let sigmoid = |sketch: Sketch| sketch.conv("c", "x", (3, 5), 3, 1).plain("y", "Sigmoid", "c");
        assert_eq!(found(sigmoid, &[1, 5, 8, 8]), Layout::Numbers);
    }
}
