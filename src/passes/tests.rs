//! Each pass on a small graph: what it becomes, and that it still computes the same.

use super::*;
use crate::graph::sketch::{Sketch, assert_same_function, noise};
use crate::graph::{Graph, NodeId};
use crate::ops::{Attribute, Attributes, Softmax, SoftmaxAxis};
use crate::tensor::{DataType, TensorData};

/// Applies `pass` and compares the text of the result.
fn assert_becomes(graph: &Graph, pass: impl Fn(&mut Graph), expected: &str) -> Graph {
    let mut after = graph.clone();
    pass(&mut after);
    crate::graph::check(&after).unwrap();
    let lines = |text: &str| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    assert_eq!(lines(&after.to_string()), lines(expected));
    assert_same_function(graph, &after);
    after
}

#[test]
fn a_batch_norm_folds_into_conv_gemm_and_conv_transpose() {
    let graph = Sketch::new(&[0, 3, 6, 6]).conv("c", "x", (3, 4), 3, 1).norm("n", "c", 4);
    let graph = graph.weights("t_w", &[4, 5, 2, 2], 0.4).plain("t", "ConvTranspose", "n t_w").norm("m", "t", 5);
    let graph = graph.plain("p", "GlobalAveragePool", "m").plain("f", "Flatten", "p");
    let graph = graph.weights("g_w", &[5, 4], 0.5).plain("g", "Gemm", "f g_w").norm("y", "g", 4).outputs("y");
    let text = "(x)
        n = Conv(x, c_w, c_w_bias)
        m = ConvTranspose(n, t_w, t_w_bias)
        p = GlobalAveragePool(m)
        f = Flatten(p)
        y = Gemm(f, g_w, g_w_bias)
        -> y";
    assert_becomes(&graph, |graph| assert_eq!(fold_batch_norm(graph).unwrap(), (3, 0)), text);
}

#[test]
fn a_batch_norm_with_nothing_before_it_becomes_a_depthwise_convolution() {
    let graph = Sketch::new(&[0, 3, 4, 4]).norm("n", "x", 3).plain("y", "Relu", "n").outputs("y");
    let text = "(x)
        n = Conv(x, n_weight, n_bias)
        y = Relu(n)
        -> y";
    assert_becomes(&graph, |graph| assert_eq!(fold_batch_norm(graph).unwrap(), (0, 1)), text);
}

#[test]
fn a_convolution_read_by_others_keeps_its_output() {
    let graph = Sketch::new(&[0, 3, 4, 4]).conv("c", "x", (3, 3), 1, 1).norm("n", "c", 3).plain("y", "Add", "n c").outputs("y");
    let text = "(x)
        c = Conv(x, c_w)
        n = Conv(c, n_weight, n_bias)
        y = Add(n, c)
        -> y";
    assert_becomes(&graph, |graph| assert_eq!(fold_batch_norm(graph).unwrap(), (0, 1)), text);
}

#[test]
fn zeros_around_an_image_become_padding() {
    let graph = Sketch::new(&[0, 2, 5, 5]).integers("pads", &[0, 0, 1, 2, 0, 0, 0, 1]).plain("p", "Pad", "x pads");
    let graph = graph.conv("y", "p", (2, 3), 3, 2).outputs("y");
    let text = "(x)
        y = Conv(x, y_w)
        -> y";
    assert_becomes(&graph, |graph| merge_pad(graph).unwrap(), text);
}

#[test]
fn padding_between_channels_stays() {
    let graph = Sketch::new(&[0, 2, 5, 5]).integers("pads", &[0, 1, 0, 0, 0, 0, 0, 0]).plain("p", "Pad", "x pads");
    let graph = graph.conv("y", "p", (3, 3), 3, 2).outputs("y");
    let text = "(x)
        p = Pad(x, pads)
        y = Conv(p, y_w)
        -> y";
    assert_becomes(&graph, |graph| merge_pad(graph).unwrap(), text);
}

