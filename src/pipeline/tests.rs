use super::*;
use crate::distillation::{BiasCorrection, Rounding};
use crate::graph::sketch::{Sketch, noise};
use crate::onnx;
use crate::ops::{Attribute, Attributes};
use crate::passes::infer_shapes;
use crate::progress::Silent;
use crate::quantization::{Width, targets};
use crate::tensor::TensorData;

/// Three convolutions, of which the first one's output channel 1 is always 0, and a head.
fn network() -> Graph {
    let sketch = Sketch::new(&[0, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).plain("ra", "Relu", "a");
    let sketch = sketch.conv("b", "ra", (8, 8), 3, 1).plain("rb", "Relu", "b").conv("c", "rb", (8, 8), 3, 1).plain("rc", "Relu", "c");
    let sketch = sketch.plain("p", "GlobalAveragePool", "rc").plain("f", "Flatten", "p");
    let mut graph = sketch.weights("y_w", &[8, 4], 0.5).plain("y", "MatMul", "f y_w").outputs("y");
    change(&mut graph, "a_w", |index, w| if index / 27 == 1 { 0.0 } else { w });
    infer_shapes(&mut graph).unwrap();
    graph
}

fn change(graph: &mut Graph, name: &str, rule: impl Fn(usize, f32) -> f32) {
    let value = graph.find_value(name).unwrap();
    let tensor = graph.constant(value).unwrap().clone();
    let elements = tensor.to_f32().unwrap().iter().enumerate().map(|(index, w)| rule(index, *w)).collect();
    graph.set_constant(value, TensorData::new(tensor.shape(), elements));
}

/// The values `ra` get one channel of huge numbers, which nothing reads.
fn spoil_values(graph: &mut Graph) {
    change(graph, "a_w", |index, w| if index / 27 == 0 { 2000.0 * w } else { w });
    change(graph, "b_w", |index, w| if index / 9 % 8 == 0 { 0.0 } else { w });
}

/// Every row of the weights `b_w` gets huge numbers, which are multiplied with 0.
fn spoil_weights(graph: &mut Graph, by: f32) {
    change(graph, "b_w", |index, w| if index / 9 % 8 == 1 { by * w } else { w });
}

pub(super) fn config(widths: Widths) -> Config {
    let thresholds = Thresholds { agreement_percent: None, sqnr_db: Some(10.0) };
    Config {
        // Without costs nothing is float only for being so small.
        target: Target { costs: None, ..targets::find("ort-cpu").unwrap() },
        widths,
        mixed: None,
        check: Some(Checking { thresholds, budget: None }),
        objective: Objective::Balanced,
        autotune: false,
        observer: Some("min-max".to_string()),
        ranges: RangeSource::Images,
        exclude: Vec::new(),
        equalize: false,
        corrections: Corrections { absorb_bias: false, rounding: Rounding::Nearest, bias: BiasCorrection::None },
        input_range: InputRange::default(),
        images: None,
        steps: None,
        tuning: Tuning::NONE,
        seed: 0,
        method: Method::default(),
        statistics_from: None,
        execution: execution::Config::default(),
    }
}

const INTEGER: Objective = Objective::Integer;
const W4A8: Widths = Widths { weights: Width::Four, activations: Width::Eight, all_layers: true };

fn run(graph: &Graph, config: &Config) -> (Vec<u8>, Quantized) {
    let model = Model::from_graph(graph.clone());
    let quantized = quantize(&model, Some(noise(graph, 64)), config, &Silent).unwrap();
    (onnx::to_bytes(&quantized.model).unwrap(), quantized)
}

fn raised(check: &Check) -> Vec<(String, &str)> {
    check.raised.iter().map(|raise| (raise.nodes.join(" "), raise.to.as_str())).collect()
}

#[test]
fn the_layers_that_make_the_noise_are_raised_until_the_check_holds() {
    struct Case {
        spoil: fn(&mut Graph),
        widths: Widths,
        raised: (&'static str, &'static str),
        says: &'static str,
    }
    let cases = [
        Case { spoil: spoil_values, widths: Widths::INT8, raised: ("a b", "float"), says: "the values `ra`" },
        // Quantized where it is read alone, a value takes no precision from who makes it.
        Case { spoil: spoil_values, widths: W4A8, raised: ("b", "float"), says: "the values `ra`" },
        Case { spoil: |graph| spoil_weights(graph, 1e4), widths: Widths::INT8, raised: ("b", "float"), says: "the weights `b_w`" },
        Case { spoil: |graph| spoil_weights(graph, 20.0), widths: W4A8, raised: ("b", "8 bits"), says: "the weights `b_w`" },
    ];
    for case in cases {
        let mut graph = network();
        (case.spoil)(&mut graph);
        let config = config(case.widths);
        let (before, looked) =
            run(&graph, &Config { check: config.check.map(|check| Checking { budget: Some(0), ..check }), ..config.clone() });
        let looked = looked.check.unwrap();
        assert!(
            !looked.passed && looked.raised.is_empty() && looked.missed.iter().all(|line| line.starts_with("output `y`")),
            "{looked:?}"
        );
        let (after, quantized) = run(&graph, &config);
        let check = quantized.check.unwrap();
        assert!(check.passed && before != after, "{}: {check:?}", case.says);
        let (nodes, to) = case.raised;
        assert_eq!(raised(&check), [(nodes.to_string(), to)], "{}", case.says);
        assert!(check.raised[0].reason.starts_with(case.says), "{}", check.raised[0].reason);
        assert!(check.comparison.least_sqnr() > looked.comparison.least_sqnr());
        assert_eq!(quantized.model.metadata("zeroq.raised"), Some(nodes.replace(' ', ", ").as_str()));
        assert_eq!(
            check.layers.iter().map(|layer| layer.node.as_str()).collect::<Vec<_>>().join(" "),
            if to == "8 bits" || case.says.contains("values") { "a b c y" } else { "a c y" }
        );
    }
}

#[test]
fn a_network_that_passes_is_the_same_as_without_a_check() {
    let graph = network();
    let config = config(Widths::INT8);
    let (checked, quantized) = run(&graph, &config);
    let check = quantized.check.unwrap();
    assert!(check.passed && check.raised.is_empty() && check.layers.iter().all(|layer| layer.sqnr_db > 20.0), "{check:?}");
    let (unchecked, quantized) = run(&graph, &Config { check: None, ..config });
    assert!(checked == unchecked && quantized.check.is_none());
}

#[test]
fn nothing_becomes_float_where_integers_are_the_objective() {
    let mut graph = network();
    spoil_values(&mut graph);
    let (_, quantized) = run(&graph, &Config { objective: INTEGER, ..config(Widths::INT8) });
    let check = quantized.check.unwrap();
    assert!(!check.passed && check.raised.is_empty() && check.missed[0].contains("10 dB"), "{check:?}");
    assert!(quantized.kernels.iter().all(|kernel| kernel.integer));
}

fn mixed(max_size: Option<&str>, min_sqnr: Option<f64>) -> Config {
    let mixed = Mixed { max_size: max_size.map(|size| size.parse().unwrap()), min_sqnr };
    Config { mixed: Some(mixed), ..config(W4A8) }
}

#[test]
fn mixed_widths_stay_within_the_size() {
    let graph = network();
    let widths = |quantized: &Quantized| quantized.mixed.as_ref().unwrap().layers.iter().map(|layer| layer.width).collect::<Vec<_>>();
    let (small, four) = run(&graph, &mixed(Some("4bits"), None));
    assert_eq!(widths(&four), ["4"; 4]);
    let (large, float) = run(&graph, &mixed(Some("32bits"), None));
    assert!(widths(&float).contains(&"16") || widths(&float).contains(&"float"), "{:?}", widths(&float));
    let between = (small.len() + large.len()) / 2;
    let (bytes, quantized) = run(&graph, &mixed(Some(&between.to_string()), None));
    assert!(bytes.len() <= between && bytes.len() > small.len(), "{} of {between}", bytes.len());
    assert_eq!(quantized.model.metadata("zeroq.precision"), Some("mixed"));
    let six = run(&graph, &mixed(Some("6bits"), None)).1.mixed.unwrap();
    assert!(six.average_bits <= 6.0 && six.average_bits > 4.5, "{six:?}");
    let model = Model::from_graph(graph.clone());
    let error = quantize(&model, Some(noise(&graph, 64)), &mixed(Some("100B"), None), &Silent).err().unwrap().to_string();
    let told: usize = error.strip_suffix(" bytes").and_then(|text| text.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
    assert!(error.contains("--max-size 100") && told >= small.len() && told <= small.len() + 64, "{error}, which is {}", small.len());
}

#[test]
fn in_a_mixture_layers_of_four_bits_read_floats_unless_all_is_to_be_integer() {
    let rounded = |config: &Config| {
        let (_, quantized) = run(&network(), config);
        quantized.model.graph.nodes().filter(|(_, node)| node.operator.name() == "QuantizeLinear").count()
    };
    assert_eq!(rounded(&Config { objective: Objective::Balanced, ..mixed(Some("4bits"), None) }), 0);
    assert!(rounded(&Config { objective: INTEGER, ..mixed(Some("4bits"), None) }) >= 4);
}

#[test]
fn the_smallest_mixture_with_a_given_sqnr_is_taken() {
    let graph = network();
    let measured = |least: f64| {
        let choice = run(&graph, &mixed(None, Some(least))).1.mixed.unwrap();
        assert!(choice.measured_sqnr_db >= Some(least), "{choice:?}");
        choice.average_bits
    };
    let bits = [5.0, 15.0, 25.0, 38.0].map(measured);
    assert!(bits.is_sorted() && bits[0] < bits[3], "{bits:?}");
}

#[test]
fn a_profile_orders_layers_by_what_they_do_to_the_outputs() {
    let mut graph = network();
    spoil_weights(&mut graph, 30.0);
    let config = Config { mixed: Some(Mixed::default()), check: None, ..config(W4A8) };
    let profile = profile(&Model::from_graph(graph.clone()), Some(noise(&graph, 32)), &config, &Silent).unwrap();
    assert_eq!((profile.layers.len(), profile.layers[0].nodes.as_slice()), (4, &["b".to_string()][..]));
    for layer in &profile.layers {
        assert!(layer.widths.is_sorted_by(|a, b| a.weight_bytes < b.weight_bytes && a.noise > b.noise), "{layer:?}");
    }
    assert!(profile.frontier.is_sorted_by(|a, b| a.weight_bytes < b.weight_bytes && a.sqnr_db < b.sqnr_db));
    assert_eq!(profile.frontier.last().map(|point| point.average_bits), Some(32.0));
}

/// A constant of few numbers that is added to every element of an image, which is joined with zeros.
fn with_large_constants() -> Graph {
    let zeros = Attributes::default().with("value", Attribute::Tensor(TensorData::vector(vec![0.0f32])));
    let sketch = Sketch::new(&[1, 3, 32, 32]).conv("a", "x", (3, 8), 3, 1).plain("r", "Relu", "a").weights("k", &[8, 1, 1], 0.3);
    let sketch = sketch.integers("size", &[1, 8, 32, 32]).plain("e", "Expand", "k size").plain("s", "Add", "r e");
    let sketch = sketch.node("z", "ConstantOfShape", "size", zeros);
    let sketch = sketch.node("c", "Concat", "s z", Attributes::default().int("axis", 1));
    sketch.conv("b", "c", (16, 8), 3, 1).plain("q", "Relu", "b").conv("y", "q", (8, 4), 3, 1).outputs("y")
}

#[test]
fn constants_that_are_computed_stay_so_in_the_file() {
    let graph = with_large_constants();
    let original = onnx::to_bytes(&Model::from_graph(graph.clone())).unwrap().len();
    for (target, widths) in [("ort-cpu", Widths::INT8), ("qnn", Widths::INT8), ("tract", Widths::INT8), ("ort-cpu", W4A8)] {
        let config = Config { target: targets::find(target).unwrap(), ..config(widths) };
        let (bytes, Quantized { model, .. }) = run(&graph, &config);
        assert!(bytes.len() < original, "{target} {widths}: {} of {original}", bytes.len());
        let made = model.graph.nodes().filter(|(_, node)| ["Expand", "ConstantOfShape"].contains(&node.operator.name()));
        assert_eq!(made.count(), 2, "{target} {widths}");
    }
    let half =
        convert_to_float16(&Model::from_graph(graph.clone()), Some(noise(&graph, 64)), true, &config(Widths::INT8), &Silent).unwrap();
    let bytes = onnx::to_bytes(&half.model).unwrap().len();
    assert!(bytes < original, "{bytes} of {original}");
}

/// Hears what users are told.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl Progress for Heard {
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_string());
    }
    fn warn(&self, message: &str) {
        self.note(message);
    }
}

