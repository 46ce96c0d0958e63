//! QuantizeLinear and DequantizeLinear one after the other, and both in one kernel.

use super::operator::{BackwardCall, Facts, Gradient, Kernel, Layout};
use super::probe::{Input, ORDERS, Probe, assert_close, read};
use super::{Attribute, Attributes, NodeForm, parse};
use crate::kernels::Isa;
use crate::kernels::fake_quantization::FakeQuantization;
use crate::ops::operator::Fact;
use crate::tensor::DataType;

struct Case {
    shape: &'static [usize],
    axis: Option<usize>,
    data_type: DataType,
    zero_point: f32,
}

fn cases() -> Vec<Case> {
    let case = |shape, axis, data_type, zero_point| Case { shape, axis, data_type, zero_point };
    vec![
        case(&[1, 17, 5, 3], None, DataType::U8, 7.0),
        case(&[1, 5, 3, 2], Some(1), DataType::I8, 0.0),
        case(&[17, 5, 3, 3], Some(0), DataType::I8, 0.0),
        case(&[17, 1, 3, 3], Some(0), DataType::I8, -3.0),
        case(&[3, 17, 2, 2], Some(1), DataType::I8, 0.0),
        case(&[33, 40], Some(0), DataType::I8, 5.0),
        case(&[3, 700], Some(1), DataType::I16, 0.0),
        case(&[1, 5, 3, 2], Some(1), DataType::I4, 0.0),
        case(&[1, 17, 5, 3], None, DataType::U4, 3.0),
        case(&[1, 17, 5, 3], None, DataType::U16, 700.0),
        case(&[1, 1, 1, 1], None, DataType::I8, 0.0),
    ]
}

impl Case {
    fn inputs(&self) -> Vec<Option<Input>> {
        let len = self.axis.map_or(1, |axis| self.shape[axis]);
        let shape: &[usize] = if self.axis.is_some() { &[len] } else { &[] };
        let scale = (0..len).map(|i| 0.01 + 0.0037 * (i % 7) as f32).collect();
        let zero_point = Input::new(shape, vec![self.zero_point; len]).typed(self.data_type);
        vec![Some(Input::distinct(self.shape, 3)), Some(Input::new(shape, scale).shared()), Some(zero_point.shared())]
    }

    fn attributes(&self) -> Attributes {
        Attributes::default().int("axis", self.axis.unwrap_or(1) as i64)
    }

    /// x̂, and the gradients of x and scale by the published formula, all row-major.
    fn formula(&self, inputs: &[Option<Input>], weights: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let values = |index: usize| inputs[index].as_ref().unwrap().values.as_slice();
        let (low, high) = self.data_type.integer_range().map(|(low, high)| (low as f32, high as f32)).unwrap();
        let inner: usize = self.axis.map_or(1, |axis| self.shape[axis + 1..].iter().product());
        let (mut y, mut dx, mut dscale) = (Vec::new(), Vec::new(), vec![0.0; values(1).len()]);
        for (i, (x, g)) in values(0).iter().zip(weights).enumerate() {
            let channel = i / inner % values(1).len();
            let (s, z) = (values(1)[channel], values(2)[channel]);
            let level = (x / s).round_ties_even() + z;
            let inside = level >= low && level <= high;
            y.push((level.clamp(low, high) - z) * s);
            dx.push(if inside { *g } else { 0.0 });
            dscale[channel] += g * if inside { (x / s).round_ties_even() - x / s } else { level.clamp(low, high) - z };
        }
        (y, dx, dscale)
    }

    fn weights(&self) -> Vec<f32> {
        (0..self.shape.iter().product()).map(|i: usize| ((i * 7 + 3) % 11) as f32 * 0.2 - 0.9).collect()
    }
}

#[test]
fn the_pair_has_the_gradients_of_learned_step_sizes() {
    for case in cases() {
        let (inputs, weights) = (case.inputs(), case.weights());
        let (y, dx, dscale) = case.formula(&inputs, &weights);
        for order in ORDERS {
            let (quantize, _) = read("QuantizeLinear", 13, case.attributes(), &inputs);
            let (dequantize, _) = read("DequantizeLinear", 13, case.attributes(), &inputs);
            let mut first = Probe::new(quantize.as_ref(), &inputs, order, Isa::detect());
            let q = Input::new(case.shape, first.run(&inputs)).typed(case.data_type);
            let middle = vec![Some(q), inputs[1].clone(), inputs[2].clone()];
            let mut second = Probe::new(dequantize.as_ref(), &middle, order, Isa::detect());
            assert_eq!(second.run(&middle), y);
            let outer = second.gradients(&middle, &weights, None);
            let inner = first.gradients(&inputs, &outer[0], None);
            assert_close("dx", &inner[0], &dx, 1e-5);
            let sum: Vec<f32> = inner[1].iter().zip(&outer[1]).map(|(a, b)| a + b).collect();
            let size = dscale.iter().fold(1.0f32, |most, d| most.max(d.abs()));
            assert_close("dscale", &sum, &dscale, 2e-4 * size.max(100.0));
        }
    }
}