#[test]
fn rows_and_columns_of_an_open_batch_are_known() {
    let sketch = Sketch::new(&[0, 2, 5, 4]).plain("shape", "Shape", "x").integers("two", &[2]).integers("three", &[3]);
    let sketch = sketch.plain("rows", "Slice", "shape two three").plain("columns", "Gather", "shape three");
    let sketch = sketch.plain("area", "Mul", "rows columns").integers("rest", &[-1, 2]);
    let sketch = sketch.node("target", "Concat", "rest area", Attributes::default().int("axis", 0));
    let graph = sketch.plain("flat", "Reshape", "x target").plain("y", "Relu", "flat").outputs("y");
    let text = "(x)
        flat = Reshape(x, target)
        y = Relu(flat)
        -> y";
    let after = assert_becomes(&graph, |graph| fold_constants(graph).unwrap(), text);
    assert_eq!(after.constant(after.find_value("target").unwrap()), Some(&TensorData::vector(vec![-1i64, 2, 20])));
}

#[test]
fn the_batch_is_not_made_a_constant() {
    let sketch = Sketch::new(&[0, 2, 5, 5]).plain("shape", "Shape", "x").integers("some", &[0, 1]);
    let graph = sketch.plain("sizes", "Gather", "shape some").plain("y", "Neg", "sizes").outputs("y");
    let mut after = graph.clone();
    fold_constants(&mut after).unwrap();
    assert_eq!(after.to_string(), graph.to_string());
}

#[test]
fn a_mean_over_the_image_becomes_a_pool() {
    let means = |keep: i64| {
        let attributes = Attributes::default().int("keepdims", keep).ints("axes", &[-2, -1]);
        Sketch::new(&[0, 3, 4, 4]).node("y", "ReduceMean", "x", attributes).outputs("y")
    };
    assert_becomes(&means(1), |graph| replace_reduce_mean(graph).unwrap(), "(x)\n y = GlobalAveragePool(x)\n -> y");
    let text = "(x)
        y_pooled = GlobalAveragePool(x)
        y = Reshape(y_pooled, y_shape)
        -> y";
    assert_becomes(&means(0), |graph| replace_reduce_mean(graph).unwrap(), text);
}

#[test]
fn arithmetic_on_shapes_dies_and_the_batch_stays_open() {
    let sketch = Sketch::new(&[0, 3, 4, 4]).integers("zero", &[0]).integers("rest", &[-1]);
    let sketch = sketch.plain("shape", "Shape", "x").plain("batch", "Gather", "shape zero");
    let sketch = sketch.node("target", "Concat", "batch rest", Attributes::default().int("axis", 0));
    let graph = sketch.plain("flat", "Reshape", "x target").weights("w", &[48, 5], 0.2).plain("y", "Gemm", "flat w").outputs("y");
    let text = "(x)
        flat = Reshape(x, flat_shape)
        y = Gemm(flat, w)
        -> y";
    let after = assert_becomes(&graph, |graph| simplify(graph).unwrap(), text);
    let shape: Vec<String> = after.value(after.outputs[0]).shape.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(shape, ["batch", "5"]);
}

#[test]
fn constants_fold_and_what_only_they_fed_dies() {
    let sketch = Sketch::new(&[2, 3]).weights("a", &[3, 3], 1.0).weights("b", &[3], 1.0);
    let sketch = sketch.plain("ab", "Add", "a b").plain("like", "CastLike", "ab x").plain("unread", "Relu", "x");
    let graph = sketch.plain("y", "MatMul", "x like").outputs("y");
    assert_becomes(&graph, |graph| simplify(graph).unwrap(), "(x)\n y = MatMul(x, like)\n -> y");
}

#[test]
fn weights_keep_their_quantizers_until_they_are_sealed() {
    let sketch = Sketch::new(&[2, 3]).weights("w", &[3, 3], 1.0).weights("s", &[], 0.01).plain("q", "QuantizeLinear", "w s");
    let graph = sketch.plain("d", "DequantizeLinear", "q s").plain("y", "MatMul", "x d").outputs("y");
    let unsealed = "(x)
        q = QuantizeLinear(w, s)
        d = DequantizeLinear(q, s)
        y = MatMul(x, d)
        -> y";
    assert_becomes(&graph, |graph| fold_constants(graph).unwrap(), unsealed);
    let sealed = "(x)
        d = DequantizeLinear(q, s)
        y = MatMul(x, d)
        -> y";
    assert_becomes(&graph, |graph| seal_constants(graph).unwrap(), sealed);
}

