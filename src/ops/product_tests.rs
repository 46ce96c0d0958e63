//! Conv, ConvTranspose, Gemm and MatMul against plain sums in ONNX's own terms, and their gradients against differences.

use super::operator::{BackwardCall, Fact, Facts, Gradient, Implementation, Kernel, Layout, Operand, Operator, Site};
use super::{Attributes, AutoPad, Conv, ConvTranspose, Gemm, MatMul, NodeForm, parse};
use crate::graph::Dim;
use crate::kernels::Isa;
use crate::tensor::{DataType, TensorData};

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

struct Bench {
    kernel: Box<dyn Kernel>,
    layouts: Vec<Layout>,
    output: Layout,
    shared: Vec<bool>,
}

fn infer(operator: &dyn Operator, shapes: &[&[usize]]) -> Result<Vec<usize>, String> {
    let facts: Vec<Option<Fact>> = shapes.iter().map(|shape| Some(Fact::known(DataType::F32, shape))).collect();
    let inferred = operator.infer(&Facts(&facts))?;
    Ok(inferred[0].shape.iter().map(|dim| dim.known().unwrap()).collect())
}

impl Bench {
    fn new(operator: &dyn Operator, shapes: &[&[usize]], shared: &[bool], isa: Isa) -> Self {
        let layout = |(shape, shared): (&&[usize], &bool)| if *shared { Layout::parameter(shape) } else { Layout::activation(shape) };
        let layouts: Vec<Layout> = shapes.iter().zip(shared).map(layout).collect();
        let operands = layouts
            .iter()
            .zip(shared)
            .map(|(layout, shared)| Operand {
                layout: layout.clone(),
                data_type: DataType::F32,
                constant: None,
                shared: *shared,
                wants_gradient: true,
            })
            .map(Some);
        let operands: Vec<Option<Operand>> = operands.collect();
        let output = Layout::activation(&infer(operator, shapes).unwrap());
        let site = Site { inputs: &operands, outputs: &[Some(output.clone())], isa };
        let Implementation::Compute(kernel) = operator.implement(&site).unwrap() else { panic!("no kernel") };
        Bench { kernel, layouts, output, shared: shared.to_vec() }
    }

    fn place(layout: &Layout, row_major: &[f32]) -> Vec<f32> {
        let mut placed = vec![f32::NAN; layout.len()];
        layout.offsets().into_iter().zip(row_major).for_each(|(at, value)| placed[at] = *value);
        placed
    }

    /// Row-major in, row-major out.
    fn forward(&mut self, inputs: &[Vec<f32>]) -> Vec<f32> {
        let placed: Vec<Vec<f32>> = self.layouts.iter().zip(inputs).map(|(layout, values)| Self::place(layout, values)).collect();
        let shared: Vec<Option<&[f32]>> = placed.iter().zip(&self.shared).map(|(values, shared)| shared.then_some(&values[..])).collect();
        self.kernel.prepare(&shared);
        let slices: Vec<&[f32]> = placed.iter().map(Vec::as_slice).collect();
        let mut output = vec![f32::NAN; self.output.len()];
        self.kernel.forward(&slices, &mut output, &mut vec![f32::NAN; self.kernel.scratch()]);
        self.output.offsets().into_iter().map(|at| output[at]).collect()
    }

