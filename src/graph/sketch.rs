//! Graphs drawn node by node, for tests and benches: a wrong drawing panics.

use super::{Dim, Graph, ValueId, check};
use crate::calibration::{CalibrationSet, Provenance, Samples};
#[cfg(test)]
use crate::execution::{self, evaluate};
use crate::ops::{Attributes, NodeForm, parse};
use crate::passes::infer_shapes;
use crate::random::Random;
use crate::tensor::{DataType, TensorData};

/// A graph in the making; values are known by their names.
pub struct Sketch {
    graph: Graph,
    random: Random,
}

impl Sketch {
    /// One input `x`; a size of 0 is the batch.
    pub fn new(shape: &[usize]) -> Self {
        let graph = Graph { opset: 17, ..Graph::default() };
        Sketch { graph, random: Random::new(7, 0) }.input("x", shape)
    }

    /// One more input; a size of 0 is the batch.
    pub fn input(mut self, name: &str, shape: &[usize]) -> Self {
        let dims = shape.iter().map(|n| if *n == 0 { Dim::Symbol("batch".to_string()) } else { Dim::Known(*n) });
        let input = self.graph.add_value(name, Some(DataType::F32), Some(dims.collect()));
        self.graph.inputs.push(input);
        self
    }

    pub fn value(&self, name: &str) -> ValueId {
        self.graph.find_value(name).unwrap_or_else(|| panic!("no value {name}"))
    }

    /// Normal numbers times `scale`.
    pub fn weights(mut self, name: &str, shape: &[usize], scale: f32) -> Self {
        let elements = (0..shape.iter().product()).map(|_| self.random.normal() * scale).collect();
        self.graph.add_constant(name, TensorData::new(shape, elements));
        self
    }

    pub fn scalar(self, name: &str, element: f32) -> Self {
        self.constant(name, TensorData::scalar(element))
    }

    pub fn integers(self, name: &str, elements: &[i64]) -> Self {
        self.constant(name, TensorData::vector(elements.to_vec()))
    }

    pub fn constant(mut self, name: &str, tensor: TensorData) -> Self {
        self.graph.add_constant(name, tensor);
        self
    }

    /// `output = operator(inputs)`; `-` omits an input. The node is called as its output is.
    pub fn node(mut self, output: &str, operator: &str, inputs: &str, attributes: Attributes) -> Self {
        let inputs: Vec<Option<ValueId>> = inputs.split_whitespace().map(|name| (name != "-").then(|| self.value(name))).collect();
        let form = NodeForm { attributes, opset: 17, input_count: inputs.len(), output_count: 1 };
        let parsed = parse(operator, form).unwrap_or_else(|| panic!("{operator} is unknown")).unwrap();
        assert!(parsed.inputs.is_empty());
        let value = self.graph.add_value(output, None, None);
        self.graph.add_node(output, parsed.operator, inputs, vec![Some(value)]);
        self
    }

    /// A convolution without bias, `kernel`², with padding that keeps the size at stride 1.
    pub fn conv(self, output: &str, x: &str, channels: (usize, usize), kernel: usize, stride: usize) -> Self {
        let weight = format!("{output}_w");
        let scale = (2.0 / (channels.0 * kernel * kernel) as f32).sqrt();
        let attributes = Attributes::default().sizes("pads", &[kernel / 2; 4]).sizes("strides", &[stride; 2]);
        let sketch = self.weights(&weight, &[channels.1, channels.0, kernel, kernel], scale);
        sketch.node(output, "Conv", &format!("{x} {weight}"), attributes)
    }

    /// A BatchNormalization whose variances lie between 0.5 and 1.5.
    pub fn norm(mut self, output: &str, x: &str, channels: usize) -> Self {
        for (suffix, low, high) in [("scale", 0.5, 1.5), ("shift", -0.3, 0.3), ("mean", -0.5, 0.5), ("var", 0.5, 1.5)] {
            let elements = (0..channels).map(|_| low + (high - low) * self.random.uniform()).collect();
            self.graph.add_constant(format!("{output}_{suffix}"), TensorData::vector::<f32>(elements));
        }
        let inputs = format!("{x} {output}_scale {output}_shift {output}_mean {output}_var");
        self.node(output, "BatchNormalization", &inputs, Attributes::default())
    }

    pub fn plain(self, output: &str, operator: &str, inputs: &str) -> Self {
        self.node(output, operator, inputs, Attributes::default())
    }

    /// The finished graph with `outputs`, its shapes inferred as far as they can be.
    pub fn outputs(mut self, outputs: &str) -> Graph {
        self.graph.outputs = outputs.split_whitespace().map(|name| self.value(name)).collect();
        check(&self.graph).unwrap();
        infer_shapes(&mut self.graph).unwrap();
        self.graph
    }

    /// Two convolutions with BN and a shortcut around the second, pooled, with a linear head of four classes.
    pub fn residual() -> Graph {
        let sketch = Sketch::new(&[0, 3, 8, 8]).conv("c1", "x", (3, 8), 3, 2).norm("n1", "c1", 8).plain("r1", "Relu", "n1");
        let sketch = sketch.conv("c2", "r1", (8, 8), 3, 1).norm("n2", "c2", 8).plain("s", "Add", "n2 r1").plain("r2", "Relu", "s");
        let sketch = sketch.plain("p", "GlobalAveragePool", "r2").plain("f", "Flatten", "p");
        let sketch = sketch.weights("g_w", &[8, 4], 0.4).weights("g_b", &[4], 0.1);
        sketch.plain("y", "Gemm", "f g_w g_b").outputs("y")
    }
}

/// `count` samples of normal noise for the inputs of `graph`.
pub fn noise(graph: &Graph, count: usize) -> CalibrationSet {
    let mut random = Random::new(11, 0);
    let samples = |value: &ValueId| {
        let value = graph.value(*value);
        let shape: Vec<usize> = value.shape.iter().flatten().map(|dim| dim.known().unwrap_or(1)).collect();
        let len = count * shape.iter().product::<usize>();
        Samples::new(&value.name, shape, (0..len).map(|_| random.normal()).collect()).unwrap()
    };
    CalibrationSet { inputs: graph.inputs.iter().map(samples).collect(), provenance: Provenance::default() }
}

/// Asserts that both graphs compute the same outputs on noise.
#[cfg(test)]
pub fn assert_same_function(before: &Graph, after: &Graph) {
    let set = noise(before, 3);
    let run = |graph: &Graph| evaluate(graph, &graph.outputs, &set, &execution::Config::default()).unwrap();
    for (a, b) in run(before).iter().zip(&run(after)) {
        assert_eq!(a.shape(), b.shape());
        let largest = a.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(largest > 1e-3, "the outputs are as good as zero");
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= 1e-5 * largest, "{a} became {b}");
        }
    }
}