#[test]
fn a_weight_of_four_bits_seals_into_integers_of_four_bits() {
    let weights = TensorData::new(&[2, 2], vec![0.1f32, -0.31, 0.94, -9.0]);
    let sketch = Sketch::new(&[2, 2]).constant("w", weights).scalar("s", 0.1).constant("z", zero(DataType::I4));
    let sketch = sketch.plain("q", "QuantizeLinear", "w s z").plain("d", "DequantizeLinear", "q s z");
    let mut graph = sketch.plain("y", "MatMul", "x d").outputs("y");
    seal_constants(&mut graph).unwrap();
    let sealed = graph.constant(graph.find_value("q").unwrap()).unwrap();
    assert_eq!((sealed.data_type(), sealed.to_i64().unwrap()), (DataType::I4, vec![1, -3, 7, -8]));
}

fn zero(data_type: DataType) -> TensorData {
    TensorData::from_f64(&[], vec![0.0], data_type).unwrap()
}

#[test]
fn identities_go_and_outputs_keep_their_names() {
    let sketch = Sketch::new(&[0, 3]).plain("i", "Identity", "x").plain("d", "Dropout", "i").plain("r", "Relu", "d");
    let graph = sketch.node("t", "Transpose", "r", Attributes::default().ints("perm", &[0, 1])).plain("y", "Identity", "t").outputs("y");
    assert_becomes(&graph, |graph| eliminate_identities(graph).unwrap(), "(x)\n y = Relu(x)\n -> y");
}

#[test]
fn simplify_and_prepare_keep_a_network_and_count_its_multiplications() {
    let graph = Sketch::residual();
    let text = "(x)
        n1 = Conv(x, c1_w, c1_w_bias)
        r1 = Relu(n1)
        n2 = Conv(r1, c2_w, c2_w_bias)
        s = Add(n2, r1)
        r2 = Relu(s)
        p = GlobalAveragePool(r2)
        f = Flatten(p)
        y = Gemm(f, g_w, g_b)
        -> y";
    let prepare = |graph: &mut Graph| {
        simplify(graph).unwrap();
        assert_eq!(prepare(graph).unwrap(), (2, 0));
    };
    let after = assert_becomes(&graph, prepare, text);
    assert_eq!(macs(&single_sample(&after).unwrap()), 16 * 9 * 3 * 8 + 16 * 9 * 8 * 8 + 8 * 4);
}

#[test]
fn stored_statistics_come_with_the_value_they_describe() {
    let graph = Sketch::residual();
    let sites = batch_norm_statistics(&graph).unwrap();
    assert_eq!(sites.iter().map(|site| graph.value(site.input).name.as_str()).collect::<Vec<_>>(), ["c1", "c2"]);
    assert!(sites.iter().all(|site| site.mean.len() == 8 && site.variance.iter().all(|v| (0.5..=1.5).contains(v))));
}

#[test]
fn channels_scale_through_homogeneous_functions_alone() {
    let none = Attributes::default;
    let sketch = Sketch::new(&[0, 4, 9, 9]).conv("a", "x", (4, 6), 3, 1).weights("slope", &[6, 1, 1], 0.3).plain("p", "PRelu", "a slope");
    let sketch = sketch.node("m", "MaxPool", "p", none().sizes("kernel_shape", &[2, 2]).sizes("strides", &[2, 2]));
    let sketch = sketch.weights("w", &[9, 2, 3, 3], 0.3).weights("b", &[9], 0.5).node("g", "Conv", "m w b", none().int("group", 3));
    let sketch = sketch.node("l", "LeakyRelu", "g", none()).plain("v", "GlobalAveragePool", "l").plain("f", "Flatten", "v");
    let sketch = sketch.weights("u", &[9, 5], 0.4).plain("y", "Gemm", "f u");
    // A Clip, an addition and an output are no places to scale at.
    let sketch = sketch.scalar("six", 6.0).scalar("zero", 0.0).conv("c", "x", (4, 6), 3, 1).plain("k", "Clip", "c zero six");
    let sketch = sketch.conv("e", "k", (6, 6), 1, 1).plain("s", "Add", "e k").conv("z", "s", (6, 3), 1, 1);
    let graph = sketch.outputs("y z");
    let seams = find_seams(&graph);
    let name = |id: NodeId| graph.node(id).name.as_str();
    let found: Vec<(&str, Vec<&str>)> =
        seams.iter().map(|seam| (name(seam.producer), seam.consumers.iter().map(|id| name(*id)).collect())).collect();
    assert_eq!(found, [("a", vec!["g"]), ("g", vec!["y"])]);
    let mut scaled = graph.clone();
    for seam in &seams {
        let factors: Vec<f32> = (0..seam.channels).map(|c| 0.25 * (c + 1) as f32).collect();
        scale_seam(&mut scaled, seam, &factors);
    }
    assert_same_function(&graph, &scaled);
    assert_ne!(graph.constant(graph.find_value("w").unwrap()), scaled.constant(scaled.find_value("w").unwrap()));
}

