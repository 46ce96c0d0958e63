//! What the numbers of an output are, as far as its shape and the graph tell.

use ndarray::{ArrayD, ArrayViewD, Axis};
use serde::Serialize;

use super::metrics::argmax;
use super::numbers::are_embeddings;
use super::task::Task;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::{Cast, DequantizeLinear, Identity, LogSoftmax, QuantizeLinear, Softmax, SoftmaxAxis, Squeeze, Transpose};

/// How many times smaller the area of an output may be than that of its input.
const MOST_SMALLER: usize = 64;

/// What has a class of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Unit {
    Samples,
    /// Frames of a sound, anchors of a detector, tokens.
    Positions,
    Pixels,
    /// Each number, which says yes or no.
    Decisions,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Samples => "samples",
            Unit::Positions => "positions",
            Unit::Pixels => "pixels",
            Unit::Decisions => "decisions",
        }
    }
}

/// What the numbers of an output are; axes are those of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Layout {
    /// A score for each class along `axis`.
    Scores { axis: usize, unit: Unit },
    /// Numbers of classes, as ArgMax gives them.
    Labels { unit: Unit },
    /// Each number is a yes where it is greater than `threshold`.
    Mask { threshold: f32, unit: Unit },
    /// Anything else.
    #[default]
    Numbers,
}

/// What an output is taken for, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meaning {
    pub layout: Layout,
    pub task: Task,
    pub reason: &'static str,
}

impl Meaning {
    pub fn of(layout: Layout, reason: &'static str) -> Self {
        Meaning { layout, task: layout.task(), reason }
    }

    /// Told by the samples of an output alone, along the first axis.
    pub fn of_samples(samples: &ArrayD<f32>) -> Self {
        if are_embeddings(samples) {
            return Meaning::of(Layout::Numbers, "vectors of length 1, with both signs: embeddings");
        }
        match Layout::of_shape(samples.shape().get(1..).unwrap_or_default()) {
            Layout::Numbers => Meaning::of(Layout::Numbers, "nothing says that it scores classes"),
            scores => Meaning::of(scores, "one number for each class, by its shape"),
        }
    }
}

/// An output of the reference, and what is known around it.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    pub graph: &'a Graph,
    pub value: ValueId,
    /// Its samples, along the first axis.
    pub samples: &'a ArrayD<f32>,
    /// The shapes of one sample of each input.
    pub inputs: &'a [&'a [usize]],
}

impl Layout {
    /// What has a class of its own.
    pub fn unit(self) -> Option<Unit> {
        match self {
            Layout::Scores { unit, .. } | Layout::Labels { unit } | Layout::Mask { unit, .. } => Some(unit),
            Layout::Numbers => None,
        }
    }