    /// Gradients of all inputs, row-major, added to `before` where it is given.
    fn backward(&mut self, inputs: &[Vec<f32>], output_gradient: &[f32], before: Option<f32>) -> Vec<Vec<f32>> {
        let placed: Vec<Vec<f32>> = self.layouts.iter().zip(inputs).map(|(layout, values)| Self::place(layout, values)).collect();
        let slices: Vec<&[f32]> = placed.iter().map(Vec::as_slice).collect();
        let gradient = Self::place(&self.output, output_gradient);
        let mut results: Vec<Vec<f32>> = self.layouts.iter().map(|layout| vec![before.unwrap_or(f32::NAN); layout.len()]).collect();
        let mut gradients: Vec<Option<Gradient<'_>>> =
            results.iter_mut().map(|values| Some(Gradient { values, accumulate: before.is_some() })).collect();
        self.kernel.backward(BackwardCall {
            inputs: &slices,
            output: &[],
            output_gradient: &gradient,
            input_gradients: &mut gradients,
            scratch: &mut vec![f32::NAN; self.kernel.scratch()],
        });
        drop(gradients);
        results.iter().zip(&self.layouts).map(|(values, layout)| layout.offsets().into_iter().map(|at| values[at]).collect()).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn assert_close(got: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((f64::from(*got) - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{what}: element {index} is {got}, not {wanted}");
    }
}

/// Row-major inputs and the output's shape to the row-major output.
type Reference<'a> = &'a dyn Fn(&[Vec<f32>], &[usize]) -> Vec<f64>;

/// An operator, the shapes of its input and weights, and the zeros before each axis.
type Case<T> = (T, [usize; 4], [usize; 4], [usize; 2]);

/// Forward against `reference`; gradients by linearity in each input; every way of sharing inputs.
fn check(operator: &dyn Operator, shapes: &[&[usize]], reference: Reference<'_>) {
    let inputs: Vec<Vec<f32>> = shapes.iter().zip(1..).map(|(shape, seed)| noise(shape.iter().product(), seed)).collect();
    let wanted = reference(&inputs, &infer(operator, shapes).unwrap());
    let sharings = [[false, true, true], [false, false, false], [true, false, true]];
    for (isa, sharing) in Isa::available().flat_map(|isa| sharings.map(|sharing| (isa, sharing))) {
        let what = format!("{operator:?} {shapes:?} {isa:?} {sharing:?}");
        let mut bench = Bench::new(operator, shapes, &sharing[..shapes.len()], isa);
        let output = bench.forward(&inputs);
        assert_close(&output, &wanted, &what);
        let weights = noise(output.len(), 77);
        let gradients = bench.backward(&inputs, &weights, None);
        for (index, gradient) in gradients.iter().enumerate() {
            let step = noise(gradient.len(), 99);
            let mut moved = inputs.clone();
            moved[index].iter_mut().zip(&step).for_each(|(value, step)| *value += step);
            let difference: Vec<f32> = bench.forward(&moved).iter().zip(&output).map(|(after, before)| after - before).collect();
            let (got, wanted) = (dot(gradient, &step), dot(&weights, &difference));
            assert!((got - wanted).abs() <= 2e-4 * (output.len() as f64).max(wanted.abs()), "{what}: gradient {index}: {got} for {wanted}");
        }
        bench.forward(&inputs);
        for (added, plain) in bench.backward(&inputs, &weights, Some(3.0)).iter().zip(&gradients) {
            let wanted: Vec<f64> = plain.iter().map(|value| f64::from(*value) + 3.0).collect();
            assert_close(added, &wanted, &format!("accumulated {what}"));
        }
    }
}

/// Calls `visit(image, weight, map, feature)` with row-major offsets for every product of a convolution whose weights
/// are `[features, channels / group, kernel…]`; 2-D.
#[allow(clippy::too_many_arguments)]
fn products(
    image: &[usize],
    weights: &[usize],
    map: &[usize],
    group: usize,
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 2],
    visit: &mut dyn FnMut(usize, usize, usize),
) {
    let flat = |shape: &[usize], at: [usize; 4]| ((at[0] * shape[1] + at[1]) * shape[2] + at[2]) * shape[3] + at[3];
    for index in 0..map.iter().product::<usize>() * weights[1..].iter().product::<usize>() {
        let mut rest = index;
        let mut digit = |size: usize| {
            let digit = rest % size;
            rest /= size;
            digit
        };
        let [kx, ky, c] = [weights[3], weights[2], weights[1]].map(&mut digit);
        let [x, y, m, n] = [map[3], map[2], map[1], map[0]].map(&mut digit);
        let (iy, ix) = (y * strides[0] + ky * dilations[0], x * strides[1] + kx * dilations[1]);
        if iy >= pads[0] && ix >= pads[1] && iy - pads[0] < image[2] && ix - pads[1] < image[3] {
            let channel = m / (map[1] / group) * weights[1] + c;
            visit(flat(image, [n, channel, iy - pads[0], ix - pads[1]]), flat(weights, [m, c, ky, kx]), flat(map, [n, m, y, x]));
        }
    }
}

#[test]
fn conv_matches_a_plain_sum() {
    let cases: [Case<Conv>; 6] = [
        (Conv::default(), [1, 3, 5, 6], [4, 3, 3, 3], [0, 0]),
        (Conv { pads: vec![1, 0, 2, 1], strides: vec![2, 1], ..Conv::default() }, [1, 4, 7, 5], [6, 4, 3, 2], [1, 0]),
        (Conv { group: 2, dilations: vec![2, 1], pads: vec![1; 4], ..Conv::default() }, [2, 4, 6, 6], [6, 2, 2, 3], [1, 1]),
        (Conv { group: 5, auto_pad: AutoPad::SameUpper, strides: vec![2, 2], ..Conv::default() }, [1, 5, 6, 7], [5, 1, 3, 3], [0, 1]),
        (Conv { auto_pad: AutoPad::SameLower, strides: vec![2, 2], ..Conv::default() }, [1, 5, 6, 7], [5, 5, 3, 3], [1, 1]),
        (Conv { kernel_shape: vec![1, 1], auto_pad: AutoPad::Valid, ..Conv::default() }, [1, 17, 3, 3], [33, 17, 1, 1], [0, 0]),
    ];
    for (conv, input, weights, pads) in cases {
        let pair = |list: &[usize]| if list.is_empty() { [1, 1] } else { [list[0], list[1]] };
        let (strides, dilations, group) = (pair(&conv.strides), pair(&conv.dilations), conv.group);
        let reference = |inputs: &[Vec<f32>], output: &[usize]| {
            let plane = output[2] * output[3];
            let mut sums: Vec<f64> =
                (0..output.iter().product()).map(|i| inputs.get(2).map_or(0.0, |b| f64::from(b[i / plane % output[1]]))).collect();
            products(&input, &weights, output, group, strides, dilations, pads, &mut |i, w, o| {
                sums[o] += f64::from(inputs[0][i]) * f64::from(inputs[1][w]);
            });
            sums
        };
        check(&conv, &[&input, &weights], &reference);
        check(&conv, &[&input, &weights, &[weights[0]]], &reference);
    }
}

#[test]
fn conv_transpose_matches_a_plain_sum() {
    let with = |conv: Conv| ConvTranspose { conv, ..ConvTranspose::default() };
    let strided = || Conv { strides: vec![2, 3], ..Conv::default() };
    let cases: [Case<ConvTranspose>; 6] = [
        (with(Conv::default()), [1, 3, 4, 5], [3, 2, 3, 3], [0, 0]),
        (with(Conv { pads: vec![1, 0, 0, 2], ..strided() }), [1, 3, 4, 5], [3, 17, 3, 2], [1, 0]),
        (ConvTranspose { output_padding: vec![1, 2], conv: strided(), output_shape: vec![] }, [1, 4, 3, 3], [4, 5, 1, 2], [0, 0]),
        (with(Conv { group: 2, dilations: vec![2, 1], ..strided() }), [2, 4, 3, 3], [4, 3, 2, 3], [0, 0]),
        (with(Conv { group: 4, auto_pad: AutoPad::SameUpper, ..strided() }), [1, 4, 3, 3], [4, 1, 3, 4], [0, 0]),
        (ConvTranspose { output_shape: vec![8, 9], conv: strided(), output_padding: vec![] }, [1, 2, 4, 3], [2, 3, 3, 4], [1, 1]),
    ];
    for (operator, input, weights, pads) in cases {
        let conv = &operator.conv;
        let pair = |list: &[usize]| if list.is_empty() { [1, 1] } else { [list[0], list[1]] };
        let (strides, dilations, group) = (pair(&conv.strides), pair(&conv.dilations), conv.group);
        let reference = |inputs: &[Vec<f32>], output: &[usize]| {
            let plane = output[2] * output[3];
            let mut sums: Vec<f64> = (0..output.iter().product()).map(|i| f64::from(inputs[2][i / plane % output[1]])).collect();
            products(output, &weights, &input, group, strides, dilations, pads, &mut |o, w, i| {
                sums[o] += f64::from(inputs[0][i]) * f64::from(inputs[1][w]);
            });
            sums
        };
        check(&operator, &[&input, &weights, &[weights[1] * group]], &reference);
    }
}

#[test]
fn one_and_three_spatial_axes_work() {
    let conv = Conv { pads: vec![2, 1], strides: vec![2], ..Conv::default() };
    check(&conv, &[&[1, 3, 9], &[4, 3, 4]], &|inputs, output| {
        let at = |n: usize, step: usize, k: usize| {
            (n * 2 + k).checked_sub(2).filter(|x| *x < 9).map_or(0.0, |x| f64::from(inputs[0][step * 9 + x]))
        };
        let sum = |m: usize, x: usize| (0..12).map(|ck| at(x, ck / 4, ck % 4) * f64::from(inputs[1][m * 12 + ck])).sum();
        (0..output.iter().product()).map(|i| sum(i / output[2], i % output[2])).collect()
    });
    check(&Conv::default(), &[&[1, 1, 3, 2, 2], &[1, 1, 2, 2, 2]], &|inputs, _| {
        let sum = |d: usize| (0..8).map(|k| f64::from(inputs[0][d * 4 + k]) * f64::from(inputs[1][k])).sum();
        vec![sum(0), sum(1)]
    });
}

#[test]
fn gemm_matches_a_plain_sum() {
    for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
        for (alpha, beta, [m, k, n]) in [(1.0, 1.0, [1, 70, 19]), (0.5, 2.0, [5, 3, 40]), (1.0, 1.0, [9, 33, 1])] {
            let gemm = Gemm { alpha, beta, transpose_a, transpose_b };
            let (a, b) = (if transpose_a { [k, m] } else { [m, k] }, if transpose_b { [n, k] } else { [k, n] });
            for c in [vec![], vec![n], vec![1, n], vec![m, 1], vec![m, n], vec![1]] {
                check(&gemm, &[&a, &b, &c], &|inputs, _| {
                    let value = |i: usize, j: usize| {
                        let at = |t: bool, r: usize, c: usize, rows: usize, columns: usize| if t { c * rows + r } else { r * columns + c };
                        let sum: f64 = (0..k)
                            .map(|d| f64::from(inputs[0][at(transpose_a, i, d, m, k)]) * f64::from(inputs[1][at(transpose_b, d, j, k, n)]))
                            .sum();
                        let offset = Layout::row_major(&c).broadcast_offsets(&[m, n])[i * n + j];
                        f64::from(alpha) * sum + f64::from(beta) * f64::from(inputs[2][offset])
                    };
                    (0..m * n).map(|i| value(i / n, i % n)).collect()
                });
            }
        }
    }
}

#[test]
fn mat_mul_matches_a_plain_sum() {
    let cases: [(&[usize], &[usize], &[usize]); 8] = [
        (&[1, 40], &[40, 10], &[]),
        (&[7], &[7], &[]),
        (&[7], &[2, 7, 3], &[2]),
        (&[2, 3, 7], &[7], &[2]),
        (&[2, 3, 4], &[4, 5], &[2]),
        (&[2, 1, 3, 4], &[5, 4, 6], &[2, 5]),
        (&[3, 4], &[2, 4, 6], &[2]),
        (&[2, 3, 17, 4], &[2, 3, 4, 33], &[2, 3]),
    ];
    for (left, right, batch) in cases {
        check(&MatMul, &[left, right], &|inputs, _| {
            let (k, n) = (left[left.len() - 1], if right.len() > 1 { right[right.len() - 1] } else { 1 });
            let m = if left.len() > 1 { left[left.len() - 2] } else { 1 };
            let (lb, rb) = (&left[..left.len().max(2) - 2], &right[..right.len().max(2) - 2]);
            let offsets = |b: &[usize]| Layout::row_major(b).broadcast_offsets(batch);
            let pairs: Vec<(usize, usize)> = offsets(lb).into_iter().zip(offsets(rb)).collect();
            let sum = |(l, r): (usize, usize), i: usize, j: usize| {
                (0..k).map(|d| f64::from(inputs[0][(l * m + i) * k + d]) * f64::from(inputs[1][(r * k + d) * n + j])).sum()
            };
            pairs.iter().flat_map(|pair| (0..m * n).map(|at| sum(*pair, at / n, at % n)).collect::<Vec<f64>>()).collect()
        });
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let conv = |change: &dyn Fn(&mut Conv)| {
        let mut conv = Conv::default();
        change(&mut conv);
        conv
    };
    let refusals: [(Conv, &[&[usize]], &str); 7] = [
        (conv(&|c| c.group = 2), &[&[1, 4, 5, 5], &[3, 2, 3, 3]], "group=2 does not divide 3 channels"),
        (conv(&|_| ()), &[&[1, 4, 5, 5], &[3, 3, 3, 3]], "an input of 4 channels does not fit weights for 1 × 3"),
        (conv(&|_| ()), &[&[1, 4, 2, 5], &[3, 4, 3, 3]], "a kernel that covers 3 does not fit 2 along axis 2"),
        (
            conv(&|c| c.kernel_shape = vec![5, 5]),
            &[&[1, 4, 5, 5], &[3, 4, 3, 3]],
            "kernel_shape=[5, 5] does not agree with weights of kernel [3, 3]",
        ),
        (conv(&|c| c.pads = vec![1, 1]), &[&[1, 4, 5, 5], &[3, 4, 3, 3]], "pads=[1, 1] has 2 entries, expected 4"),
        (conv(&|_| ()), &[&[1, 4, 5, 5], &[3, 4, 3, 3], &[4]], "a bias of 4 does not fit 3 output channels"),
        (conv(&|_| ()), &[&[1, 4], &[3, 4]], "an input of rank 2 does not fit weights of shape [3, 4]"),
    ];
    for (conv, shapes, reason) in refusals {
        assert_eq!(infer(&conv, shapes), Err(reason.to_string()));
    }
    let form = |attributes| NodeForm { attributes, opset: 17, input_count: 2, output_count: 1 };
    for (attributes, reason) in [
        (Attributes::default().int("group", 0), "group=0 is not positive"),
        (Attributes::default().ints("strides", &[0, 1]), "attribute strides=[0, 1]: 0 is out of range"),
        (Attributes::default().ints("pads", &[-1, 1]), "attribute pads=[-1, 1]: -1 is out of range"),
        (Attributes::default().string("auto_pad", "MAYBE"), "auto_pad=MAYBE is not known"),
        (Attributes::default().int("colour", 1), "attribute `colour` is not supported"),
    ] {
        assert_eq!(parse("Conv", form(attributes)).unwrap().err().as_deref(), Some(reason));
    }
}

#[test]
fn attributes_are_written_back_and_symbols_kept() {
    let attributes = Attributes::default().int("group", 2).ints("pads", &[1, 2, 3, 4]).ints("strides", &[2, 1]).string("auto_pad", "VALID");
    for name in ["Conv", "ConvTranspose"] {
        let form = NodeForm { attributes: attributes.clone(), opset: 17, input_count: 2, output_count: 1 };
        assert_eq!(parse(name, form).unwrap().unwrap().operator.attributes(), attributes, "{name}");
    }
    let mut data = Fact::known(DataType::F32, &[1, 3, 8, 8]);
    data.shape[0] = Dim::Symbol("batch".into());
    data.shape[3] = Dim::Unknown;
    let weights = Fact::of(TensorData::new(&[4, 3, 3, 3], vec![0.0f32; 108]));
    let inferred = Conv::default().infer(&Facts(&[Some(data), Some(weights)])).unwrap();
    assert_eq!(inferred[0].shape, [Dim::Symbol("batch".into()), Dim::Known(4), Dim::Known(6), Dim::Unknown]);
}
