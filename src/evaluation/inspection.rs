//! What a model is made of, and what of it can become integers.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::report::FileReport;
use crate::emit::verify;
use crate::graph::{Graph, Node, ValueId, known_shape};
use crate::ops::Foreign;
use crate::quantization::{KernelForecast, Target, forecast, is_product};
use crate::tensor::DataType;

/// What `zeroq inspect` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectReport {
    pub schema: u32,
    pub command: &'static str,
    pub version: &'static str,
    pub model: FileReport,
    pub opset: i64,
    pub ir_version: i64,
    pub producer: String,
    /// What zeroq wrote into the file of how it was made.
    pub provenance: BTreeMap<String, String>,
    pub anatomy: Anatomy,
    pub warnings: Vec<String>,
}

/// A graph in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Anatomy {
    pub inputs: Vec<ValueReport>,
    pub outputs: Vec<ValueReport>,
    pub nodes: usize,
    /// How often each operator occurs.
    pub operators: BTreeMap<String, usize>,
    /// Elements of all float constants.
    pub parameters: u64,
    /// Multiplications of the matrix products for one sample, as far as shapes are known.
    pub multiplications: u64,
    /// Matrix products whose shapes are not known.
    pub uncounted: usize,
    pub batch_normalizations: usize,
    pub batch_normalization_state: BatchNormalizationState,
    /// Nodes of a model that is quantized already.
    pub quantized_nodes: usize,
    /// Operators that are carried through but never executed.
    pub foreign: Vec<ForeignReport>,
    /// Conv, ConvTranspose, Gemm and MatMul.
    pub products: Vec<ProductReport>,
}