#[test]
fn an_old_softmax_over_several_dimensions_becomes_one_of_rows() {
    let sketch = Sketch::new(&[0, 3, 2, 2]).plain("s", "Softmax", "x");
    let graph = sketch.plain("y", "Relu", "s").outputs("y");
    let (id, _) = graph.producer(graph.find_value("s").unwrap()).unwrap();
    for (index, changed) in [(1, true), (2, true), (3, false)] {
        let mut after = graph.clone();
        let axis = SoftmaxAxis { index, flatten: true };
        after.set_operator(id, std::sync::Arc::new(Softmax { axis }));
        flatten_softmax(&mut after).unwrap();
        let lines: Vec<String> = after.to_string().lines().map(|line| line.trim().to_string()).collect();
        assert_eq!(lines.contains(&"s = Softmax(x)".to_string()), !changed, "{lines:?}");
        assert_eq!(lines.contains(&"s = Reshape(s_rows_values, s_shape_values)".to_string()), changed, "{lines:?}");
        let sums = rows(&after, index as usize);
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{sums:?}");
    }
}

/// What the elements of the output from dimension `axis` on add up to, on noise.
fn rows(graph: &Graph, axis: usize) -> Vec<f32> {
    let set = noise(graph, 1);
    let outputs = crate::execution::evaluate(graph, &graph.outputs, &set, &crate::execution::Config::default()).unwrap();
    let output = &outputs[0];
    let len: usize = output.shape()[axis + 1..].iter().product();
    output.iter().copied().collect::<Vec<f32>>().chunks(len).map(|row| row.iter().sum()).collect()
}

#[test]
fn a_float16_graph_computes_in_float32_behind_casts() {
    let graph = Sketch::new(&[0, 3, 4, 4]).conv("c", "x", (3, 4), 3, 1).norm("n", "c", 4).plain("y", "Relu", "n").outputs("y");
    let mut half = graph.clone();
    for id in graph.value_ids() {
        match graph.constant(id).and_then(|tensor| tensor.cast(DataType::F16)) {
            Some(tensor) => half.set_constant(id, tensor),
            None => half.set_facts(id, Some(DataType::F16), graph.value(id).shape.clone()),
        }
    }
    let text = "(x)
        x_f32 = Cast(x)
        c = Conv(x_f32, c_w_f32)
        n = BatchNormalization(c, n_scale_f32, n_shift_f32, n_mean_f32, n_var_f32)
        y_f32 = Relu(n)
        y = Cast(y_f32)
        -> y";
    let after = assert_becomes(&half, |graph| assert!(widen_float16(graph).unwrap()), text);
    let type_of = |name: &str| after.value(after.find_value(name).unwrap()).data_type;
    assert_eq!((type_of("x"), type_of("y"), type_of("c_w_f32")), (Some(DataType::F16), Some(DataType::F16), Some(DataType::F32)));
    assert!(!widen_float16(&mut graph.clone()).unwrap(), "a float32 graph stays");
}

#[test]
fn layers_in_float64_are_named() {
    let mut graph = Sketch::new(&[0, 3, 4, 4]).conv("y", "x", (3, 4), 3, 1).outputs("y");
    let weight = graph.find_value("y_w").unwrap();
    let wide = graph.constant(weight).unwrap().cast(DataType::F64).unwrap();
    graph.set_constant(weight, wide);
    let message = widen_float16(&mut graph).unwrap_err().to_string();
    assert!(message.contains("node `y` (Conv): weights of type f64; export the model in float32"), "{message}");
}

/// A convolution to four channels, and what is added to it.
fn with_addition(operator: &str, inputs: &str, shape: &[usize]) -> Graph {
    let sketch = Sketch::new(&[0, 3, 4, 4]).conv("c", "x", (3, 4), 3, 1).weights("k", shape, 0.5);
    sketch.plain("a", operator, inputs).plain("y", "Relu", "a").outputs("y")
}