    /// What such an output is for.
    pub fn task(self) -> Task {
        match self.unit() {
            Some(Unit::Pixels) => Task::Segment,
            Some(_) => Task::Classify,
            None => Task::Regress,
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

    /// Height and width where each of them has a class in a sample of this shape.
    pub fn area(self, shape: &[usize]) -> Option<(usize, usize)> {
        let sizes = match self {
            Layout::Scores { axis, .. } => area(shape, axis),
            Layout::Labels { .. } | Layout::Mask { .. } if shape.len() == 3 => area(shape, 0),
            Layout::Labels { .. } | Layout::Mask { .. } => {
                area(shape, if shape.get(1) == Some(&1) { 1 } else { shape.len().saturating_sub(1) })
            }
            Layout::Numbers => return None,
        };
        <[usize; 2]>::try_from(sizes).ok().map(|[height, width]| (height, width))
    }

    /// The class of each unit of a sample; `None` where scores are no numbers.
    pub fn classes(self, sample: &ArrayViewD<'_, f32>) -> Vec<Option<u32>> {
        match self {
            Layout::Scores { axis, .. } => {
                sample.lanes(Axis(axis)).into_iter().map(|scores| argmax(scores.iter()).map(|class| class as u32)).collect()
            }
            Layout::Labels { .. } => sample.iter().map(|label| (*label >= 0.0).then_some(*label as u32)).collect(),
            Layout::Mask { threshold, .. } => sample.iter().map(|x| (!x.is_nan()).then_some(u32::from(*x > threshold))).collect(),
            Layout::Numbers => Vec::new(),
        }
    }
}

impl Output<'_> {
    fn shape(&self) -> &[usize] {
        &self.samples.shape()[1..]
    }

    /// What it is for `task`: with [`Task::Auto`] what [`Layout::of_shape`] knows, what a Softmax or ArgMax at its end says, and
    /// scores for each pixel of an input where it has its area, no activation at its end, and other channels.
    pub fn meaning(&self, task: Task) -> Meaning {
        let known = self.known();
        let asked = |layout| Meaning::of(layout, "--task says so");
        match task {
            Task::Auto => known,
            Task::Classify => match (known.layout, self.shape()) {
                (Layout::Numbers, [_, _, classes]) if *classes > 1 => asked(self.of_positions()),
                (Layout::Numbers, _) => known,
                (layout, _) => asked(layout),
            },
            Task::Segment => asked(if known.layout.task() == Task::Segment { known.layout } else { self.of_pixels() }),
            Task::Detect => Meaning { task, ..Meaning::of(Layout::Numbers, "its boxes are read and compared") },
            Task::Regress => asked(Layout::Numbers),
        }
    }

    fn known(&self) -> Meaning {
        let shape = self.shape();
        let (last, axis) = ending(self.graph, self.value, shape.len());
        if last.is_some_and(|node| node.operator.name() == "ArgMax") {
            return Meaning::of(Layout::Labels { unit: unit(shape, None, self.inputs) }, "ArgMax makes it");
        }
        if let Some(axis) = axis.filter(|axis| *axis > 0 && shape.get(*axis).is_some_and(|classes| *classes > 1)) {
            return Meaning::of(Layout::Scores { axis, unit: unit(shape, Some(axis), self.inputs) }, "Softmax makes it");
        }
        let by_shape = Meaning::of_samples(self.samples);
        let pixels = pixel_classes(shape, self.inputs, 1).filter(|_| !last.is_some_and(is_activation));
        match pixels.filter(|_| by_shape.layout == Layout::Numbers) {
            Some(axis) => Meaning::of(Layout::Scores { axis, unit: Unit::Pixels }, "it has the area of an input and other channels"),
            None => by_shape,
        }
    }

    /// A class for each position along the second axis, or decisions where a Sigmoid makes the scores.
    fn of_positions(&self) -> Layout {
        let (last, _) = ending(self.graph, self.value, 3);
        match last.is_some_and(|node| node.operator.name() == "Sigmoid") {
            true => Layout::Mask { threshold: 0.5, unit: Unit::Decisions },
            false => Layout::Scores { axis: 2, unit: Unit::Positions },
        }
    }

    /// Classes along the axis that leaves the proportions of an input; one channel is a mask, or has the numbers of classes.
    fn of_pixels(&self) -> Layout {
        let shape = self.shape();
        let one_channel = match shape {
            [_, area @ ..] if area.len() == 2 => (1..=MOST_SMALLER).any(|smaller| is_area(area, self.inputs, smaller)),
            [_, 1, area @ ..] | [_, area @ .., 1] => area.iter().all(|size| *size > 1),
            _ => false,
        };
        if one_channel {
            return of_one_channel(self.samples);
        }
        let axis = (1..=MOST_SMALLER).find_map(|smaller| pixel_classes(shape, self.inputs, smaller));
        axis.map_or(Layout::Numbers, |axis| Layout::Scores { axis, unit: Unit::Pixels })
    }
}

fn of_one_channel(samples: &ArrayD<f32>) -> Layout {
    let all = |holds: fn(f32) -> bool| samples.iter().all(|x| holds(*x));
    let unit = Unit::Pixels;
    match (all(|x| x.fract() == 0.0 && x >= 0.0), all(|x| (0.0..=1.0).contains(&x))) {
        (true, false) => Layout::Labels { unit },
        (_, true) => Layout::Mask { threshold: 0.5, unit },
        (false, false) => Layout::Mask { threshold: 0.0, unit },
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

/// The axis of the classes where the other axes are the area of an input, `smaller` times as small, that has another number of
/// channels or another size.
fn pixel_classes(shape: &[usize], inputs: &[&[usize]], smaller: usize) -> Option<usize> {
    let last = shape.len().checked_sub(1).filter(|last| *last >= 3)?;
    let fits = |axis: usize| {
        let area: Vec<usize> = area(shape, axis).into_iter().map(|size| size * smaller).collect();
        let shows =
            |input: &[usize], channels: usize| self::area(input, channels) == area && (smaller > 1 || input[channels] != shape[axis]);
        let of_input = |input: &&&[usize]| input.len() == shape.len();
        shape[axis] > 1 && inputs.iter().filter(of_input).any(|input| shows(input, 1) || shows(input, last))
    };
    match (fits(1), fits(last)) {
        (true, false) => Some(1),
        (false, true) => Some(last),
        _ => None,
    }
}

/// Whether `sizes` are the area of an input, `smaller` times as small.
fn is_area(sizes: &[usize], inputs: &[&[usize]], smaller: usize) -> bool {
    let sizes: Vec<usize> = sizes.iter().map(|size| size * smaller).collect();
    inputs.iter().any(|input| input.len() == sizes.len() + 2 && [1, input.len() - 1].into_iter().any(|axis| area(input, axis) == sizes))
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

    fn found_as(task: Task, end: impl Fn(Sketch) -> Sketch, shape: &[usize]) -> Layout {
        let graph = end(Sketch::new(&[1, 3, 8, 8])).outputs("y");
        let samples = ArrayD::zeros([&[2], shape].concat());
        Output { graph: &graph, value: graph.outputs[0], samples: &samples, inputs: &[&[1, 3, 8, 8]] }.meaning(task).layout
    }

    fn found(end: impl Fn(Sketch) -> Sketch, shape: &[usize]) -> Layout {
        found_as(Task::Auto, end, shape)
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

    #[test]
    fn a_task_says_what_shapes_do_not() {
        let conv = |channels: usize, stride: usize| move |sketch: Sketch| sketch.conv("y", "x", (3, channels), 3, stride);
        assert_eq!(found_as(Task::Segment, conv(5, 2), &[1, 5, 4, 4]), scores(1, Unit::Pixels));
        let mask = Layout::Mask { threshold: 0.5, unit: Unit::Pixels };
        assert_eq!(found_as(Task::Segment, conv(1, 1), &[1, 1, 8, 8]), mask);
        assert_eq!(found_as(Task::Segment, conv(7, 1), &[1, 7]), Layout::Numbers);
        assert_eq!(found_as(Task::Classify, conv(7, 1), &[1, 20, 7]), scores(2, Unit::Positions));
        let sigmoid = |sketch: Sketch| sketch.plain("y", "Sigmoid", "x");
        assert_eq!(found_as(Task::Classify, sigmoid, &[1, 20, 7]), Layout::Mask { threshold: 0.5, unit: Unit::Decisions });
        assert_eq!(found_as(Task::Classify, conv(7, 1), &[1, 1024, 1]), Layout::Numbers);
        assert_eq!(found_as(Task::Regress, conv(7, 1), &[1, 7]), Layout::Numbers);
    }

    #[test]
    fn classes_are_those_of_the_greatest_score_the_label_or_the_side_of_the_threshold() {
        let sample = ArrayD::from_shape_vec(vec![1, 2, 2], vec![0.1, 2.0, 0.9, f32::NAN]).unwrap();
        let classes = |layout: Layout| layout.classes(&sample.view());
        assert_eq!(classes(scores(1, Unit::Positions)), [Some(1), None]);
        assert_eq!(classes(Layout::Labels { unit: Unit::Pixels }), [Some(0), Some(2), Some(0), None]);
        assert_eq!(classes(Layout::Mask { threshold: 0.5, unit: Unit::Pixels }), [Some(0), Some(1), Some(1), None]);
    }
}
