//! Runs single operators for tests: forward on every layout and instruction set, backward against finite differences.

use super::operator::{BackwardCall, Fact, Facts, Gradient, Implementation, Kernel, Layout, Operand, Operator, Site};
use super::{Attributes, NodeForm, parse};
use crate::graph::known_shape;
use crate::kernels::Isa;
use crate::tensor::{DataType, TensorData};
use std::sync::Arc;

/// A numbered input: a shape and where its numbers come from.
#[derive(Clone)]
pub struct Input {
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
    pub data_type: DataType,
    pub shared: bool,
    pub constant: bool,
}

impl Input {
    pub fn new(shape: &[usize], values: Vec<f32>) -> Self {
        Input { shape: shape.to_vec(), values, data_type: DataType::F32, shared: false, constant: false }
    }

    /// Multiples of 1/4 between −3.5 and 3.5 that follow from `seed`.
    pub fn quarters(shape: &[usize], seed: usize) -> Self {
        let len = shape.iter().product();
        Self::new(shape, (0..len).map(|i| ((i * 37 + seed * 11) % 29) as f32 * 0.25 - 3.5).collect())
    }

    /// As above, without equal numbers and away from integers and their halves.
    pub fn distinct(shape: &[usize], seed: usize) -> Self {
        let len: usize = shape.iter().product();
        let mut values: Vec<f32> = (0..len).map(|i| (i as f32 + 0.5) / len as f32 * 6.0 - 3.0 + 0.013).collect();
        let mut state = seed as u64 * 2 + 1;
        for i in (1..len).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            values.swap(i, (state >> 33) as usize % (i + 1));
        }
        Self::new(shape, values)
    }

    pub fn map(mut self, function: impl Fn(f32) -> f32) -> Self {
        self.values.iter_mut().for_each(|value| *value = function(*value));
        self
    }

    pub fn shared(self) -> Self {
        Input { shared: true, ..self }
    }

    pub fn typed(self, data_type: DataType) -> Self {
        Input { data_type, ..self }
    }

    fn tensor(&self) -> TensorData {
        let values = self.values.iter().map(|v| f64::from(*v)).collect();
        TensorData::from_f64(&self.shape, values, self.data_type).unwrap()
    }

    fn fact(&self) -> Fact {
        let fact = Fact::known(self.data_type, &self.shape);
        if self.constant { Fact { constant: Some(self.tensor()), ..fact } } else { fact }
    }
}

/// How values that are not shared lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    RowMajor,
    ChannelsLast,
}

pub const ORDERS: [Order; 2] = [Order::RowMajor, Order::ChannelsLast];

/// The operator written as `op_type` in `opset`, and its inputs with those that stood as attributes.
pub fn read(op_type: &str, opset: i64, attributes: Attributes, inputs: &[Option<Input>]) -> (Arc<dyn Operator>, Vec<Option<Input>>) {
    let form = NodeForm { attributes, opset, input_count: inputs.len(), output_count: 1 };
    let parsed = parse(op_type, form).unwrap().unwrap();
    let mut inputs = inputs.to_vec();
    for (index, tensor) in parsed.inputs {
        inputs.resize(inputs.len().max(index + 1), None);
        let input = Input::new(tensor.shape(), tensor.to_f32().unwrap()).typed(tensor.data_type());
        inputs[index] = Some(Input { shared: true, constant: true, ..input });
    }
    (parsed.operator, inputs)
}

/// A kernel made for final shapes.
pub struct Probe {
    kernel: Box<dyn Kernel>,
    layouts: Vec<Option<Layout>>,
    pub output: Layout,
    isa: Isa,
}

impl Probe {
    pub fn new(operator: &dyn Operator, inputs: &[Option<Input>], order: Order, isa: Isa) -> Self {
        Self::of_output(0, operator, inputs, order, isa)
    }

    /// Where output `index` alone is asked for.
    pub fn of_output(index: usize, operator: &dyn Operator, inputs: &[Option<Input>], order: Order, isa: Isa) -> Self {
        let facts: Vec<_> = inputs.iter().map(|input| input.as_ref().map(Input::fact)).collect();
        let shape = known_shape(&operator.infer(&Facts(&facts)).unwrap()[index].shape).unwrap();
        let all_shared = inputs.iter().flatten().all(|input| input.shared);
        let lay = |shape: &[usize], shared: bool| match (shared, order) {
            (true, _) => Layout::parameter(shape),
            (_, Order::ChannelsLast) => Layout::activation(shape),
            _ => Layout::row_major(shape),
        };
        let operand = |input: &Input| Operand {
            layout: lay(&input.shape, input.shared),
            data_type: input.data_type,
            constant: input.constant.then(|| input.tensor()),
            shared: input.shared,
            wants_gradient: true,
        };
        let operands: Vec<_> = inputs.iter().map(|input| input.as_ref().map(operand)).collect();
        let output = lay(&shape, all_shared);
        let mut outputs = vec![None; index];
        outputs.push(Some(output.clone()));
        let site = Site { inputs: &operands, outputs: &outputs, isa };
        let implementation = operator.implement(&site).unwrap().at(&[index]).unwrap();
        let layouts: Vec<_> = operands.into_iter().map(|operand| operand.map(|operand| operand.layout)).collect();
        let kernel: Box<dyn Kernel> = match implementation {
            Implementation::Compute(kernel) => kernel,
            Implementation::Several(mut kernels) => kernels.remove(0),
            Implementation::Move { maps, fill } => {
                let from: Vec<_> = layouts.iter().map(Option::as_ref).collect();
                Box::new(crate::execution::tape::Move::new(&maps[0], fill as f32, &from, &output).unwrap())
            }
            Implementation::Constant(_) => panic!("not a kernel"),
        };
        Probe { kernel, layouts, output, isa }
    }