#[test]
fn a_constant_added_to_a_convolution_is_its_bias() {
    let text = "(x)
        a = Conv(x, c_w, c_w_bias)
        y = Relu(a)
        -> y";
    for shape in [&[1usize, 4, 1, 1][..], &[4, 1, 1], &[1], &[]] {
        assert_becomes(&with_addition("Add", "c k", shape), |graph| simplify(graph).unwrap(), text);
        assert_becomes(&with_addition("Add", "k c", shape), |graph| simplify(graph).unwrap(), text);
        assert_becomes(&with_addition("Sub", "c k", shape), |graph| simplify(graph).unwrap(), text);
    }
}

#[test]
fn what_is_not_one_number_for_each_output_channel_stays_an_addition() {
    for shape in [&[4usize][..], &[1, 4], &[4, 4, 1], &[1, 4, 1, 4], &[1, 1, 1, 1, 1]] {
        let graph = with_addition("Add", "c k", shape);
        let mut after = graph.clone();
        simplify(&mut after).unwrap();
        assert_eq!(after.to_string(), graph.to_string(), "{shape:?}");
    }
    let read_twice = Sketch::new(&[0, 3, 4, 4]).conv("c", "x", (3, 4), 3, 1).weights("k", &[4, 1, 1], 0.5);
    let graph = read_twice.plain("a", "Add", "c k").plain("s", "Sub", "k c").plain("y", "Mul", "a s").outputs("y");
    let mut after = graph.clone();
    simplify(&mut after).unwrap();
    assert_eq!(after.to_string(), graph.to_string());
}

#[test]
fn biases_behind_all_products_and_statistics_end_in_one_bias() {
    let sketch = Sketch::new(&[0, 3, 4, 4]).conv("c", "x", (3, 4), 3, 1).weights("k", &[4], 0.5).integers("four", &[1, 4, 1, 1]);
    let sketch = sketch.plain("k4", "Reshape", "k four").plain("a", "Add", "c k4").norm("n", "a", 4);
    let sketch = sketch.weights("t_w", &[4, 2, 2, 2], 0.4).weights("t_b", &[4], 0.4).weights("u", &[4, 1, 1], 0.5);
    let group = Attributes::default().int("group", 2);
    let sketch = sketch.node("t", "ConvTranspose", "n t_w t_b", group).plain("v", "Add", "u t").plain("p", "GlobalAveragePool", "v");
    let sketch = sketch.plain("f", "Flatten", "p").weights("m_w", &[4, 5], 0.5).weights("m_b", &[1, 5], 0.5);
    let sketch = sketch.plain("m", "MatMul", "f m_w").plain("mb", "Add", "m m_b").weights("g_w", &[5, 3], 0.5).weights("g_b", &[3], 0.5);
    let sketch = sketch.weights("g_k", &[1], 0.5).plain("g", "Gemm", "mb g_w g_b").plain("y", "Add", "g g_k");
    let text = "(x)
        n = Conv(x, c_w, c_w_bias_1)
        v = ConvTranspose(n, t_w, t_w_bias)
        p = GlobalAveragePool(v)
        f = Flatten(p)
        mb = Gemm(f, m_w, m_w_bias)
        y = Gemm(mb, g_w, g_w_bias)
        -> y";
    let both = |graph: &mut Graph| {
        simplify(graph).unwrap();
        assert_eq!(prepare(graph).unwrap(), (1, 0));
    };
    assert_becomes(&sketch.outputs("y"), both, text);
}

#[test]
fn products_take_the_form_of_integer_kernels() {
    let factors = Attributes::default().float("alpha", 0.5).float("beta", 2.0).int("transB", 1);
    let sketch = Sketch::new(&[2, 3, 4]).weights("m_w", &[1, 4, 5], 0.5).plain("m", "MatMul", "x m_w").plain("r", "ReduceMean", "m");
    let sketch = sketch.integers("two", &[5, -1]).plain("t", "Reshape", "m two").plain("n", "Neg", "t");
    let turned = sketch.node("u", "Transpose", "n", Attributes::default().ints("perm", &[1, 0]));
    let sketch = turned.weights("g_w", &[3, 6], 0.5).weights("g_b", &[1, 3], 0.5);
    let sketch = sketch.node("g", "Gemm", "n g_w g_b", factors).weights("h_w", &[6, 2], 0.5);
    let graph = sketch.node("h", "Gemm", "u h_w", Attributes::default().int("transA", 1)).outputs("g h");
    let text = "(x)
        m = MatMul(x, m_w)
        t = Reshape(m, two)
        n = Neg(t)
        g = Gemm(n, g_w, g_b)
        h = Gemm(n, h_w)
        -> g, h";
    let after = assert_becomes(&graph, |graph| simplify(graph).unwrap(), text);
    let shape = |name: &str| after.constant(after.find_value(name).unwrap()).unwrap().shape().to_vec();
    assert_eq!(["m_w", "g_b"].map(shape), [vec![4, 5], vec![3]]);
    let gemms = after.nodes().filter_map(|(_, node)| node.is::<crate::ops::Gemm>());
    assert!(gemms.into_iter().all(|gemm| (gemm.alpha, gemm.beta, gemm.transpose_a) == (1.0, 1.0, false)));
}