/// Whether images can be synthesized from statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormalizationState {
    Present,
    /// None is left, but convolutions have biases: the export folded them.
    Folded,
    #[default]
    Absent,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueReport {
    pub name: String,
    pub data_type: Option<String>,
    /// Sizes, names of open sizes, or `?`; `None` where not even the rank is known.
    pub shape: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForeignReport {
    pub node: String,
    pub operator: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProductReport {
    pub node: String,
    pub operator: String,
    /// Whether its weights are constants in a form that integer kernels take.
    pub integer: bool,
    /// Why not.
    pub reason: Option<String>,
    pub multiplications: Option<u64>,
}

/// Takes `graph` apart. `shaped` is a copy of it as `quantize` simplifies it, with all shapes that can be known: what quantization for
/// `target` sees of the products. What is quantized already is judged with the eyes of `target`.
pub fn dissect(graph: &Graph, shaped: &Graph, target: &Target) -> Anatomy {
    let mut operators = BTreeMap::new();
    for (_, node) in graph.nodes() {
        *operators.entry(operator_name(node)).or_insert(0) += 1;
    }
    let quantized_nodes = graph.nodes().filter(|(_, node)| quantizes(node.operator.name())).count();
    let products = products(graph, shaped, target, quantized_nodes > 0);
    Anatomy {
        inputs: graph.inputs.iter().map(|id| value(graph, *id)).collect(),
        outputs: graph.outputs.iter().map(|id| value(graph, *id)).collect(),
        nodes: graph.node_count(),
        parameters: parameters(graph),
        multiplications: products.iter().filter_map(|product| product.multiplications).sum(),
        uncounted: products.iter().filter(|product| product.multiplications.is_none()).count(),
        batch_normalizations: operators.get("BatchNormalization").copied().unwrap_or(0),
        batch_normalization_state: batch_normalization_state(graph),
        quantized_nodes,
        foreign: graph.nodes().filter_map(|(_, node)| foreign(node)).collect(),
        operators,
        products,
    }
}

fn operator_name(node: &Node) -> String {
    match node.operator.domain() {
        "" => node.operator.name().to_string(),
        domain => format!("{domain}.{}", node.operator.name()),
    }
}

fn value(graph: &Graph, id: ValueId) -> ValueReport {
    let value = graph.value(id);
    ValueReport {
        name: value.name.clone(),
        data_type: value.data_type.map(|data_type| data_type.to_string()),
        shape: value.shape.as_ref().map(|shape| shape.iter().map(ToString::to_string).collect()),
    }
}

fn parameters(graph: &Graph) -> u64 {
    let is_float = |data_type: DataType| data_type.is_float();
    let constants = graph.value_ids().filter_map(|id| graph.constant(id));
    constants.filter(|tensor| is_float(tensor.data_type())).map(|tensor| tensor.len() as u64).sum()
}

fn batch_normalization_state(graph: &Graph) -> BatchNormalizationState {
    let named = |name: &'static str| graph.nodes().map(|(_, node)| node).filter(move |node| node.operator.name() == name);
    if named("BatchNormalization").next().is_some() {
        BatchNormalizationState::Present
    } else if named("Conv").any(|node| node.input(2).is_some()) {
        BatchNormalizationState::Folded
    } else {
        BatchNormalizationState::Absent
    }
}

fn quantizes(operator: &str) -> bool {
    const NAMES: [&str; 6] = ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QGemm"];
    NAMES.contains(&operator) || operator.starts_with("QLinear")
}

fn foreign(node: &Node) -> Option<ForeignReport> {
    let foreign = node.is::<Foreign>()?;
    Some(ForeignReport { node: node.name.clone(), operator: operator_name(node), reason: foreign.reason.clone() })
}

/// The products of `shaped`, under the operators that they have in `graph`.
fn products(graph: &Graph, shaped: &Graph, target: &Target, quantized: bool) -> Vec<ProductReport> {
    let reasons = |forecasts: Vec<KernelForecast>| forecasts.into_iter().map(|forecast| (forecast.node, forecast.reason));
    let mut forecasts: HashMap<String, Option<String>> = reasons(forecast(shaped, target)).collect();
    if quantized {
        forecasts.extend(reasons(verify(graph, target)));
    }
    let operators: HashMap<&str, &str> = graph.nodes().map(|(_, node)| (node.name.as_str(), node.operator.name())).collect();
    let told = shaped.nodes().filter_map(|(_, node)| {
        let reason = forecasts.get(&node.name).filter(|_| is_product(node))?.clone();
        let operator = operators.get(node.name.as_str()).copied().unwrap_or(node.operator.name());
        let multiplications = multiplications(shaped, node);
        Some(ProductReport { node: node.name.clone(), operator: operator.to_string(), integer: reason.is_none(), reason, multiplications })
    });
    told.collect()
}

/// Multiplications for one sample; an open batch counts as one.
fn multiplications(graph: &Graph, node: &Node) -> Option<u64> {
    let weight = sizes(graph, node.input(1)?)?;
    let (output, input) = (node.output(0).and_then(|id| sizes(graph, id)), node.input(0).and_then(|id| sizes(graph, id)));
    let product = |sizes: &[usize]| sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
    match node.operator.name() {
        "Conv" => product(&output?)?.checked_mul(product(weight.get(1..)?)?),
        "ConvTranspose" => product(&input?)?.checked_mul(product(weight.get(1..)?)?),
        "Gemm" => {
            let (output, weight) = (output?, product(&weight)?);
            product(&output[..output.len().checked_sub(1)?])?.checked_mul(weight)
        }
        "MatMul" => product(&output?)?.checked_mul(*input?.last()? as u64),
        _ => None,
    }
}

fn sizes(graph: &Graph, id: ValueId) -> Option<Vec<usize>> {
    let shape = graph.value(id).shape.as_ref()?;
    let (batch, rest) = match shape.split_first() {
        Some((batch, rest)) => (batch, rest),
        None => return Some(Vec::new()),
    };
    let mut sizes = known_shape(rest)?;
    sizes.insert(0, batch.known().unwrap_or(1));
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::graph::Dim;
    use crate::graph::sketch::Sketch;
    use crate::ops::Attributes;
    use crate::passes::single_sample;
    use crate::quantization::targets;
    use crate::tensor::TensorData;

    fn operator(op_type: &str) -> Arc<Foreign> {
        let reason = "not known".to_string();
        Arc::new(Foreign {
            op_type: op_type.into(),
            domain: String::new(),
            attributes: Attributes::default(),
            own_inputs: 2,
            inner: Default::default(),
            reason,
        })
    }

    #[test]
    fn weights_behind_arithmetic_of_constants_are_constant() {
        let weight = TensorData::new(&[2, 3], vec![0.5f32; 6]);
        let sketch = Sketch::new(&[0, 3]).constant("w", weight).plain("i", "Identity", "w").plain("t", "Transpose", "i");
        let graph = sketch.plain("y", "MatMul", "x t").outputs("y");
        let products = dissect(&graph, &single_sample(&graph).unwrap(), &targets::all()[0]).products;
        assert_eq!(products.iter().map(|product| (product.integer, product.multiplications)).collect::<Vec<_>>(), [(true, Some(6))]);
    }

    #[test]
    fn counts_what_a_graph_is_made_of() {
        let mut graph = Graph::default();
        let shape = |sizes: &[usize]| {
            let rest = sizes.iter().map(|size| Dim::Known(*size));
            Some(std::iter::once(Dim::Symbol("N".into())).chain(rest).collect::<Vec<_>>())
        };
        let x = graph.add_value("x", Some(DataType::F32), shape(&[3, 8, 8]));
        graph.inputs.push(x);
        let weight = graph.add_constant("w", TensorData::new(&[16, 3, 3, 3], vec![0.5f32; 432]));
        let bias = graph.add_constant("b", TensorData::new(&[16], vec![0.5f32; 16]));
        let y = graph.add_value("y", Some(DataType::F32), shape(&[16, 8, 8]));
        graph.add_node("conv", operator("Conv"), vec![Some(x), Some(weight), Some(bias)], vec![Some(y)]);
        graph.outputs.push(y);
        let anatomy = dissect(&graph, &graph, &targets::all()[0]);
        assert_eq!((anatomy.nodes, anatomy.parameters), (1, 448));
        assert_eq!((anatomy.multiplications, anatomy.uncounted), (16 * 64 * 27, 0));
        assert_eq!(anatomy.batch_normalization_state, BatchNormalizationState::Folded);
        assert_eq!(anatomy.inputs[0].shape.as_deref(), Some(&["N", "3", "8", "8"].map(String::from)[..]));
        assert_eq!(anatomy.products[0].reason.as_deref(), Some("not known"));
    }
}