    fn place(&self, inputs: &[Option<Input>]) -> Vec<Vec<f32>> {
        let placed = inputs.iter().zip(&self.layouts).map(|(input, layout)| match (input, layout) {
            (Some(input), Some(layout)) => to_memory(&input.values, layout),
            _ => Vec::new(),
        });
        placed.collect()
    }

    /// The output, row-major.
    pub fn run(&mut self, inputs: &[Option<Input>]) -> Vec<f32> {
        let placed = self.place(inputs);
        let slices: Vec<&[f32]> = placed.iter().map(Vec::as_slice).collect();
        let output = self.forward(inputs, &slices);
        self.output.offsets().iter().map(|at| output[*at]).collect()
    }

    fn forward(&mut self, inputs: &[Option<Input>], slices: &[&[f32]]) -> Vec<f32> {
        let is_shared = |index: usize| inputs[index].as_ref().is_some_and(|input| input.shared);
        let shared: Vec<_> = slices.iter().enumerate().map(|(index, slice)| is_shared(index).then_some(*slice)).collect();
        self.kernel.prepare(&shared);
        let mut output = vec![f32::NAN; self.output.len()];
        self.kernel.forward(slices, &mut output, &mut vec![f32::NAN; self.kernel.scratch()]);
        output
    }

    /// Row-major gradients of Σ weights · output with respect to each input, starting from `before`.
    pub fn gradients(&mut self, inputs: &[Option<Input>], weights: &[f32], before: Option<f32>) -> Vec<Vec<f32>> {
        let placed = self.place(inputs);
        let slices: Vec<&[f32]> = placed.iter().map(Vec::as_slice).collect();
        let output = self.forward(inputs, &slices);
        let mut values: Vec<Vec<f32>> = placed.iter().map(|input| vec![before.unwrap_or(f32::NAN); input.len()]).collect();
        let present = inputs.iter().map(|input| input.as_ref().is_some_and(|input| !input.constant));
        let gradients = values.iter_mut().zip(present);
        let mut gradients: Vec<_> =
            gradients.map(|(values, wanted)| wanted.then_some(Gradient { values, accumulate: before.is_some() })).collect();
        let nothing: Vec<&[f32]> = slices.iter().map(|_| &[][..]).collect();
        self.kernel.backward(BackwardCall {
            inputs: if self.kernel.backward_needs_inputs() { &slices } else { &nothing },
            output: if self.kernel.backward_needs_output() { &output } else { &[] },
            output_gradient: &to_memory(weights, &self.output),
            input_gradients: &mut gradients,
            scratch: &mut vec![f32::NAN; self.kernel.scratch()],
        });
        let row_major = |(values, layout): (&Vec<f32>, &Option<Layout>)| match layout {
            Some(layout) => layout.offsets().iter().map(|at| values[*at]).collect(),
            None => Vec::new(),
        };
        values.iter().zip(&self.layouts).map(row_major).collect()
    }
}

fn to_memory(values: &[f32], layout: &Layout) -> Vec<f32> {
    let mut memory = vec![f32::NAN; values.len()];
    layout.offsets().iter().zip(values).for_each(|(at, value)| memory[*at] = *value);
    memory
}

/// A node and what another engine makes of its inputs.
pub struct Case {
    pub name: &'static str,
    pub opset: i64,
    pub attributes: Attributes,
    pub inputs: Vec<Input>,
    pub wanted: &'static [f32],
}

/// Holds outputs against those of the table, also after the attributes were written and read back.
pub fn check_cases(cases: Vec<Case>) {
    for case in cases {
        let inputs: Vec<_> = case.inputs.into_iter().map(Some).collect();
        let (operator, inputs) = read(case.name, case.opset, case.attributes, &inputs);
        check_output(case.name, operator.as_ref(), &inputs, case.wanted, 2e-6);
        let (again, _) = read(case.name, case.opset.max(13), operator.attributes(), &inputs);
        assert_eq!(again.attributes(), operator.attributes());
        check_output(case.name, again.as_ref(), &inputs, case.wanted, 2e-6);
    }
}