#[test]
fn a_factor_of_weights_that_others_read_is_not_theirs() {
    let half = Attributes::default().float("alpha", 0.5);
    let sketch = Sketch::new(&[0, 4]).weights("w", &[4, 4], 0.5).node("g", "Gemm", "x w", half).plain("h", "MatMul", "x w");
    let graph = sketch.plain("y", "Mul", "g h").outputs("y");
    assert_becomes(&graph, |graph| simplify(graph).unwrap(), "(x)\n g = Gemm(x, g_w)\n h = MatMul(x, w)\n y = Mul(g, h)\n -> y");
}

#[test]
fn a_batch_norm_behind_quantized_weights_goes_into_their_scales() {
    let axis = || Attributes::default().int("axis", 0);
    let numbers = |elements: [f32; 4]| TensorData::vector(elements.to_vec());
    let network = |scale: [f32; 4], lowest: i8| {
        let weights = TensorData::new(&[4, 3, 1, 1], (0..12i8).map(|index| if index == 5 { lowest } else { 20 * (index - 5) }).collect());
        let sketch = Sketch::new(&[0, 3, 4, 4]).constant("w", weights).scalar("s", 0.01).constant("z", TensorData::scalar(0i8));
        let sketch = sketch.node("d", "DequantizeLinear", "w s z", axis()).plain("c", "Conv", "x d");
        let sketch = sketch.constant("g", numbers(scale)).constant("b", numbers([0.1, 0.2, 0.3, 0.4]));
        let sketch = sketch.constant("m", numbers([0.3, 0.2, 0.1, 0.4])).constant("v", numbers([0.5, 1.0, 2.0, 1.5]));
        sketch.plain("n", "BatchNormalization", "c g b m v").plain("y", "Relu", "n").outputs("y")
    };
    let text = "(x)
        d = DequantizeLinear(w_folded, w_folded_scale, w_folded_zero_point)
        n = Conv(x, d, w_bias)
        y = Relu(n)
        -> y";
    let fold = |wanted: (usize, usize)| move |graph: &mut Graph| assert_eq!(fold_batch_norm(graph).unwrap(), wanted);
    let after = assert_becomes(&network([1.5, -0.7, 0.0, 2.0], 1), fold((1, 0)), text);
    let integers = after.constant(after.find_value("w_folded").unwrap()).unwrap().to_i64().unwrap();
    assert_eq!(integers, [-100, -80, -60, 40, 20, -1, 0, 0, 0, 80, 100, 120]);
    // −128 has no opposite.
    let mut kept = network([1.5, -0.7, 0.0, 2.0], -128);
    assert_eq!(fold_batch_norm(&mut kept).unwrap(), (0, 1));
}

#[test]
fn what_each_output_of_a_product_sums_up_is_told_of_all_kinds() {
    let amounts = [1.0, 10.0, 100.0, 1000.0];
    let sums = |operator: &str, shape: &[usize], attributes: Attributes| {
        let elements: Vec<f32> = (1..=shape.iter().product()).map(|index| index as f32).collect();
        let sketch = Sketch::new(&[0, 4, 1, 1]).constant("w", TensorData::new(shape, elements.clone()));
        let sketch = if shape.len() == 2 { sketch.plain("x2", "Flatten", "x") } else { sketch.plain("x2", "Relu", "x") };
        let graph = sketch.node("y", operator, "x2 w", attributes).outputs("y");
        let (_, node) = graph.producer(graph.outputs[0]).unwrap();
        assert_eq!(outputs_of(node, shape), Some(weighted_sums(node, shape, &elements, &amounts).len()));
        weighted_sums(node, shape, &elements, &amounts)
    };
    let plain = Attributes::default;
    assert_eq!(sums("Conv", &[1, 4, 1, 1], plain()), [4321.0]);
    assert_eq!(sums("Conv", &[2, 2, 1, 1], plain().int("group", 2)), [21.0, 4300.0]);
    assert_eq!(sums("Gemm", &[4, 2], plain()), [7531.0, 8642.0]);
    assert_eq!(sums("ConvTranspose", &[4, 1, 1, 2], plain()), [7531.0 + 8642.0]);
    assert_eq!(sums("ConvTranspose", &[4, 2, 1, 1], plain()), [7531.0, 8642.0]);
    assert_eq!(sums("ConvTranspose", &[4, 1, 1, 1], plain().int("group", 2)), [21.0, 4300.0]);
}