#[test]
fn one_kernel_does_what_the_pair_does() {
    for case in cases() {
        for layout in [Layout::row_major(case.shape), Layout::activation(case.shape), Layout::parameter(case.shape)] {
            for isa in Isa::available() {
                check_fused(&case, &layout, isa, true);
                if case.zero_point == 0.0 {
                    check_fused(&case, &layout, isa, false);
                }
            }
        }
    }
}

fn check_fused(case: &Case, layout: &Layout, isa: Isa, with_zero_point: bool) {
    let (inputs, weights) = (case.inputs(), case.weights());
    let (y, dx, dscale) = case.formula(&inputs, &weights);
    let place = |values: &[f32]| {
        let mut memory = vec![0.0; values.len()];
        layout.offsets().iter().zip(values).for_each(|(at, value)| memory[*at] = *value);
        memory
    };
    let values = |index: usize| inputs[index].as_ref().unwrap().values.as_slice();
    let (x, zero_point) = (place(values(0)), if with_zero_point { values(2) } else { &[] });
    let range = case.data_type.integer_range().unwrap();
    let kernel = FakeQuantization::new(layout, case.axis, (range.0 as f32, range.1 as f32), values(1).len(), isa);
    let mut output = vec![f32::NAN; x.len()];
    let mut scratch = vec![f32::NAN; kernel.scratch()];
    kernel.forward(&[&x, values(1), zero_point], &mut output, &mut scratch);
    assert_eq!(output, place(&y));
    for accumulate in [false, true] {
        let start = if accumulate { 1.0 } else { f32::NAN };
        let (mut got_x, mut got_scale) = (vec![start; x.len()], vec![start; dscale.len()]);
        let mut gradients =
            [Some(Gradient { values: &mut got_x, accumulate }), Some(Gradient { values: &mut got_scale, accumulate }), None];
        kernel.backward(BackwardCall {
            inputs: &[&x, values(1), zero_point],
            output: &[],
            output_gradient: &place(&weights),
            input_gradients: &mut gradients,
            scratch: &mut scratch,
        });
        let before = if accumulate { 1.0 } else { 0.0 };
        let shift = |values: &[f32]| values.iter().map(|v| v + before).collect::<Vec<_>>();
        assert_close("dx", &got_x, &shift(&place(&dx)), 0.0);
        assert_close("dscale", &got_scale, &shift(&dscale), 1e-4);
    }
}

#[test]
fn the_zero_point_moves_only_what_is_clipped() {
    let layout = Layout::row_major(&[4]);
    let kernel = FakeQuantization::new(&layout, None, (-128.0, 127.0), 1, Isa::Portable);
    let mut gradient = vec![f32::NAN];
    kernel.backward(BackwardCall {
        inputs: &[&[-1000.0, 0.5, 3.0, 1000.0], &[0.5], &[2.0]],
        output: &[],
        output_gradient: &[1.0, 10.0, 100.0, 1000.0],
        input_gradients: &mut [None, None, Some(Gradient { values: &mut gradient, accumulate: false })],
        scratch: &mut vec![0.0; kernel.scratch()],
    });
    assert_eq!(gradient, [-500.5]);
}

#[test]
fn the_type_of_the_zero_point_or_else_the_attribute_is_that_of_the_numbers() {
    let f32 = Some(Fact::known(DataType::F32, &[3]));
    let scale = Some(Fact::known(DataType::F32, &[]));
    for (code, wanted) in [(21, DataType::U4), (22, DataType::I4), (4, DataType::U16), (5, DataType::I16)] {
        let attributes = Attributes::default().int("output_dtype", code);
        let form = |attributes, input_count| NodeForm { attributes, opset: 21, input_count, output_count: 1 };
        let told = parse("QuantizeLinear", form(attributes.clone(), 2)).unwrap().unwrap().operator;
        let found = told.infer(&Facts(&[f32.clone(), scale.clone()])).unwrap();
        assert_eq!((found[0].data_type, told.attributes()), (wanted, attributes));
        let plain = parse("QuantizeLinear", form(Attributes::default(), 3)).unwrap().unwrap().operator;
        let zero_point = Some(Fact::known(wanted, &[]));
        let found = plain.infer(&Facts(&[f32.clone(), scale.clone(), zero_point])).unwrap();
        assert_eq!((found[0].data_type, plain.attributes()), (wanted, Attributes::default()));
    }
}

fn refusal(name: &str, opset: i64, attributes: Attributes) -> String {
    let form = NodeForm { attributes, opset, input_count: 1, output_count: 2 };
    parse(name, form).unwrap().err().unwrap()
}