/// Holds each output element against `wanted` on every layout and instruction set.
pub fn check_output(name: &str, operator: &dyn Operator, inputs: &[Option<Input>], wanted: &[f32], tolerance: f32) {
    for order in ORDERS {
        for isa in Isa::available() {
            let got = Probe::new(operator, inputs, order, isa).run(inputs);
            assert_eq!(got.len(), wanted.len(), "{name} {order:?}");
            assert_close(&format!("{name} {order:?} {}", isa.name()), &got, wanted, tolerance);
        }
    }
}

pub fn assert_close(name: &str, got: &[f32], wanted: &[f32], tolerance: f32) {
    for (at, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let error = (got - wanted).abs();
        assert!(error <= tolerance * wanted.abs().max(1.0), "{name}: element {at} is {got}, not {wanted}");
    }
}

/// Holds every gradient against central differences, written and accumulated, on every layout and instruction set; and those of
/// the engine on tensors against these.
pub fn check_gradient(name: &str, operator: &dyn Operator, inputs: &[Option<Input>], tolerance: f32) {
    check_gradient_of(0, name, operator, inputs, tolerance);
}

/// As [`check_gradient`], of output `output`.
pub fn check_gradient_of(output: usize, name: &str, operator: &dyn Operator, inputs: &[Option<Input>], tolerance: f32) {
    for order in ORDERS {
        for isa in Isa::available() {
            let mut probe = Probe::of_output(output, operator, inputs, order, isa);
            let weights: Vec<f32> = (0..probe.output.len()).map(|i| ((i * 7 + 3) % 11) as f32 * 0.2 - 0.9).collect();
            let wanted = differences(&mut probe, inputs, &weights);
            for before in [None, Some(2.0)] {
                let got = probe.gradients(inputs, &weights, before);
                for (index, (got, wanted)) in got.iter().zip(&wanted).enumerate().filter(|(_, (_, wanted))| !wanted.is_empty()) {
                    let wanted: Vec<f32> = wanted.iter().map(|d| d + before.unwrap_or(0.0)).collect();
                    assert_close(&format!("{name} input {index} {order:?} {} {before:?}", probe.isa.name()), got, &wanted, tolerance);
                }
            }
        }
    }
    #[cfg(feature = "candle")]
    check_tensors(output, name, operator, inputs);
}

/// Holds the form on tensors against the kernel.
#[cfg(feature = "candle")]
fn check_tensors(output: usize, name: &str, operator: &dyn Operator, inputs: &[Option<Input>]) {
    use crate::calibration::{CalibrationSet, Provenance, Samples};
    use crate::graph::{Dim, Graph};
    if !operator.domain().is_empty() {
        return;
    }
    let (again, _) = read(operator.name(), 13, operator.attributes(), inputs);
    let mut graph = Graph::default();
    graph.opset = 13;
    let (mut values, mut parameters, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for (index, input) in inputs.iter().enumerate() {
        let Some(input) = input else {
            values.push(None);
            continue;
        };
        let value = if input.shared {
            graph.add_constant(format!("i{index}"), input.tensor())
        } else {
            let shape = input.shape.iter().map(|size| Dim::Known(*size)).collect();
            graph.add_value(format!("i{index}"), Some(input.data_type), Some(shape))
        };
        if !input.shared {
            graph.inputs.push(value);
            samples.push(Samples::new(format!("i{index}"), input.shape.clone(), input.values.clone()).unwrap());
        } else if !input.constant {
            parameters.push(value);
        }
        values.push(Some(value));
    }
    if samples.is_empty() {
        return;
    }
    let y = graph.add_value("y", None, None);
    let mut outputs = vec![None; output];
    outputs.push(Some(y));
    graph.add_node("y", again, values, outputs);
    graph.outputs = vec![y];
    crate::passes::infer_shapes(&mut graph).unwrap();
    let set = CalibrationSet { inputs: samples, provenance: Provenance::default() };
    crate::execution::candle::tests::assert_agree_on(name, &graph, &[y], &parameters, &set);
}

fn differences(probe: &mut Probe, inputs: &[Option<Input>], weights: &[f32]) -> Vec<Vec<f32>> {
    const STEP: f32 = 1.0 / 512.0;
    let mut inputs = inputs.to_vec();
    let mut all = Vec::new();
    for index in 0..inputs.len() {
        let len = inputs[index].as_ref().filter(|input| !input.constant).map_or(0, |input| input.values.len());
        let mut derivative = |at: usize| {
            let mut shifted = |step: f32| {
                let Some(input) = &mut inputs[index] else { return 0.0 };
                let kept = input.values[at];
                input.values[at] = kept + step;
                let output = probe.run(&inputs);
                if let Some(input) = &mut inputs[index] {
                    input.values[at] = kept;
                }
                output.iter().zip(weights).map(|(y, w)| f64::from(y * w)).sum::<f64>()
            };
            ((shifted(STEP) - shifted(-STEP)) / f64::from(2.0 * STEP)) as f32
        };
        all.push((0..len).map(&mut derivative).collect());
    }
    all
}