/// Bytes of all constants that are read.
fn room(graph: &Graph) -> usize {
    let read = graph.value_ids().filter(|value| !graph.readers(*value).is_empty());
    read.filter_map(|value| graph.constant(value)).map(|tensor| tensor.len() * tensor.data_type().bits().unwrap() / 8).sum()
}

#[test]
fn what_makes_a_large_constant_of_small_ones_comes_back() {
    let zeros = Attributes::default().with("value", Attribute::Tensor(TensorData::vector(vec![0.5f32])));
    let sketch = Sketch::new(&[2, 8, 32, 32]).weights("k", &[4, 1, 1], 0.5).integers("size", &[2, 4, 32, 32]);
    let sketch = sketch.plain("e", "Expand", "k size").node("z", "ConstantOfShape", "size", zeros).plain("s", "Add", "e z");
    let sketch = sketch.node("c", "Concat", "s z", Attributes::default().int("axis", 1)).plain("a", "Add", "x c");
    let sketch = sketch.node("p", "Split", "c", Attributes::default().int("axis", 1)).integers("one", &[1]).plain("m", "ReduceMax", "e");
    let graph = sketch.plain("b", "Mul", "a m").plain("y", "Add", "b p").outputs("y");
    let mut folded = graph.clone();
    fold_constants(&mut folded).unwrap();
    assert_eq!(folded.to_string(), "(x)\n  a = Add(x, c)\n  b = Mul(a, m)\n  y = Add(b, p)\n-> y\n");
    let text = "(x)
        e = Expand(k, size)
        z = ConstantOfShape(size)
        s = Add(e, z)
        c = Concat(s, z)
        a = Add(x, c)
        b = Mul(a, m)
        p = Split(c)
        y = Add(b, p)
        -> y";
    let restore = |graph: &mut Graph| {
        fold_constants(graph).unwrap();
        graph.restore_made().unwrap();
    };
    let mut after = assert_becomes(&graph, restore, text);
    assert!(room(&folded) > 100_000 && room(&after) < 100, "{} {}", room(&folded), room(&after));
    fold_constants(&mut after).unwrap();
    assert_eq!((after.to_string(), room(&after)), (folded.to_string(), room(&folded)));
}

#[test]
fn constants_that_are_small_or_no_larger_than_what_makes_them_stay_folded() {
    let sketch = Sketch::new(&[64, 64]).weights("k", &[64], 0.5).integers("size", &[8, 64]).plain("e", "Expand", "k size");
    let sketch = sketch.plain("r", "ReduceMax", "e").weights("w", &[64, 64], 0.5).plain("t", "Transpose", "w").plain("n", "Neg", "t");
    let graph = sketch.plain("m", "MatMul", "x n").plain("y", "Mul", "m r").outputs("y");
    let mut after = graph.clone();
    fold_constants(&mut after).unwrap();
    let folded = after.to_string();
    after.restore_made().unwrap();
    assert_eq!(after.to_string(), folded);
    // A number that was changed is not what its node made.
    let sketch = Sketch::new(&[64, 64]).weights("k", &[64], 0.5).integers("size", &[64, 64]).plain("e", "Expand", "k size");
    let mut changed = sketch.plain("y", "Add", "x e").outputs("y");
    fold_constants(&mut changed).unwrap();
    let value = changed.find_value("e").unwrap();
    let tensor = changed.constant(value).unwrap().map_f32(|_, x| 2.0 * x).unwrap();
    changed.set_constant(value, tensor);
    changed.restore_made().unwrap();
    assert_eq!(changed.to_string(), "(x)\n  y = Add(x, e)\n-> y\n");
}