#[test]
fn refuses_what_it_does_not_compute() {
    let none = Attributes::default;
    let window = || none().ints("kernel_shape", &[2, 2]);
    let cases = [
        ("Relu", 13, none().int("wonder", 1), "attribute `wonder` is not supported"),
        ("LeakyRelu", 13, none().float("alpha", f32::NAN), "attribute alpha=NaN is not finite"),
        ("Add", 6, none().int("broadcast", 1), "attribute `broadcast` is not supported"),
        ("Clip", 11, none().float("min", 0.0), "attribute `min` is not supported"),
        ("MaxPool", 12, none(), "kernel_shape is missing"),
        ("AveragePool", 12, none(), "kernel_shape is missing"),
        ("AveragePool", 19, window().ints("dilations", &[0, 2]), "attribute dilations=[0, 2]: 0 is out of range"),
        ("AveragePool", 12, window().ints("strides", &[2]), "strides=[2] must have 2 entries"),
        ("AveragePool", 12, window().ints("pads", &[-1, 0, 0, 0]), "attribute pads=[-1, 0, 0, 0]: -1 is out of range"),
        ("BatchNormalization", 15, none().float("epsilon", -1.0), "epsilon=-1 is negative"),
        ("QuantizeLinear", 21, none().int("block_size", -1), "block_size=-1 is negative"),
        ("QuantizeLinear", 21, none().int("output_dtype", 23), "quantized type float4e2m1 is not supported"),
        ("ReduceMean", 18, none().ints("axes", &[1]), "attribute `axes` is not supported"),
        ("Einsum", 12, none().string("equation", "...i...->i"), "equation=...i...->i is not supported"),
        ("Gelu", 20, none().string("approximate", "guess"), "approximate=guess is not known"),
        ("GroupNormalization", 18, none(), "num_groups=0 is out of range"),
        ("LRN", 13, none(), "size=0 is out of range"),
        ("Softmax", 13, none().with("axis", Attribute::Float(1.0)), "attribute `axis` must be an integer, not a number"),
    ];
    for (name, opset, attributes, wanted) in cases {
        assert_eq!(refusal(name, opset, attributes), wanted);
    }
}

#[test]
fn refuses_inputs_that_do_not_fit() {
    let f32 = |shape: &[usize]| Some(Fact::known(DataType::F32, shape));
    let i8 = |shape: &[usize]| Some(Fact::known(DataType::I8, shape));
    let window = || Attributes::default().ints("kernel_shape", &[3, 3]);
    let none = Attributes::default;
    let cases = [
        ("Add", 13, none(), vec![f32(&[2]), f32(&[3])], "shapes [2] and [3] do not broadcast"),
        ("Add", 13, none(), vec![f32(&[2]), i8(&[2])], "inputs 0 and 1 have types f32 and i8"),
        ("Add", 13, none(), vec![f32(&[2])], "input 1 is missing"),
        ("Relu", 13, none(), vec![None], "input 0 is missing"),
        ("Clip", 13, none(), vec![f32(&[2]), f32(&[2])], "input 1 must be a single number"),
        ("AveragePool", 13, window(), vec![f32(&[1, 1, 2, 2])], "kernel 3 does not fit an input of 2"),
        ("AveragePool", 13, window(), vec![f32(&[1, 1, 9])], "kernel_shape=[3, 3] does not fit an input of rank 3"),
        (
            "AveragePool",
            13,
            window().ints("pads", &[3, 0, 0, 0]),
            vec![f32(&[1, 1, 9, 9])],
            "pads 3 and 0 must be smaller than the kernel, 3",
        ),
        ("GlobalMaxPool", 13, none(), vec![f32(&[1, 1])], "input of rank 2 has no spatial dimensions"),
        ("ReduceMax", 13, none().ints("axes", &[2]), vec![f32(&[1, 1])], "axis=2 is out of range for rank 2"),
        ("ReduceSum", 13, none(), vec![f32(&[1, 1]), i8(&[1])], "input 1 must be constant integers"),
        ("LRN", 13, none().int("size", 3), vec![f32(&[4])], "its input has no channels"),
        (
            "Einsum",
            13,
            none().string("equation", "ij,jk->ik"),
            vec![f32(&[2, 3]), f32(&[2, 3])],
            "index j is 3 in one input and 2 in another",
        ),
        ("SpaceToDepth", 13, none().int("blocksize", 2), vec![f32(&[1, 1, 4, 3])], "blocksize=2 does not divide 3"),
        ("QuantizeLinear", 13, none(), vec![f32(&[1, 3]), f32(&[2])], "2 scales for 3 channels"),
        ("QuantizeLinear", 13, none(), vec![f32(&[3]), f32(&[3])], "axis=1 is out of range for rank 1"),
        ("QuantizeLinear", 13, none(), vec![f32(&[3]), f32(&[]), f32(&[])], "quantized type f32 is not supported"),
        ("DequantizeLinear", 13, none(), vec![f32(&[3]), f32(&[])], "quantized type f32 is not supported"),
    ];
    for (name, opset, attributes, facts, wanted) in cases {
        let form = NodeForm { attributes, opset, input_count: facts.len(), output_count: 1 };
        let operator = parse(name, form).unwrap().unwrap().operator;
        assert_eq!(operator.infer(&Facts(&facts)).err().as_deref(), Some(wanted), "{name}");
    }
}