#[test]
fn of_speed_on_a_cpu_only_those_are_told_whose_target_is_one() {
    let widths = Widths { activations: Width::Sixteen, ..Widths::INT8 };
    let sketch = Sketch::new(&[1, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).plain("r", "Relu", "a").conv("y", "r", (8, 4), 3, 1);
    let graph = sketch.outputs("y");
    for (target, is_cpu) in [("ort-cpu", true), ("qnn", false)] {
        let config = Config { target: targets::find(target).unwrap(), objective: INTEGER, ..config(widths) };
        let heard = Heard::default();
        let quantized = quantize(&Model::from_graph(graph.clone()), Some(noise(&graph, 32)), &config, &heard).unwrap();
        let told = heard.0.into_inner().unwrap().join("\n");
        assert_eq!(told.contains("no faster than the original"), is_cpu, "{told}");
        assert!(quantized.kernels.iter().all(|kernel| kernel.integer != is_cpu), "{:?}", quantized.kernels);
    }
}

#[test]
fn an_input_of_flags_is_true_in_some_samples_and_false_in_others() {
    let sketch = Sketch::new(&[1, 3, 8, 8]).conv("a", "x", (3, 8), 3, 1).norm("n", "a", 8).plain("r", "Relu", "n");
    let mut graph = sketch.conv("b", "r", (8, 4), 3, 1).plain("m", "Neg", "b").outputs("b");
    let bool_type = crate::tensor::DataType::Bool;
    let flag = graph.add_value("flag", Some(bool_type), Some(vec![crate::graph::Dim::Known(1)]));
    graph.inputs.push(flag);
    let choose =
        crate::ops::parse("Where", crate::ops::NodeForm { attributes: Attributes::default(), opset: 17, input_count: 3, output_count: 1 });
    let [b, m] = ["b", "m"].map(|name| graph.find_value(name).unwrap());
    let (_, y) = graph.add_operation("y", choose.unwrap().unwrap().operator, vec![flag, b, m], "y");
    graph.outputs = vec![y];
    infer_shapes(&mut graph).unwrap();
    let config = Config { images: Some(16), steps: Some(8), ..config(Widths::INT8) };
    let quantized = quantize(&Model::from_graph(graph), None, &config, &Silent).unwrap();
    let flags = quantized.samples.inputs.iter().find(|samples| samples.name == "flag").unwrap();
    let seen: std::collections::BTreeSet<u32> = (0..16).flat_map(|index| flags.sample(index).unwrap().to_vec()).map(f32::to_bits).collect();
    assert_eq!(seen, [0.0f32, 1.0].map(f32::to_bits).into());
    assert!(quantized.check.unwrap().passed);
}
